"""The canonical table, read for heads that say one thing of a clip, or know an order alone.

The same columns as `streamer.training.annotations.table`, and one more: `value`, a number, for
regression. `start` and `end` may both be empty: the row is then about the whole video. What a row
means depends on the head: see `docs/datasets.md`.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamer.core.errors import ConfigError
from streamer.training.annotations.annotation import Kind, Split
from streamer.training.annotations.table import OPTIONAL, REQUIRED, cell_text, choice, seconds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from streamer.models.config import Head

VALUE = "value"
"""The column of numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipRow:
    """A row of the table.

    Attributes:
        line: Where it stands in the file, from 1.
        video: The file.
        start_seconds: From the first frame of the video; None: the whole video.
        end_seconds: From the first frame of the video; None: the whole video.
        label: A class, a phase, the name of a value, or a caption.
        value: Of a regression.
        split: What the video is for; None: not said.
        source: The recording the video was cut from; empty: not said.
    """

    line: int
    video: Path
    start_seconds: float | None
    end_seconds: float | None
    label: str
    value: float | None
    split: Split | None
    source: str

    @property
    def span(self) -> tuple[float, float]:
        """Seconds from the first frame; a whole video ends at infinity."""
        if self.start_seconds is None or self.end_seconds is None:
            return 0.0, math.inf
        return self.start_seconds, self.end_seconds


def read_clip_table(path: Path, head: Head) -> tuple[ClipRow, ...]:
    """The rows of a file, for a head.

    Raises:
        ConfigError: The file can't be read, its heading is another, or a row is not what the head
            needs.
    """
    rows = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True, strict=True)
            _check_heading(path, reader.fieldnames, head)
            for cells in reader:
                try:
                    rows.append(_row(path, reader.line_num, cells, head))
                except ValueError as error:
                    raise ConfigError(f"{path}, line {reader.line_num}: {error}") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: can't read the annotations ({error})") from error
    if not rows:
        raise ConfigError(f"{path}: expected rows below a heading {','.join(REQUIRED)}, found none")
    return tuple(rows)


def _check_heading(path: Path, columns: Sequence[str] | None, head: Head) -> None:
    found = list(columns or ())
    required = (*REQUIRED, VALUE) if head == "regression" else REQUIRED
    known = {*required, *OPTIONAL}
    if not set(required) <= set(found) or set(found) - known or len(set(found)) < len(found):
        raise ConfigError(
            f"{path}: expected rows below a heading {','.join(required)} (and perhaps "
            f"{', '.join(OPTIONAL)}) for the head {head}, found {','.join(found) or 'no rows'}"
        )


def _row(
    path: Path, line: int, cells: Mapping[str | None, str | list[str] | None], head: Head
) -> ClipRow:
    if None in cells:
        hint = "; write a caption with a comma in it in quotes" if head == "caption" else ""
        raise ValueError(f"expected as many values as there are columns, found more{hint}")
    video, label = cell_text(cells, "video"), " ".join(cell_text(cells, "label").split())
    if not video or not video.isprintable():
        raise ValueError(f"video: expected a path, found {video!r}")
    if not label:
        wanted = {"caption": "a caption", "regression": "the name of the value"}
        raise ValueError(f"label: expected {wanted.get(head, 'a class')}, found none")
    kind = choice(cell_text(cells, "kind") or Kind.PHASE.value, "kind", Kind)
    if kind is not Kind.PHASE:
        raise ValueError(
            f"kind: expected {Kind.PHASE} with the head {head}, found {kind}; remove the row, or "
            "train the head frames, which knows actions"
        )
    start, end = _span(cell_text(cells, "start"), cell_text(cells, "end"))
    split = cell_text(cells, "split")
    return ClipRow(
        line=line,
        video=path.parent / video,
        start_seconds=start,
        end_seconds=end,
        label=label,
        value=_value(cell_text(cells, VALUE)) if head == "regression" else None,
        split=choice(split, "split", Split) if split else None,
        source=cell_text(cells, "source"),
    )


def _span(start_text: str, end_text: str) -> tuple[float | None, float | None]:
    if not start_text and not end_text:
        return None, None
    if not start_text or not end_text:
        raise ValueError(
            f"expected start and end, or neither for the whole video, found start {start_text!r} "
            f"and end {end_text!r}"
        )
    start, end = seconds(start_text, "start"), seconds(end_text, "end")
    if not 0 <= start < end:
        raise ValueError(f"expected 0 <= start < end, found start {start:g} and end {end:g}")
    return start, end


def _value(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{VALUE}: expected a number, found {text!r}")
    return value
