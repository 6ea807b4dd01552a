"""Where settings come from: a file, the environment, the command line; the last one wins."""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from streamer.core.config import Settings
from streamer.core.errors import ConfigError
from streamer.sources.credentials import CREDENTIALS_VARIABLE_PREFIX, redact
from streamer.transport.tokens import CLIENT_TOKEN_VARIABLE, RUN_TOKEN_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DEFAULT_FILE = Path("streamer.toml")

TOKEN_VARIABLES = {CLIENT_TOKEN_VARIABLE, RUN_TOKEN_VARIABLE}
"""No settings: these are printed nowhere."""


def load_settings(
    *, file: Path | None = None, overrides: Mapping[str, Any] | None = None
) -> Settings:
    """The settings of this run.

    Args:
        file: A TOML file; None reads `streamer.toml` here, if there is one.
        overrides: From the command line, by dotted key, for example `redis.url`.

    Raises:
        ConfigError: A file that can't be read, an unknown key, or a value out of range.
    """
    base = _read(file)
    _check_environment()

    class Source(BaseSettings, Settings):
        model_config = SettingsConfigDict(
            env_prefix="STREAMER_", env_nested_delimiter="__", extra="forbid", frozen=True
        )

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return (init_settings, env_settings, lambda: base)  # type: ignore[return-value]

    try:
        return Settings.model_validate(Source(**_nest(overrides or {})).model_dump())
    except ValidationError as error:
        raise ConfigError(_explain(error, file or DEFAULT_FILE)) from None
    except SettingsError as error:
        raise ConfigError(
            f"config: {error}: a section is no value; set one of its keys, for example "
            "STREAMER_REDIS__URL"
        ) from None


def _check_environment() -> None:
    """A misspelt variable must not be ignored."""
    known = {f"STREAMER_{key.replace('.', '__')}".upper() for key in known_keys()}
    sections = {name.partition("__")[0] for name in known}
    for name in os.environ:
        ours = name.startswith("STREAMER_") and name not in TOKEN_VARIABLES
        ours = ours and not name.startswith(CREDENTIALS_VARIABLE_PREFIX)
        if ours and name.upper() not in known | sections:
            raise ConfigError(
                f"config: unknown variable {name}{_near(name.upper(), sorted(known))}"
            )


def _nest(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys as a tree."""
    nested: dict[str, Any] = {}
    for dotted, value in overrides.items():
        at: Any = nested
        *path, last = dotted.split(".")
        for key in path:
            at = at.setdefault(key, {})
            if not isinstance(at, dict):
                raise ConfigError(f"config: {dotted}: expected a section before it, found a value")
        at[last] = value
    return nested


def known_keys() -> list[str]:
    """Every dotted key."""
    keys: list[str] = []
    for name, field in Settings.model_fields.items():
        section = field.annotation
        inner = getattr(section, "model_fields", None)
        keys += [name] if inner is None else [f"{name}.{key}" for key in inner]
    return keys


def _read(file: Path | None) -> dict[str, Any]:
    path = file or DEFAULT_FILE
    if file is None and not path.exists():
        return {}
    try:
        text = path.read_text()
        values: Any = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"config {path}: can't be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"config {path}: not TOML or JSON ({error})") from error
    if not isinstance(values, dict):
        raise ConfigError(f"config {path}: expected an object, found {type(values).__name__}")
    return values


def _explain(error: ValidationError, file: Path) -> str:
    lines = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            where = f" (see {file})" if file.exists() else ""
            lines.append(f"config: unknown key {key!r}{_near(key, known_keys())}{where}")
        else:
            lines.append(f"config: {key}: {problem['msg']}, found {redact(repr(problem['input']))}")
    return "; ".join(lines)


def _near(word: str, known: Sequence[str]) -> str:
    match = difflib.get_close_matches(word, known, n=1)
    return f", did you mean {match[0]!r}?" if match else ""
