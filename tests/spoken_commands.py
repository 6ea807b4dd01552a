"""Commands as the documentation writes them, held against the real command line and settings."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

import typer.main

from streamer.cli.app import app
from streamer.cli.settings import known_keys
from streamer.sources.credentials import CREDENTIALS_VARIABLE_PREFIX
from streamer.transport.tokens import CLIENT_TOKEN_VARIABLE, RUN_TOKEN_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

_ENDS = {"|", "||", "&&", ";", "&", ">", ">>", "<", "2>", "2>&1", ")"}
_ASSIGNMENT = re.compile(r"STREAMER_\w+(?==)")
_USAGE_ERROR: Any = typer.BadParameter.__base__
"""What every wrong command line raises; typer gives it no public name."""
_OPTION = re.compile(r"--[a-z][a-z-]*")


def invocations(script: str) -> Iterator[list[str]]:
    """The words after each `streamer` of a shell script."""
    joined = script.replace("\\\n", " ")
    for line in joined.splitlines():
        line = line.replace("$(", " ").replace("`", " ")
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>()")
        lexer.whitespace_split = True
        try:
            words = list(lexer)
        except ValueError:  # a quotation over several lines: no command of ours begins in it
            continue
        for index, word in enumerate(words):
            first = index == 0 or words[index - 1] in _ENDS or "=" in words[index - 1]
            if word.rpartition("/")[2] == "streamer" and first:
                end = next((i for i in range(index + 1, len(words)) if words[i] in _ENDS), None)
                yield words[index + 1 : end]


def faults(words: list[str]) -> list[str]:
    """What is wrong with a whole invocation: it has to parse as it stands."""
    command, rest = _resolve(words)
    if isinstance(command, str):
        return [command]
    found = _unknown_options(command, rest)
    open_ended = command.name == "worker" or any("$" in word for word in rest)
    if not open_ended and not found and not {"--help", "-h", "--version"} & {*rest}:
        try:
            command.make_context("streamer", list(rest), resilient_parsing=False)
        except _USAGE_ERROR as error:
            found.append(f"{' '.join(words)}: {getattr(error, 'message', error)}")
    return found


def part_faults(words: list[str]) -> list[str]:
    """What is wrong with a part of an invocation: verbs and options have to exist."""
    command, rest = _resolve(words)
    return [command] if isinstance(command, str) else _unknown_options(command, rest)


def unknown_settings(text: str) -> list[str]:
    """Variables, and keys after `--set`, that no setting has."""
    keys = set(known_keys())
    variables = {f"STREAMER_{key.replace('.', '__')}".upper() for key in keys}
    variables |= {CLIENT_TOKEN_VARIABLE, RUN_TOKEN_VARIABLE}
    found = [
        name
        for name in _ASSIGNMENT.findall(text)
        if name not in variables and not name.startswith(CREDENTIALS_VARIABLE_PREFIX)
    ]
    worker = re.findall(r"streamer worker .*?(?:\n\n|$)", text.replace("\\\n", " "), re.DOTALL)
    for line in worker:
        found += [key for key in re.findall(r"--set ([\w.]+)=", line) if key not in keys]
    return found


def _resolve(words: list[str]) -> tuple[Any, list[str]]:
    command: Any = typer.main.get_command(app)
    rest = list(words)
    while getattr(command, "commands", None) is not None:
        if not rest or rest[0].startswith("-") or rest[0].isupper():
            return command, rest
        name = rest.pop(0)
        if name not in command.commands:
            return f"streamer {' '.join(words)}: there is no {name}", rest
        command = command.commands[name]
    return command, rest


def _unknown_options(command: Any, words: list[str]) -> list[str]:
    if command.name == "worker":
        known = {"--config", "--set", "--help"}
    else:
        known = {"--help", *(opt for p in command.params for opt in (*p.opts, *p.secondary_opts))}
    given = [match[0] for word in words if (match := _OPTION.match(word))]
    return [f"{command.name}: there is no {option}" for option in given if option not in known]
