"""Server-sent messages, as bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from streamer.client.cursor import Cursor

if TYPE_CHECKING:
    from streamer.client.gap import Gap, Rewind

RETRY_MS = 1000
"""How soon a browser connects again."""


def event_message(cursor: Cursor, *, type: str, json: bytes) -> bytes:
    """An event: its place in the log, its CloudEvents type, its JSON."""
    return _message(type, json, cursor)


def hello_message(position: Cursor) -> bytes:
    """The first thing a client gets: from here on nothing will be missing.

    It has no data, so a browser only takes note of the id, and resumes from it.
    """
    return b"retry: %d\n: connected\nid: %s\n\n" % (RETRY_MS, str(position).encode())


def heartbeat_message(position: Cursor) -> bytes:
    """A comment against idle time-outs; it moves the client's cursor on, without an event."""
    return b": heartbeat\nid: %s\n\n" % str(position).encode()


def live_message(position: Cursor) -> bytes:
    """All that was in the log has been sent."""
    return _message("live", b"{}", position)


def gap_message(gap: Gap, position: Cursor, *, num_partitions: int) -> bytes:
    """Entries after the client's cursor are gone."""
    oldest = Cursor.of(gap.oldest, num_partitions=num_partitions) if gap.oldest else None
    data = {
        "reason": gap.reason,
        "after": str(Cursor.of(gap.after, num_partitions=num_partitions)),
        "oldest": None if oldest is None else str(oldest),
    }
    return _message("gap", msgspec.json.encode(data), position)


def rewind_message(rewind: Rewind, position: Cursor, *, num_partitions: int) -> bytes:
    """Redis has lost the log's end: the client goes back, and may get events again."""
    data = {"after": str(Cursor.of(rewind.after, num_partitions=num_partitions))}
    return _message("rewind", msgspec.json.encode(data), position)


def overflow_message(*, max_behind: int) -> bytes:
    """The client was too slow; the connection ends, and it may resume from its last id."""
    data = {"max_behind": max_behind, "detail": "too slow; connect again to resume"}
    return _message("overflow", msgspec.json.encode(data), None)


def end_message(end: str) -> bytes:
    """The client's token is no longer good; the connection ends."""
    data = {"reason": end, "detail": f"the token is {end}; connect again with another"}
    return _message("end", msgspec.json.encode(data), None)


def _message(event: str, data: bytes, cursor: Cursor | None) -> bytes:
    # A line end inside the JSON would end the message.
    body = b"\ndata: ".join(data.splitlines())
    head = b"" if cursor is None else b"id: %s\n" % str(cursor).encode()
    return b"%sevent: %s\ndata: %s\n\n" % (head, event.encode(), body)
