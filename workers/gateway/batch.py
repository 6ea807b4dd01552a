"""What the log gave at one read, and the messages that come of it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic

from streamer.client.cursor import START, Cursor
from streamer.client.gap import Gap, Rewind
from streamer.client.log import LoggedEvent
from workers.gateway.message import Chunk, Message, gap_message, rewind_message

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from streamer.client.cursor import EntryId
    from streamer.client.filter import EventFilter
    from streamer.client.follower import Item
    from workers.gateway.message import Wire


@dataclass(frozen=True, slots=True)
class Written(Generic[Chunk]):
    """Messages, written.

    Attributes:
        chunk: As a `Wire` writes them; empty if nothing was wanted.
        num_events: How many of them are events.
    """

    chunk: Chunk
    num_events: int


class Batch:
    """Entries of one read. What clients with the same wishes are sent is written once for all.

    Args:
        items: In order.
        before: The place in each partition before them.
        after: The place after them.

    Attributes:
        arrived_at: When it was made, in monotonic seconds.
    """

    def __init__(
        self,
        items: Sequence[Item],
        *,
        before: Mapping[int, EntryId],
        after: dict[int, EntryId],
    ) -> None:
        self.items = items
        self.arrived_at = time.monotonic()
        self.before = before
        self.after = after
        self._written: dict[tuple[EventFilter, Any], Any] = {}

    def __len__(self) -> int:
        return len(self.items)

    def written(self, wanted: EventFilter, wire: Wire[Chunk]) -> Written[Chunk]:
        """For a client who stands right before it."""
        key = (wanted, wire)
        found: Written[Chunk] | None = self._written.get(key)
        if found is None:
            found = self._written[key] = write(self.items, dict(self.before), wanted, wire)
        return found

    def rewinds(self) -> Batch:
        """Of all this only what takes a client back."""
        kept = [item for item in self.items if isinstance(item, Rewind)]
        return Batch(kept, before={}, after=self.after)


def write(
    items: Sequence[Item], places: dict[int, EntryId], wanted: EventFilter, wire: Wire[Chunk]
) -> Written[Chunk]:
    """The messages of these for one client, written.

    Args:
        items: From the log.
        places: Where the client stands; moved on.
        wanted: Of the others there are no messages.
        wire: How they are written.
    """
    messages: list[Message] = []
    num_partitions = max(len(places), 1)
    num_events = 0
    for item in items:
        match item:
            case Gap():
                places |= item.resume
                at = Cursor.of(places, num_partitions=num_partitions)
                messages.append(gap_message(item, at, num_partitions=num_partitions))
            case Rewind():
                for partition, place in item.resume.items():
                    # It may not have come so far yet.
                    places[partition] = min(places.get(partition, START), place)
                at = Cursor.of(places, num_partitions=num_partitions)
                messages.append(rewind_message(item, at, num_partitions=num_partitions))
            case LoggedEvent() if item.id > places.get(item.partition, START):
                # Else the pages of the past were ahead of the feed.
                places[item.partition] = item.id
                if wanted.takes(item):
                    num_events += 1
                    at = Cursor.of(places, num_partitions=num_partitions)
                    messages.append(Message(item.type, item.json, str(at)))
    return Written(wire(messages), num_events)
