"""Server-sent messages, as bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from streamer.client.cursor import EntryId, Gap

RETRY_MS = 1000
"""How soon a browser connects again."""


def event_message(entry_id: EntryId, *, type: str, json: bytes) -> bytes:
    """An event: its place in the log, its CloudEvents type, its JSON."""
    return _message(type, json, entry_id)


def hello_message(position: EntryId) -> bytes:
    """The first thing a client gets: from here on nothing will be missing.

    It has no data, so a browser only takes note of the id, and resumes from it.
    """
    return b"retry: %d\n: connected\nid: %s\n\n" % (RETRY_MS, str(position).encode())


def heartbeat_message(position: EntryId) -> bytes:
    """A comment against idle time-outs; it moves the client's cursor on, without an event."""
    return b": heartbeat\nid: %s\n\n" % str(position).encode()


def live_message(position: EntryId) -> bytes:
    """All that was in the log has been sent."""
    return _message("live", b"{}", position)


def gap_message(gap: Gap) -> bytes:
    """Entries after the client's cursor are gone."""
    data = {
        "reason": gap.reason,
        "after": str(gap.after),
        "oldest": None if gap.oldest is None else str(gap.oldest),
    }
    return _message("gap", msgspec.json.encode(data), gap.resume)


def overflow_message(*, max_behind: int) -> bytes:
    """The client was too slow; the connection ends, and it may resume from its last id."""
    data = {"max_behind": max_behind, "detail": "too slow; connect again to resume"}
    return _message("overflow", msgspec.json.encode(data), None)


def _message(event: str, data: bytes, entry_id: EntryId | None) -> bytes:
    # A line end inside the JSON would end the message.
    body = b"\ndata: ".join(data.splitlines())
    head = b"" if entry_id is None else b"id: %s\n" % str(entry_id).encode()
    return b"%sevent: %s\ndata: %s\n\n" % (head, event.encode(), body)
