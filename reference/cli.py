"""`docs/cli.md`, from the typer application."""

from __future__ import annotations

import inspect
import json
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import typer.main

from reference.markdown import code, prose, table
from streamer.cli.app import app

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = "cli.md"

_INTRODUCTION = """\
# Command line

`streamer COMMAND --help` says the same. Exit codes: 0 done, 1 failed, 2 asked wrongly (an unknown
option, a wrong setting), 130 interrupted. Errors go to stderr as one line that begins with
`streamer:`; what they mean is in [troubleshooting](troubleshooting.md).
"""


def text() -> str:
    """The page."""
    commands = list(_commands(typer.main.get_command(app), ()))
    rows = [
        (f"[`{' '.join(path)}`](#{'-'.join(path)})", prose(_summary(command)))
        for path, command in commands
    ]
    parts = [_INTRODUCTION.rstrip(), table(("command", "what it does"), rows)]
    parts += [_section(path, command) for path, command in commands]
    return "\n\n".join(parts) + "\n"


def _commands(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that does something, in the order of the help."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path, command
        return
    for name, child in inner.items():
        if not child.hidden:
            yield from _commands(child, (*(path or ("streamer",)), name))


def _summary(command: Any) -> str:
    return " ".join(inspect.cleandoc(command.help or "").partition("\n\n")[0].split())


def _section(path: tuple[str, ...], command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
    usage = " ".join([*path, "[OPTIONS]" if options else "", *(_metavar(p) for p in arguments)])
    parts = [f"## {' '.join(path)}", f"```text\n{' '.join(usage.split())}\n```"]
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    parts += [prose(" ".join(paragraph.split())) for paragraph in paragraphs]
    if arguments:
        rows = [(code(_metavar(p)), prose(p.help or "") + _choices(p)) for p in arguments]
        parts.append(table(("argument", "meaning"), rows))
    if options:
        lines = [(code(_names(p)), _value(p), _default(p), prose(p.help or "")) for p in options]
        parts.append(table(("option", "takes", "default", "meaning"), lines))
    return "\n\n".join(part for part in parts if part)


def _choices(argument: Any) -> str:
    kind = _scalar(argument.type_descriptor.annotation)
    if not (inspect.isclass(kind) and issubclass(kind, Enum)):
        return ""
    return f" One of {', '.join(code(str(member.value)) for member in kind)}."


def _metavar(param: Any) -> str:
    name = param.metavar or str(param.name).upper()
    name = name if param.nargs == 1 or name.endswith("...") else f"{name}..."
    return str(name if param.required else f"[{name.strip('[]')}]")


def _names(option: Any) -> str:
    names = ", ".join(option.opts)
    return f"{names} / {', '.join(option.secondary_opts)}" if option.secondary_opts else names


def _value(option: Any) -> str:
    """What follows it."""
    if option.is_flag:
        return ""
    kind = _scalar(option.type_descriptor.annotation)
    if inspect.isclass(kind) and issubclass(kind, Enum):
        words = ", ".join(code(str(member.value)) for member in kind)
    elif option.metavar:
        words = code(option.metavar)
    else:
        words = {int: "whole number", float: "number", Path: "path"}.get(kind, "text")
    words += "" if option.min is None else f" ≥ {option.min:g}"
    words += "" if option.max is None else f" ≤ {option.max:g}"
    return f"{words}; repeatable" if option.multiple else words


def _scalar(annotation: Any) -> Any:
    """Of `int | None` and `list[int]`: `int`."""
    inner = [part for part in get_args(annotation) if part is not type(None)]
    return _scalar(inner[0]) if inner else annotation


def _default(option: Any) -> str:
    value = option.default
    if option.required:
        return "needed"
    if callable(value) or type(value).__name__ == "Sentinel" or value in (None, False, (), []):
        return ""
    if option.is_flag and option.secondary_opts:
        return code(option.opts[0])
    if isinstance(value, list | tuple):
        return ", ".join(code(str(getattr(v, "value", v))) for v in value)
    value = getattr(value, "value", value)
    return code(value if isinstance(value, str) else json.dumps(value, default=str).strip('"'))
