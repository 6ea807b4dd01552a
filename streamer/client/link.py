"""A way to the event log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamer.client.cursor import Cursor
    from streamer.client.gap import GapReason


@dataclass(frozen=True, slots=True)
class Entry:
    """An event in the log: the place after it, and its JSON."""

    cursor: Cursor
    json: bytes


@dataclass(frozen=True, slots=True)
class Position:
    """Everything up to here has been delivered.

    Attributes:
        cursor: The place in the log; None for a sign of life that names no place.
        live: Whether this was all there was: what follows is new.
    """

    cursor: Cursor | None
    live: bool = False


@dataclass(frozen=True, slots=True)
class Missed:
    """Events are, or may be, missing before this place."""

    cursor: Cursor
    reason: GapReason


@dataclass(frozen=True, slots=True)
class Rewound:
    """Redis has lost the log's end. Events after this place may come again."""

    cursor: Cursor


Message = Entry | Position | Missed | Rewound
"""What a link delivers."""


class Link(Protocol):
    """Reads the log over one connection at a time."""

    def messages(self, cursor: Cursor | None) -> Iterator[Message]:
        """Connect and deliver until the connection ends.

        Args:
            cursor: The last entry already seen; None begins as the user asked.

        Raises:
            TransportError: There is no connection, or it broke.
            ConfigError: The other side does not accept what was asked.
        """
        ...

    def close(self) -> None:
        """End the connection. Idempotent."""
        ...

    def interrupt(self) -> None:
        """From another thread: have `messages` end soon, and not wait again."""
        ...
