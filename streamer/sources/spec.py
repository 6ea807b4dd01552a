"""A source as it is kept, and made."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import msgspec

from streamer.core.errors import ConfigError
from streamer.sources.credentials import resolve_credentials
from streamer.sources.guard import SourcePolicy
from streamer.sources.origin import Transport

if TYPE_CHECKING:
    from streamer.core.clock import Clock
    from streamer.sources.credentials import Credentials
    from streamer.sources.source import Source

SYNTHETIC = "synthetic:"
STREAM_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class SourceSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One source to be watched, as it is kept in Redis.

    Attributes:
        stream_id: Letters, digits, `.`, `_` and `-`; at most 64.
        url: URL, path, device or `synthetic:NAME?…`, without options and credentials.
        options: `loop` and `realtime` (`true`), `transport` (`tcp`, `udp`).
        credentials: Where they are: `env:NAME` or `file:PATH`; None if it needs none.
        policy: What it has to keep to whenever it is opened; None for what users of this machine
            asked for themselves.
    """

    stream_id: str
    url: str
    options: dict[str, str] = {}
    credentials: str | None = None
    policy: SourcePolicy | None = None

    def __post_init__(self) -> None:
        if not STREAM_ID.fullmatch(self.stream_id):
            raise ValueError(
                f"stream_id: expected 1 to 64 of A-Z a-z 0-9 . _ -, found {self.stream_id!r}"
            )


def open_source(
    spec: SourceSpec,
    *,
    clock: Clock,
    credentials: Credentials | None = None,
    open_timeout_seconds: float = 10.0,
    frame_timeout_seconds: float = 10.0,
) -> Source:
    """Make the source; it is not opened yet.

    Args:
        spec: What.
        clock: Its time.
        credentials: User and password; None takes them from where `spec` says.
        open_timeout_seconds: Deadline of each step of opening.
        frame_timeout_seconds: Longest time without a frame.

    Raises:
        ConfigError: The credentials are not where `spec` says, or an option can't be.
    """
    if spec.url.startswith(SYNTHETIC):
        # Imported here: a source can be named without the libraries that read it.
        from streamer.sources.synthetic import synthetic_source

        name, _, query = spec.url.removeprefix(SYNTHETIC).partition("?")
        return synthetic_source(name, dict(parse_qsl(query, keep_blank_values=True)), clock=clock)
    from streamer.sources.av import AvSource

    if credentials is None and spec.credentials is not None:
        credentials = resolve_credentials(spec.credentials)
    try:
        transport = Transport(spec.options.get("transport", Transport.TCP))
    except ValueError as error:
        raise ConfigError(f"{spec.stream_id}: transport: expected tcp or udp; {error}") from None
    return AvSource(
        spec.url,
        credentials=credentials,
        transport=transport,
        loop="loop" in spec.options,
        realtime="realtime" in spec.options,
        open_timeout_seconds=open_timeout_seconds,
        frame_timeout_seconds=frame_timeout_seconds,
        policy=spec.policy,
        clock=clock,
    )
