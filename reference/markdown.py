"""The little Markdown that generated pages are made of."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_CODE = re.compile(
    r"(?<![\w`.#/])"
    r"((?:--[a-z][a-z-]*|[a-z]+(?:_[a-z0-9]+)+)(?:\.[a-z_]+)*)"
    r"(?![\w`/])"
)
"""Options and names with an underscore, which read as code."""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table. A `|` in a cell, and a line break, are written so that they stay in it."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def code(text: str) -> str:
    """The text as code, if there is any."""
    return f"`{text}`" if text else ""


def prose(text: str) -> str:
    """A docstring's or help text's words: what would be taken for markup stands as it is."""
    parts = re.split(r"(`[^`]*`)", text.replace("``", "`"))
    return "".join(part if part.startswith("`") else _plain(part) for part in parts)


def _plain(text: str) -> str:
    text = text.replace("*", r"\*").replace("<", "&lt;").replace("[", r"\[")
    return _CODE.sub(r"`\1`", text)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")
