"""Append-only files: what a server wrote, where one write ends, and how to lose the last ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.faults.resp import commands

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TIME_MARK = "#TS:"


@dataclass(frozen=True, slots=True)
class Write:
    """What one call wrote: a command, or all between MULTI and EXEC.

    Attributes:
        start: Offset of its first byte in the file.
        end: Offset after its last byte.
        commands: Name and arguments of each.
    """

    start: int
    end: int
    commands: tuple[tuple[bytes, ...], ...]


def newest_file(directory: Path) -> Path:
    """The incremental file that the server appends to, by the manifest."""
    (manifest,) = directory.glob("appendonlydir/*.manifest")
    names = [
        words[1] for words in map(str.split, manifest.read_text().splitlines()) if words[-1] == "i"
    ]
    return manifest.parent / names[-1]


def writes(file: Path) -> Iterator[Write]:
    """Whole writes of a file, in order. A torn last one, and what only selects, is left out."""
    buffer = file.read_bytes()
    block: list[tuple[bytes, ...]] | None = None
    start = 0
    for command in commands(buffer):
        if command.name == "MULTI":
            block, start = [], command.start
        elif command.name == "EXEC" and block is not None:
            yield Write(start, command.end, tuple(block))
            block = None
        elif command.name == "SELECT" or command.name.startswith("#"):
            pass
        elif block is not None:
            block.append(command.arguments)
        else:
            yield Write(command.start, command.end, (command.arguments,))


def cut_last(file: Path, *, num_writes: int, after: int = 0) -> int:
    """Lose the last writes, but none that begins before an offset. Returns how many were lost."""
    starts = [write.start for write in writes(file) if write.start >= after]
    lost = starts[-num_writes:]
    if lost:
        _truncate(file, lost[0])
    return len(lost)


def cut_since(file: Path, *, since: float) -> int:
    """Lose what was written since a time (UTC seconds). Needs `aof-timestamp-enabled`.

    Returns:
        How many writes were lost.
    """
    for command in commands(file.read_bytes()):
        if command.name.startswith(TIME_MARK) and int(command.name[len(TIME_MARK) :]) >= since:
            lost = sum(write.start >= command.start for write in writes(file))
            _truncate(file, command.start)
            return lost
    return 0


def tear(file: Path, *, num_bytes: int) -> int:
    """Cut off bytes, wherever that falls. Returns how many there were to cut."""
    size = file.stat().st_size
    _truncate(file, max(0, size - num_bytes))
    return min(size, num_bytes)


def entries_added(file: Path, key: bytes) -> dict[bytes, bytes]:
    """What XADD put into a stream, by entry id, trimmed since or not: field `e`."""
    return {
        command[2]: command[4]
        for write in writes(file)
        for command in write.commands
        if command[0].upper() == b"XADD" and command[1] == key
    }


def _truncate(file: Path, size: int) -> None:
    with file.open("r+b") as stream:
        stream.truncate(size)
