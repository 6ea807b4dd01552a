"""What of an event's JSON decides who wants it and which segments are open."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from streamer.core.errors import TransportError

if TYPE_CHECKING:
    from streamer.client.log import LoggedEvent


class SegmentStart(msgspec.Struct, frozen=True):
    """Where a segment starts."""

    start_seq: int


class Said(msgspec.Struct, frozen=True):
    """Of an event's data.

    Attributes:
        label: None where the last phase is left; empty where there is none.
        confidence: None where there is none.
        status: Empty where there is none.
        reason: Of a gap.
        segment: None where there is none.
    """

    label: str | None = ""
    confidence: float | None = None
    status: str = ""
    reason: str = ""
    segment: SegmentStart | None = None


class Saying(msgspec.Struct, frozen=True):
    """Of an event."""

    sequence: str
    data: Said


_decoder = msgspec.json.Decoder(Saying)


def saying_of(event: LoggedEvent) -> Saying:
    """Read an entry of the log.

    Raises:
        TransportError: It is no event.
    """
    try:
        return _decoder.decode(event.json)
    except msgspec.MsgspecError as error:
        raise TransportError(
            f"events: entry {event.id} of partition {event.partition} is no event ({error}); "
            "another program writes to this log",
            retryable=False,
        ) from error
