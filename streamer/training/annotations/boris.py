"""BORIS: a project file, or its exports of events as CSV or TSV.

*Tabular events* have a row per event, with `Time` and `START`, `STOP` or `POINT` in `Status` (until
version 7) or `Behavior type`; *aggregated events* a row per stretch, with `Start (s)` and
`Stop (s)`. Older versions write a preamble above the heading.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from streamer.core.errors import ConfigError
from streamer.training.annotations.boris_project import import_boris_project
from streamer.training.annotations.documents import read_text
from streamer.training.annotations.imported import RowCollector, find_video

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from streamer.training.annotations.imported import Imported, ImportOptions

MEDIA = ("Media file name", "Media file path", "Media file")
NO_SUBJECT = "No focal subject"
"""What the exports write where a project file has nothing."""
STATUS = ("Status", "Behavior type")


def import_boris(path: Path, options: ImportOptions) -> Imported:
    """Labels of a project (`.boris`) or of exported events (`.csv`, `.tsv`).

    Raises:
        ConfigError: It is another file, or a state does not stop.
    """
    if path.suffix.lower() == ".boris":
        return import_boris_project(path, options)
    collector = RowCollector(path, options)
    rows = list(_rows(path))
    if "Start (s)" in rows[0][1]:
        for line, row in rows:
            _add(collector, line, row, _seconds(path, line, row, "Start (s)"), "Stop (s)")
    else:
        _add_events(collector, rows)
    return collector.finish()


def _add_events(collector: RowCollector, rows: list[tuple[int, Mapping[str, str]]]) -> None:
    open_at: dict[tuple[str, ...], tuple[int, float]] = {}
    for line, row in rows:
        time = _seconds(collector.path, line, row, "Time")
        modifiers = [row[name] for name in row if name.startswith("Modifier")]
        key = (_first(row, MEDIA), row.get("Subject", ""), row["Behavior"], *modifiers)
        match _first(row, STATUS).upper():
            case "POINT":
                _add(collector, line, row, time, "Time")
            case "START" if key not in open_at:
                open_at[key] = (line, time)
            case "STOP" if key in open_at:
                _add(collector, line, row, open_at.pop(key)[1], "Time")
            case status:
                raise ConfigError(
                    f"{collector.path}, line {line}: expected START and STOP of "
                    f"{row['Behavior']!r} in turn, or POINT, found {status!r}"
                )
    for line, _ in open_at.values():
        raise ConfigError(
            f"{collector.path}, line {line}: expected a STOP after this START, found none; "
            "add it in BORIS"
        )


def _add(
    collector: RowCollector, line: int, row: Mapping[str, str], start: float, end: str
) -> None:
    media = _first(row, MEDIA) or row.get("Source", "").partition(":")[2]
    collector.add(
        find_video(media, path=collector.path, options=collector.options),
        row["Behavior"],
        start,
        _seconds(collector.path, line, row, end),
        place=f"line {line}",
        track=row.get("Subject", "").replace(NO_SUBJECT, ""),
        group=row.get("Behavioral category", ""),
    )


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Rows with their lines; at least one."""
    lines = read_text(path).splitlines()
    head = next((k for k, line in enumerate(lines) if _is_heading(line)), None)
    if head is None or head + 1 >= len(lines):
        raise ConfigError(
            f"{path}: expected a BORIS project, or its tabular or aggregated events with the "
            "columns Behavior and Time or Start (s), found none"
        )
    delimiter = "\t" if "\t" in lines[head] else ","
    try:
        table = csv.reader(lines[head:], delimiter=delimiter)
        columns = [column.strip() for column in next(table)]
        for cells in table:
            if any(cells):
                row = dict(zip(columns, (cell.strip() for cell in cells), strict=False))
                if "Behavior" not in row:
                    raise ConfigError(
                        f"{path}, line {head + table.line_num}: expected {len(columns)} values, "
                        f"found {len(cells)}"
                    )
                yield head + table.line_num, row
    except csv.Error as error:
        raise ConfigError(f"{path}: can't read the table ({error})") from error


def _is_heading(line: str) -> bool:
    cells = {cell.strip().strip('"') for cell in line.replace("\t", ",").split(",")}
    return "Behavior" in cells and bool(cells & {"Time", "Start (s)"})


def _first(row: Mapping[str, str], columns: tuple[str, ...]) -> str:
    return next((row[column] for column in columns if row.get(column)), "")


def _seconds(path: Path, line: int, row: Mapping[str, str], column: str) -> float:
    try:
        return float(row.get(column, ""))
    except ValueError:
        raise ConfigError(
            f"{path}, line {line}: {column}: expected seconds, found {row.get(column, '')!r}"
        ) from None
