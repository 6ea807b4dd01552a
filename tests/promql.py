"""What a line of PromQL is about: enough of its grammar for the expressions of this repository."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

KEYWORDS = {
    "and",
    "or",
    "unless",
    "by",
    "without",
    "on",
    "ignoring",
    "bool",
    "offset",
    "inf",
    "nan",
}
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_OFFSET = re.compile(r"\boffset\s+\w+")
_RANGE = re.compile(r"\[[^]]*\]")
_SELECTOR = re.compile(r"(?<![\w:$\"])([a-zA-Z_:][\w:]*)(\{[^}]*\})?(?!\w*\s*\()")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_COMPARISON = re.compile(r"(==|>=|<=|>|<)(?!\s*bool\b)")


@dataclass(frozen=True, slots=True)
class Selector:
    """Which series an expression reads.

    Attributes:
        metric: Its name.
        matchers: Label, operator, value.
    """

    metric: str
    matchers: tuple[tuple[str, str, str], ...] = field(default=())

    def __str__(self) -> str:
        inside = ", ".join(f'{label}{how}"{value}"' for label, how, value in self.matchers)
        return f"{self.metric}{{{inside}}}" if inside else self.metric


def grouping_labels(expr: str) -> set[str]:
    """Labels that results are grouped or matched by."""
    lists = [found.split(",") for found in _GROUPING.findall(expr)]
    return {label.strip() for labels in lists for label in labels if label.strip()}


def selectors(expr: str) -> list[Selector]:
    """What it reads, in order."""
    rest = _RANGE.sub("", _OFFSET.sub("", _GROUPING.sub("", expr)))
    return [
        Selector(name, tuple(_MATCHER.findall(inside)))
        for name, inside in _SELECTOR.findall(rest)
        if name not in KEYWORDS
    ]


def without_conditions(expr: str) -> str:
    """An alert's expression made to give a value whether or not the alert is due.

    Comparisons give 0 or 1 for every series instead of leaving some out, nothing is compared with
    the days before, and a role is looked at where its absence would be.
    """
    expr = _OFFSET.sub("", expr).replace("absent(", "(")
    return _COMPARISON.sub(r"\1 bool", expr)
