"""Cholec80 (Twinanda et al. 2017): phases at 25 fps, tools once a second.

`phase_annotations/videoNN-phase.txt` has a row per frame below the heading `Frame Phase`;
`tool_annotations/videoNN-tool.txt` a row per 25th frame with a column of 0 and 1 per tool. The
videos are in `videos/videoNN.mp4`. Phases become phases, tools become actions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamer.core.errors import ConfigError
from streamer.training.annotations.annotation import Kind
from streamer.training.annotations.documents import read_text
from streamer.training.annotations.frames import runs
from streamer.training.annotations.imported import RowCollector, find_video

if TYPE_CHECKING:
    from pathlib import Path

    from streamer.training.annotations.imported import Imported, ImportOptions

FPS = 25.0
Line = tuple[int, tuple[str, ...]]
"""A frame and what stands in its row."""


def import_cholec80(path: Path, options: ImportOptions) -> Imported:
    """Labels of all videos in the folder of the dataset.

    Raises:
        ConfigError: It is another folder, or a file in it is not what it should be.
    """
    phases = sorted((path / "phase_annotations").glob("*-phase.txt"))
    if not phases:
        raise ConfigError(f"{path}: expected phase_annotations/*-phase.txt in it, found none")
    collector = RowCollector(path, options)
    root = options.videos or path / "videos"
    fps = options.fps or FPS
    for file in phases:
        name = file.name.removesuffix("-phase.txt")
        video = find_video(name, path=root / name, options=options)
        collector.path = file
        columns, lines = _read(file)
        if len(columns) != 2:
            raise ConfigError(f"{file}, line 1: expected Frame and Phase, found {columns}")
        for (phase,), first, end in _stretches(lines):
            collector.add(
                video,
                phase,
                first / fps,
                end / fps,
                place=f"frame {first}",
                track="phase",
                kind=Kind.PHASE,
            )
        tools = path / "tool_annotations" / f"{name}-tool.txt"
        if tools.is_file():
            _add_tools(collector, tools, video, fps=fps)
    return collector.finish()


def _add_tools(collector: RowCollector, file: Path, video: Path, *, fps: float) -> None:
    collector.path = file
    columns, lines = _read(file)
    for index, tool in enumerate(columns[1:]):
        held: list[Line] = [(frame, (cells[index],)) for frame, cells in lines]
        for (value,), first, end in _stretches(held):
            if value not in ("0", "1"):
                raise ConfigError(
                    f"{file}, frame {first}: {tool}: expected 0 or 1, found {value!r}"
                )
            if value == "1":
                collector.add(
                    video,
                    tool,
                    first / fps,
                    end / fps,
                    place=f"frame {first}",
                    track="tool",
                    kind=Kind.ACTION,
                )


def _read(file: Path) -> tuple[list[str], list[Line]]:
    """The heading, and (frame, cells) per row."""
    rows = [line.split() for line in read_text(file).splitlines()]
    if not rows or rows[0][:1] != ["Frame"]:
        raise ConfigError(f"{file}, line 1: expected a heading that begins with Frame")
    columns = rows[0]
    lines: list[Line] = []
    for number, cells in enumerate(rows[1:], start=2):
        if not cells:
            continue
        frame = cells[0]
        if not (frame.isascii() and frame.isdigit() and len(frame) < 10):
            raise ConfigError(f"{file}, line {number}: expected a frame number, found {frame!r}")
        if len(cells) != len(columns) or (lines and int(frame) <= lines[-1][0]):
            raise ConfigError(
                f"{file}, line {number}: expected {len(columns)} values of a later frame, "
                f"found {' '.join(cells)!r}"
            )
        lines.append((int(frame), tuple(cells[1:])))
    return columns, lines


def _stretches(lines: list[Line]) -> list[tuple[tuple[str, ...], int, int]]:
    """(cells, first frame, end frame) of each run; a row holds until the next row's frame."""
    frames = [frame for frame, _ in lines]
    step = frames[-1] - frames[-2] if len(frames) > 1 else 1
    frames.append((frames[-1] if frames else 0) + step)
    return [
        (cells, frames[first], frames[end])
        for cells, first, end in runs([cells for _, cells in lines])
    ]
