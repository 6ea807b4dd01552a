"""Sources that come over HTTP: read, and admitted or refused, before anybody connects to them."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Self

import msgspec
from pydantic import BaseModel, ConfigDict, Field, model_validator

from streamer.core.errors import ConfigError
from streamer.sources.credentials import CREDENTIALS_VARIABLE_PREFIX
from streamer.sources.grammar import parse_source

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from streamer.sources.spec import SourceSpec

_OPTIONS = {
    ("transport", "tcp"): "tcp",
    ("transport", "udp"): "udp",
    ("loop", "true"): "loop",
    ("realtime", "true"): "realtime",
}
_NO_CONTROL = r"^[^\x00-\x1f\x7f]+$"


class SourceFields(BaseModel):
    """What is to be read."""

    model_config = ConfigDict(extra="forbid")

    source: str = Field(
        max_length=2048,
        pattern=_NO_CONTROL,
        description="As on the command line: `rtsp://host/path`, `door=rtsp://host/path#udp`.",
    )
    options: dict[str, str] = Field(
        {},
        max_length=8,
        description="`transport`: `tcp` or `udp`; `loop`, `realtime`: `true`. Or after `#`.",
    )
    credentials: str | None = Field(
        None,
        max_length=1024,
        pattern=r"^(env|file):[^\x00-\x1f\x7f]+$",
        description="Where an ingest worker finds user and password: "
        "`env:STREAMER_CREDENTIALS_…` or `file:/PATH`. Never themselves.",
    )


class NewStream(SourceFields):
    """A stream to be watched."""

    id: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9._-]{1,64}$",
        description="Its name; without one it is derived from the source.",
    )


class StreamChange(BaseModel):
    """What is to be different. What is left out stays."""

    model_config = ConfigDict(extra="forbid")

    source: str | None = Field(None, max_length=2048, pattern=_NO_CONTROL)
    options: dict[str, str] = Field({}, max_length=8)
    credentials: str | None = Field(None, max_length=1024, pattern=r"^(env|file):.+$")
    paused: bool | None = Field(None, strict=True)

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.source is None and self.paused is None:
            raise ValueError("expected source or paused, found neither")
        if self.source is None and (self.options or self.credentials):
            raise ValueError("expected options and credentials beside a source, found them alone")
        return self


def read_source(
    fields: SourceFields, *, stream_id: str | None, taken: Collection[str] = ()
) -> SourceSpec:
    """The source that a request names.

    Args:
        fields: As sent.
        stream_id: What the stream is called; None: as the source says, or a name of its own.
        taken: Names that it must not get then.

    Raises:
        ConfigError: It can't be read, or has credentials in its URL.
    """
    try:
        spec = parse_source(_with_options(fields.source, fields.options), taken=taken)
    except ConfigError as error:
        raise ConfigError(f"source: {error}") from None
    if fields.credentials is not None:
        if spec.credentials is not None:
            raise ConfigError("credentials: expected them once, found them in the source too")
        spec = msgspec.structs.replace(spec, credentials=fields.credentials)
    if stream_id is not None:
        named = re.match(r"\s*([A-Za-z0-9._-]+)\s*=", fields.source)
        if named and spec.stream_id == named[1] != stream_id:
            raise ConfigError(f"source: expected one name, found {named[1]} beside {stream_id}")
        spec = msgspec.structs.replace(spec, stream_id=stream_id)
    if spec.stream_id in {".", ".."}:
        raise ConfigError(f"id: expected a name that can stand in a URL, found {spec.stream_id}")
    return spec


def admit(spec: SourceSpec, *, credentials_directory: str | None) -> SourceSpec:
    """Refuse what nobody may have our workers open. Every source that comes over HTTP passes here.

    The place for a guard of networks, too: the answer is what is kept and opened.

    A reference to credentials sends what it refers to to the camera it is for. So that nobody gets
    hold of another secret by it, only variables that are named as credentials count, and files of
    one folder.

    Args:
        spec: What was asked for.
        credentials_directory: The folder; None: no files.

    Returns:
        The source, as it may be opened.

    Raises:
        ConfigError: That is refused; it says why.
    """
    kind, _, where = (spec.credentials or "").partition(":")
    if kind == "env" and not where.startswith(CREDENTIALS_VARIABLE_PREFIX):
        raise ConfigError(
            f"credentials: expected env:{CREDENTIALS_VARIABLE_PREFIX}NAME, found another variable"
        )
    if kind == "file":
        path = PurePosixPath(where)
        if credentials_directory is None:
            raise ConfigError(
                "credentials: expected env:…, found file:…; set gateway.credentials_directory to "
                "allow files of a folder"
            )
        if ".." in path.parts or not path.is_relative_to(credentials_directory):
            raise ConfigError("credentials: expected a file in gateway.credentials_directory")
    return spec


def _with_options(source: str, options: Mapping[str, str]) -> str:
    words = []
    for option in options.items():
        if option not in _OPTIONS:
            known = ", ".join("=".join(pair) for pair in _OPTIONS)
            raise ConfigError(f"options: expected some of {known}; found {'='.join(option)[:80]}")
        words.append(_OPTIONS[option])
    separator = "," if "#" in source else "#"
    return f"{source}{separator}{','.join(words)}" if words else source
