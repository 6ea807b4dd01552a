"""What the rows of a table say of a video's clips, by head: which clips there are, and how right.

- `sequence`: each row is a clip with a class; clips of different classes do not overlap.
- `ctc`: a video is a clip; its rows are phases in order, of time or, without times, of the file.
- `regression` with pooling: rows of the same times are a clip, with a value for every name; without
  pooling a video is a clip, and a row's value holds from its start until just before its end.
- `caption`: each row is a clip with a text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from streamer.core.errors import ConfigError
from streamer.training.annotations.table import MAX_OVERLAP_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from streamer.models.config import Head, Pooling
    from streamer.training.annotations.clip_table import ClipRow

_WORD = re.compile(r"\w+(?:['\u2019-]\w+)*")
UNKNOWN = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipRows:
    """A clip, and the rows about it, in order.

    Attributes:
        path: Of the table, for messages.
        rows: At least one.
        whole: Whether the clip is the whole video, although its rows have times.
    """

    path: Path
    rows: tuple[ClipRow, ...]
    whole: bool = False

    @property
    def line(self) -> int:
        """Of its first row in the file."""
        return min(row.line for row in self.rows)

    @property
    def span(self) -> tuple[float, float]:
        """Seconds from the video's first frame."""
        return (0.0, float("inf")) if self.whole else self.rows[0].span

    @property
    def name(self) -> str:
        """For people."""
        start, end = self.span
        video = self.rows[0].video.name
        return video if end == float("inf") else f"{video} {start:g}-{end:g} s"

    def fault(self, text: str, line: int | None = None) -> ConfigError:
        """An error that names the file and a row, the first if none is given."""
        return ConfigError(f"{self.path}, line {line or self.line}: {text}")


def find_clips(
    path: Path, rows: Sequence[ClipRow], *, head: Head, pooling: Pooling
) -> list[ClipRows]:
    """The clips of one video.

    Args:
        path: Of the table.
        rows: All of one video, in the order of the file.
        head: Any but `frames`.
        pooling: Of the head.

    Raises:
        ConfigError: Two rows contradict each other.
    """
    if head == "ctc":
        return [ClipRows(path=path, rows=_ordered(path, rows), whole=True)]
    if head == "regression":
        return _valued(path, rows, whole=pooling == "none")
    for before, after in _overlaps(rows):
        same = before.span == after.span
        if head == "caption" and not same:
            continue  # a longer clip may tell what two shorter ones do
        if head == "sequence" and before.label == after.label and not same:
            continue
        what = "caption" if head == "caption" else "class"
        raise ConfigError(
            f"{path}, line {after.line}: {after.video.name}: expected one {what} for a clip, found "
            f"{after.label!r} and {before.label!r} (line {before.line}) for {_told(before, after)}"
            "; correct the times, or remove one of them"
        )
    return [ClipRows(path=path, rows=(row,)) for row in rows]


def order_of(clip: ClipRows) -> list[str]:
    """Phases of a clip in order. Rows of one label that touch are one phase."""
    return [rows[0].label for rows in _runs(clip.rows)]


def phases_at(clip: ClipRows, names: Sequence[str], pts_T: np.ndarray) -> np.ndarray | None:
    """The phase of each frame, int64 (T,), `UNKNOWN` between phases.

    None where only the order is known.
    """
    if clip.rows[0].start_seconds is None:
        return None
    phases_T = np.full(len(pts_T), UNKNOWN, np.int64)
    for row in clip.rows:
        start, end = row.span
        phases_T[(pts_T >= start) & (pts_T < end)] = names.index(row.label)
    return phases_T


def values_of(clip: ClipRows, names: Sequence[str], pts_T: np.ndarray) -> np.ndarray:
    """Values of a clip, float32 (K,); of the frames of a whole video (T, K), NaN where unknown."""
    if not clip.whole:
        told = {row.label: row.value for row in clip.rows}
        return np.array([told[name] for name in names], np.float32)
    values_TK = np.full((len(pts_T), len(names)), np.nan, np.float32)
    for row in clip.rows:
        start, end = row.span
        held = (pts_T >= start) & (pts_T < end)
        values_TK[held, names.index(row.label)] = row.value
    return values_TK


def words_of(clip: ClipRows) -> tuple[str, ...]:
    """Words of a caption, in lower case and without punctuation.

    Raises:
        ConfigError: There are none.
    """
    words = tuple(_WORD.findall(clip.rows[0].label.lower()))
    if not words:
        raise clip.fault(f"label: expected a caption with words, found {clip.rows[0].label!r}")
    return words


def _ordered(path: Path, rows: Sequence[ClipRow]) -> tuple[ClipRow, ...]:
    timed = [row for row in rows if row.start_seconds is not None]
    if not timed:
        return tuple(rows)
    if len(timed) < len(rows):
        row = next(row for row in rows if row.start_seconds is None)
        raise ConfigError(
            f"{path}, line {row.line}: {row.video.name}: expected start and end in all rows of a "
            "video or in none, found none here; without them the order of the rows counts"
        )
    for before, after in _overlaps(rows):
        raise ConfigError(
            f"{path}, line {after.line}: {after.video.name}: expected one phase at a time, found "
            f"{after.label!r} from {after.span[0]:g} s and {before.label!r} (line {before.line}) "
            f"until {before.span[1]:g} s; correct the times"
        )
    return tuple(sorted(timed, key=lambda row: row.span))


def _runs(rows: Sequence[ClipRow]) -> Iterator[list[ClipRow]]:
    run: list[ClipRow] = []
    for row in rows:
        touches = (
            run
            and row.start_seconds is not None
            and run[-1].label == row.label
            and row.span[0] - run[-1].span[1] <= MAX_OVERLAP_SECONDS
        )
        if run and not touches:
            yield run
            run = []
        run.append(row)
    yield run


def _valued(path: Path, rows: Sequence[ClipRow], *, whole: bool) -> list[ClipRows]:
    by_name = sorted(rows, key=lambda row: row.label)
    for name, same in groupby(by_name, key=lambda row: row.label):
        for before, after in _overlaps(list(same)):
            if not whole and before.span != after.span:
                continue
            raise ConfigError(
                f"{path}, line {after.line}: {after.video.name}: expected one {name!r} at a time, "
                f"found {after.value:g} and {before.value:g} (line {before.line}) for "
                f"{_told(before, after)}; remove one of them"
            )
    if whole:
        return [ClipRows(path=path, rows=tuple(rows), whole=True)]
    by_span: dict[tuple[float, float], list[ClipRow]] = {}
    for row in rows:
        by_span.setdefault(row.span, []).append(row)
    return [ClipRows(path=path, rows=tuple(same)) for same in by_span.values()]


def _overlaps(rows: Sequence[ClipRow]) -> Iterator[tuple[ClipRow, ClipRow]]:
    """Pairs that overlap for longer than rounding explains, the one that starts later second."""
    ordered = sorted(rows, key=lambda row: (row.span[0], row.line))
    open_ones: list[ClipRow] = []
    for after in ordered:
        start, end = after.span
        open_ones = [row for row in open_ones if row.span[1] - start > MAX_OVERLAP_SECONDS]
        for before in open_ones:
            if end - start > MAX_OVERLAP_SECONDS or before.span == after.span:
                yield before, after
        open_ones.append(after)


def _told(before: ClipRow, after: ClipRow) -> str:
    start, end = after.span[0], min(before.span[1], after.span[1])
    if end == float("inf"):
        return "the whole video" if start == 0 else f"all from {start:g} s on"
    return f"{start:g} to {end:g} s"
