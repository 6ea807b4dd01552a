"""A labelled file: what the rows of a table say of one video."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from streamer.training.annotations.annotation import Annotation, Split
    from streamer.training.annotations.table import Row


@dataclass(frozen=True, slots=True)
class Recording:
    """A file and its rows, sorted by their start."""

    path: Path
    rows: tuple[Row, ...]

    @property
    def notes(self) -> tuple[Annotation, ...]:
        """What is true in it."""
        return tuple(row.annotation for row in self.rows)

    @property
    def line(self) -> int:
        """Its first line in the table."""
        return min(row.line for row in self.rows)

    @property
    def split(self) -> Split | None:
        """What it is for; None: not said."""
        return self.rows[0].split

    @property
    def group(self) -> str:
        """What it must stay together with: its source, or itself alone."""
        return self.rows[0].source or str(self.path)


def group_rows(rows: Iterable[Row]) -> list[Recording]:
    """Recordings by path."""
    by_path: dict[Path, list[Row]] = {}
    for row in rows:
        by_path.setdefault(row.video, []).append(row)
    return [
        Recording(path, tuple(sorted(found, key=lambda row: row.annotation.start_seconds)))
        for path, found in sorted(by_path.items())
    ]
