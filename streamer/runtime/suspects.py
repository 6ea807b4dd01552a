"""Streams whose next entries may be what a worker died of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamer.transport.transport import Refusal, Unreadable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from streamer.core.state import Checkpoint
    from streamer.state.store import CheckpointStore
    from streamer.transport.transport import LogEntry


@dataclass(slots=True)
class _Care:
    attempts: int
    entries_left: int


class Suspects:
    """Counts, in the store, the attempts at entries that ended with the worker's death.

    Before the first step after a load an attempt is noted; a commit clears it. Who finds one noted
    takes the stream's next entries one by one, alone, each attempt noted, and leaves out the one
    at which too many have died.

    Args:
        store: Where attempts are noted.
        max_attempts: Deaths at one entry after which it is left out.
        num_entries: How many entries of a suspect are taken with care.
    """

    def __init__(self, store: CheckpointStore, *, max_attempts: int, num_entries: int) -> None:
        self._store = store
        self._max_attempts = max_attempts
        self._num_entries = num_entries
        self._untouched: set[str] = set()
        self._care: dict[str, _Care] = {}
        self._survived: dict[str, bytes] = {}

    def __contains__(self, stream_id: str) -> bool:
        return stream_id in self._care

    def attempts(self, stream_id: str) -> int:
        """How many have died at the next entry of a suspect."""
        return self._care[stream_id].attempts

    def load(self, checkpoint: Checkpoint, attempts: int) -> None:
        """A stream was loaded, with so many attempts noted."""
        stream_id = checkpoint.state.stream_id
        self._untouched.add(stream_id)
        # A step that this very worker came through was not what the attempt died of.
        if attempts and self._survived.pop(stream_id, None) != checkpoint.version:
            self._care[stream_id] = _Care(attempts, self._num_entries)

    def drop(self, stream_id: str) -> None:
        """A stream is no longer held."""
        self._untouched.discard(stream_id)
        self._care.pop(stream_id, None)

    def note_attempts(self, stream_ids: Collection[str]) -> None:
        """Before the first step after a load: should it kill us, the next worker takes care."""
        first = self._untouched.intersection(stream_ids)
        if first:
            self._store.attempt(dict.fromkeys(first, 1))
            self._untouched -= first

    def attempt(self, stream_id: str, row: LogEntry | Unreadable) -> LogEntry | Unreadable:
        """Before the step of a suspect's next entry: the entry, or it as refused."""
        care = self._care[stream_id]
        self._untouched.discard(stream_id)
        if care.attempts < self._max_attempts:
            self._store.attempt({stream_id: care.attempts + 1})
        elif not isinstance(row, Unreadable):
            why = f"{care.attempts} workers ended at it"
            return Unreadable(stream_id, row.position, row.payload, why, Refusal.POISON)
        return row

    def passed(self, stream_id: str) -> None:
        """A suspect's entry has killed nobody."""
        care = self._care.get(stream_id)
        if care is None:
            return  # it was dropped
        care.attempts = 0
        care.entries_left -= 1
        if not care.entries_left:
            del self._care[stream_id]

    def unanswered(self, before: Iterable[Checkpoint]) -> None:
        """A step from these was done, but nobody knows whether it was committed."""
        self._survived |= {one.state.stream_id: one.version for one in before}
