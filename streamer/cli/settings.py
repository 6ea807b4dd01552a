"""Where settings come from: a file, the environment, the command line; the last one wins."""

from __future__ import annotations

import difflib
import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from streamer.core.config import Settings
from streamer.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DEFAULT_FILE = Path("streamer.toml")


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

    nested: dict[str, Any] = {}
    for dotted, value in (overrides or {}).items():
        at = nested
        *path, last = dotted.split(".")
        for key in path:
            at = at.setdefault(key, {})
        at[last] = value
    try:
        return Settings.model_validate(Source(**nested).model_dump())
    except ValidationError as error:
        raise ConfigError(_explain(error, file or DEFAULT_FILE)) from error


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
        values: dict[str, Any] = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        return values
    except OSError as error:
        raise ConfigError(f"config {path}: can't be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"config {path}: not TOML or JSON ({error})") from error


def _explain(error: ValidationError, file: Path) -> str:
    lines = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            lines.append(f"config: unknown key {key!r}{_near(key, known_keys())} (see {file})")
        else:
            lines.append(f"config: {key}: {problem['msg']}, found {problem['input']!r}")
    return "; ".join(lines)


def _near(word: str, known: Sequence[str]) -> str:
    match = difflib.get_close_matches(word, known, n=1)
    return f", did you mean {match[0]!r}?" if match else ""
