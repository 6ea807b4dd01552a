"""Redis's wire format: where one command ends and the next begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Command:
    """A command in a buffer.

    Attributes:
        start: Offset of its first byte.
        end: Offset after its last byte.
        arguments: Its name, in capitals, and what follows.
    """

    start: int
    end: int
    arguments: tuple[bytes, ...]

    @property
    def name(self) -> str:
        """In capitals; empty for a line without a word."""
        return self.arguments[0].decode(errors="replace").upper() if self.arguments else ""

    @property
    def function(self) -> str | None:
        """The function it calls; None if it calls none."""
        if self.name not in ("FCALL", "FCALL_RO") or len(self.arguments) < 2:
            return None
        return self.arguments[1].decode(errors="replace")


def commands(buffer: bytes | bytearray, *, start: int = 0) -> Iterator[Command]:
    """The whole commands of a buffer. What is left of a last, torn one is not told.

    Lines that begin with `#` (an append-only file's times) count as commands of that name.
    """
    while start < len(buffer):
        found = _array(buffer, start) if buffer[start] == ord("*") else _line(buffer, start)
        if found is None:
            return
        yield found
        start = found.end


def _line(buffer: bytes | bytearray, start: int) -> Command | None:
    end = buffer.find(b"\r\n", start)
    if end < 0:
        return None
    return Command(start, end + 2, tuple(bytes(buffer[start:end]).split()))


def _array(buffer: bytes | bytearray, start: int) -> Command | None:
    count, at = _number(buffer, start, b"*")
    arguments = []
    for _ in range(count):
        length, at = _number(buffer, at, b"$")
        if at < 0 or at + length + 2 > len(buffer):
            return None
        arguments.append(bytes(buffer[at : at + length]))
        at += length + 2
    return None if at < 0 else Command(start, at, tuple(arguments))


def _number(buffer: bytes | bytearray, start: int, mark: bytes) -> tuple[int, int]:
    """A number after its mark, and the offset behind it; -1 if it is not all there."""
    end = -1 if start < 0 else buffer.find(b"\r\n", start)
    if end < 0:
        return 0, -1
    if buffer[start : start + 1] != mark:
        raise ValueError(
            f"expected {mark!r} at {start}, found {bytes(buffer[start : start + 20])!r}"
        )
    return int(buffer[start + 1 : end]), end + 2
