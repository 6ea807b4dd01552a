"""The canonical table of labels: a CSV file with a heading, a row per labelled stretch.

Columns `video,start,end,label`: the video's path (relative to the CSV file), seconds from its
first frame, and the label. Optional are `kind` (`phase`, the default, or `action`), `track` (who or
what it is of), `split` (`train`, `validation` or `test`) and `source` (the recording that a clip
was cut from).
"""

from __future__ import annotations

import csv
import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from streamer.core.errors import ConfigError
from streamer.training.annotations.annotation import Kind, Split, make_annotation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from streamer.training.annotations.annotation import Annotation

REQUIRED = ("video", "start", "end", "label")
OPTIONAL = ("kind", "track", "split", "source")
Choice = TypeVar("Choice", Kind, Split)
MAX_OVERLAP_SECONDS = 0.05
"""Neighbouring phases may overlap so far: annotation tools round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of the table.

    Attributes:
        line: Where it stands in the file, from 1; 0 if it stands in none.
        video: The file.
        annotation: What is true in it.
        split: What the video is for; None: not said.
        source: The recording the video was cut from; empty: not said.
    """

    line: int = 0
    video: Path
    annotation: Annotation
    split: Split | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """A row that is not what it should be."""

    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of a file, and the lines that are none."""

    path: Path
    rows: tuple[Row, ...]
    faults: tuple[Fault, ...]


def scan_table(path: Path) -> Table:
    """Every row, good or bad: for a check that lists all faults.

    Raises:
        ConfigError: The file can't be read, or its heading is another.
    """
    rows, faults = [], []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True, strict=True)
            _check_heading(path, reader.fieldnames)
            for cells in reader:
                try:
                    rows.append(_row(path, reader.line_num, cells))
                except ValueError as error:
                    faults.append(Fault(reader.line_num, str(error)))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: can't read the annotations ({error})") from error
    if not rows and not faults:
        raise ConfigError(f"{path}: expected rows below a heading {','.join(REQUIRED)}, found none")
    return Table(path, tuple(rows), tuple(faults))


def read_table(path: Path) -> Table:
    """The rows of a file without faults.

    Raises:
        ConfigError: The file can't be read, or a row is not what it should be.
    """
    table = scan_table(path)
    if table.faults:
        fault = table.faults[0]
        raise ConfigError(f"{path}, line {fault.line}: {fault.text}")
    return table


def scan_videos(path: Path) -> list[Path]:
    """What stands in the column `video`, whatever else the file has: good or bad.

    Raises:
        ConfigError: The file can't be read.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True, strict=True)
            names = [cell_text(cells, "video") for cells in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: can't read the annotations ({error})") from error
    return [path.parent / name for name in names if name]


def read_annotations(path: Path) -> dict[Path, list[Annotation]]:
    """Annotations by video, sorted by their start.

    Raises:
        ConfigError: The file can't be read, a row is not what it should be, or phases overlap.
    """
    by_video: dict[Path, list[Row]] = {}
    for row in read_table(path).rows:
        by_video.setdefault(row.video, []).append(row)
    for video, rows in by_video.items():
        for before, after in overlapping_phases(rows):
            first, second = before.annotation, after.annotation
            raise ConfigError(
                f"{path}, line {after.line}: {video.name}: expected one phase at a time, found "
                f"{first.label!r} until {first.end_seconds:g} s and {second.label!r} from "
                f"{second.start_seconds:g} s; give what may overlap the kind action"
            )
    return {
        video: sorted((row.annotation for row in rows), key=lambda note: note.start_seconds)
        for video, rows in by_video.items()
    }


def overlapping_phases(rows: Iterable[Row]) -> Iterator[tuple[Row, Row]]:
    """Phases of one video that hold at once for longer than rounding explains, in pairs."""
    phases = [row for row in rows if row.annotation.kind is Kind.PHASE]
    phases.sort(key=lambda row: row.annotation.start_seconds)
    latest: Row | None = None  # of those before, the one that ends last
    for row in phases:
        end = -math.inf if latest is None else latest.annotation.end_seconds
        if latest is not None and end - row.annotation.start_seconds > MAX_OVERLAP_SECONDS:
            yield latest, row
        if row.annotation.end_seconds > end:
            latest = row


def write_table(path: Path, rows: Sequence[Row]) -> None:
    """Write a CSV file that `read_table` reads. Videos below its folder are written relative to it.

    Columns that no row has a value for are left out. Times are rounded to microseconds.

    Raises:
        ConfigError: It can't be written.
    """
    folder = path.parent.resolve()
    cells = [_cells(row, folder) for row in rows]
    columns = [*REQUIRED, "kind", *(name for name in OPTIONAL[1:] if any(c[name] for c in cells))]
    beside = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(cells)
        beside.replace(path)
    except (OSError, UnicodeEncodeError) as error:
        beside.unlink(missing_ok=True)
        raise ConfigError(f"{path}: can't write the annotations ({error})") from error


def _cells(row: Row, folder: Path) -> dict[str, str]:
    video, note = row.video.resolve(), row.annotation
    return {
        "video": str(video.relative_to(folder) if video.is_relative_to(folder) else video),
        "start": _number(note.start_seconds),
        "end": _number(note.end_seconds),
        "label": note.label,
        "kind": note.kind.value,
        "track": note.track,
        "split": row.split.value if row.split else "",
        "source": row.source,
    }


def _number(seconds: float) -> str:
    return f"{seconds:.6f}".rstrip("0").rstrip(".")


def _check_heading(path: Path, columns: Sequence[str] | None) -> None:
    found = list(columns or ())
    known = {*REQUIRED, *OPTIONAL}
    if not set(REQUIRED) <= set(found) or set(found) - known or len(set(found)) < len(found):
        raise ConfigError(
            f"{path}: expected rows below a heading {','.join(REQUIRED)} (and perhaps "
            f"{', '.join(OPTIONAL)}), found {','.join(found) or 'no rows'}"
        )


def _row(path: Path, line: int, cells: Mapping[str | None, str | list[str] | None]) -> Row:
    if None in cells:
        raise ValueError("expected as many values as there are columns, found more")

    def text(column: str) -> str:
        return cell_text(cells, column)

    start, end = seconds(text("start"), "start"), seconds(text("end"), "end")
    video = _needed(text("video"), "video")
    if not video.isprintable():
        raise ValueError(f"video: expected a path, found {video!r}")
    return Row(
        line=line,
        video=path.parent / video,
        annotation=make_annotation(
            text("label"),
            choice(text("kind") or Kind.PHASE.value, "kind", Kind),
            start,
            end,
            track=text("track"),
        ),
        split=choice(text("split"), "split", Split) if text("split") else None,
        source=text("source"),
    )


def cell_text(cells: Mapping[str | None, str | list[str] | None], column: str) -> str:
    """What stands in a column, without space around it; empty if there is nothing."""
    value = cells.get(column)
    return value.strip() if isinstance(value, str) else ""


def choice(text: str, column: str, choices: type[Choice]) -> Choice:
    """One of some words.

    Raises:
        ValueError: It is none of them.
    """
    try:
        return choices(text)
    except ValueError:
        expected = " or ".join(choices)
        raise ValueError(f"{column}: expected {expected}, found {text!r}") from None


def _needed(text: str, column: str) -> str:
    if not text:
        raise ValueError(f"{column}: expected a value, found none")
    return text


def seconds(text: str, column: str) -> float:
    """A time.

    Raises:
        ValueError: It is no finite number.
    """
    _needed(text, column)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{column}: expected seconds, found {text!r}")
    return value
