"""What a client is sent: messages, and the two ways to write them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import msgspec

from streamer.client.cursor import Cursor

if TYPE_CHECKING:
    from streamer.client.gap import Gap, Rewind

RETRY_MS = 1000
"""How soon a browser connects again."""

HELLO, HEARTBEAT = "hello", "heartbeat"
_NOTHING = b"{}"


@dataclass(frozen=True, slots=True)
class Message:
    """One message.

    Attributes:
        event: A CloudEvents type, or a word of ours: `hello`, `open`, `live`, `gap`, `rewind`,
            `overflow`, `end`, `heartbeat`.
        data: JSON.
        id: The place after it, to resume from; None where there is none to resume from.
    """

    event: str
    data: bytes = _NOTHING
    id: str | None = None


Chunk = TypeVar("Chunk", bytes, tuple[str, ...])
"""Messages, written. Without any it is empty."""

Wire = Callable[[Sequence[Message]], Chunk]
"""How messages are written: `server_sent` or `text_frames`."""


def server_sent(messages: Sequence[Message]) -> bytes:
    """As server-sent events, for one write."""
    return b"".join(map(_server_sent, messages))


def text_frames(messages: Sequence[Message]) -> tuple[str, ...]:
    """As the texts of WebSocket frames: `{"id", "event", "data"}`."""
    return tuple(map(_text_frame, messages))


def open_message(json: bytes) -> Message:
    """The newest event of a segment that is open.

    It has no id: a client that is cut off before it has all of them must begin again.
    """
    return Message("open", json)


def gap_message(gap: Gap, position: Cursor, *, num_partitions: int) -> Message:
    """Entries after the client's cursor are gone."""
    return Message("gap", msgspec.json.encode(gap_data(gap, num_partitions)), str(position))


def gap_data(gap: Gap, num_partitions: int) -> dict[str, str | None]:
    """What is said of a gap."""
    oldest = Cursor.of(gap.oldest, num_partitions=num_partitions) if gap.oldest else None
    return {
        "reason": gap.reason,
        "after": str(Cursor.of(gap.after, num_partitions=num_partitions)),
        "oldest": None if oldest is None else str(oldest),
    }


def rewind_message(rewind: Rewind, position: Cursor, *, num_partitions: int) -> Message:
    """Redis has lost the log's end: the client goes back, and may get events again."""
    data = {"after": str(Cursor.of(rewind.after, num_partitions=num_partitions))}
    return Message("rewind", msgspec.json.encode(data), str(position))


def overflow_message(*, max_behind: int) -> Message:
    """The client was too slow; the connection ends, and it may resume from its last id."""
    data = {"max_behind": max_behind, "detail": "too slow; connect again to resume"}
    return Message("overflow", msgspec.json.encode(data))


def end_message(end: str) -> Message:
    """The client's token is no longer good; the connection ends."""
    data = {"reason": end, "detail": f"the token is {end}; connect again with another"}
    return Message("end", msgspec.json.encode(data))


def _server_sent(message: Message) -> bytes:
    head = b"" if message.id is None else b"id: %s\n" % message.id.encode()
    match message.event:
        # Without data, so a browser only takes note of the id, and resumes from it.
        case "hello":
            return b"retry: %d\n: connected\n%s\n" % (RETRY_MS, head)
        case "heartbeat":
            return b": heartbeat\n%s\n" % head
        case event:
            # A line end inside the JSON would end the message.
            body = b"\ndata: ".join(message.data.splitlines())
            return b"%sevent: %s\ndata: %s\n\n" % (head, event.encode(), body)


def _text_frame(message: Message) -> str:
    frame = {"id": message.id, "event": message.event, "data": msgspec.Raw(message.data)}
    return msgspec.json.encode(frame).decode()
