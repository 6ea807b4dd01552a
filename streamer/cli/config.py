"""`streamer config`: what the settings are, what they may be, whether a file is right."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path  # typer reads it
from typing import TYPE_CHECKING, Any

import typer

from streamer.cli.settings import load_settings
from streamer.core.config import Settings
from streamer.core.errors import ConfigError
from streamer.sources.credentials import redact

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

config_app = typer.Typer(no_args_is_help=True, help="Settings.")


class Format(StrEnum):
    """How settings are printed."""

    TOML = "toml"
    JSON = "json"


@config_app.command("show")
def show(
    *,
    config: Path | None = typer.Option(None, help="TOML file. Default: streamer.toml, if any."),
    assignments: list[str] = typer.Option(
        [], "--set", metavar="KEY=VALUE", help="For example redis.url=…; may be repeated."
    ),
    format: Format = typer.Option(Format.TOML, help="Of what is printed."),
) -> None:
    """Print the settings in force: from the file, STREAMER_… variables and --set."""
    settings = load_settings(file=config, overrides=parse_assignments(assignments))
    values = settings.model_dump(mode="json")
    values["redis"]["url"] = redact(values["redis"]["url"])
    if format is Format.JSON:
        print(json.dumps(values, indent=2))
    else:
        print("\n".join(_toml_lines(values)))


@config_app.command("schema")
def schema() -> None:
    """Print the JSON Schema of the settings."""
    print(json.dumps(Settings.model_json_schema(), indent=2))


@config_app.command("validate")
def validate(file: Path = typer.Argument(help="A TOML or JSON file.")) -> None:
    """Check a file: exit code 0 if it is right, 2 with a line per problem if not."""
    try:
        load_settings(file=file)
    except ConfigError as error:
        for line in str(error).split("; "):
            print(line)
        raise typer.Exit(2) from None
    print(f"{file}: valid")


def parse_assignments(assignments: list[str]) -> dict[str, str]:
    """`KEY=VALUE` words as a mapping.

    Raises:
        ConfigError: One is no such word.
    """
    parsed = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key:
            raise ConfigError(f"--set: expected KEY=VALUE, found {redact(assignment)!r}")
        parsed[key] = value
    return parsed


def _toml_lines(values: Mapping[str, Any]) -> Iterator[str]:
    """TOML has no null: a setting that is not set is a comment."""
    for key, value in values.items():
        if not isinstance(value, dict):
            yield _toml_line(key, value)
    for key, section in values.items():
        if isinstance(section, dict):
            yield f"\n[{key}]"
            for name, value in section.items():
                yield _toml_line(name, value)


def _toml_line(key: str, value: object) -> str:
    # JSON's strings, numbers and booleans are TOML's.
    return f"# {key} =" if value is None else f"{key} = {json.dumps(value, ensure_ascii=False)}"
