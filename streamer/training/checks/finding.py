"""A finding: what is wrong, where, and how to mend it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class Severity(StrEnum):
    """What a finding means for training."""

    ERROR = "error"
    """It can't start."""
    WARNING = "warning"
    """It can, but the model may suffer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is wrong.

    Attributes:
        severity: See `Severity`.
        code: A word per kind of finding, for machines.
        file: The table, or a video.
        line: Of the table; 0 where the finding is of no single row.
        text: What was expected and what was found.
        advice: How to mend it.
    """

    severity: Severity
    code: str
    file: Path
    line: int = 0
    text: str
    advice: str

    @property
    def place(self) -> str:
        """File and line."""
        return f"{self.file}, line {self.line}" if self.line else str(self.file)

    def __str__(self) -> str:
        """In one line."""
        return f"{self.place}: {self.text}; {self.advice}"
