"""A way to the event log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from streamer.client.cursor import EntryId, Gap

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Entry:
    """An event in the log: its place, and its JSON."""

    id: EntryId
    json: bytes


@dataclass(frozen=True, slots=True)
class Position:
    """Everything up to here has been delivered.

    Attributes:
        id: The place in the log; None for a sign of life that names no place.
        live: Whether this was all there was: what follows is new.
    """

    id: EntryId | None
    live: bool = False


Message = Entry | Position | Gap
"""What a link delivers."""


class Link(Protocol):
    """Reads the log over one connection at a time."""

    def messages(self, cursor: EntryId | None) -> Iterator[Message]:
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
