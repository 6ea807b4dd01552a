"""Checkpoints in a dictionary: for tests. Same answers as the store in Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamer.core.state import Checkpoint
from streamer.state.store import CommitAnswer
from streamer.transport.codec import decode_state, encode_state

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from streamer.core.event import Event
    from streamer.core.state import Commit
    from streamer.transport.memory import MemoryStreamLog


class MemoryCheckpointStore:
    """A store of one partition; dies with the process.

    Args:
        log: The input log, trimmed by commits.
        now_seconds: Time, for leases.
    """

    def __init__(self, log: MemoryStreamLog, *, now_seconds: Callable[[], float]) -> None:
        self._log = log
        self._now_seconds = now_seconds
        self._owner: str | None = None
        self._expires = 0.0
        self._generation = 0
        self._stored: dict[str, tuple[bytes, int, bytes]] = {}
        self.events: list[Event] = []

    def acquire(self, *, owner: str, ttl_seconds: float) -> int | None:
        """Take or renew the lease."""
        now = self._now_seconds()
        if self._owner not in (None, owner) and self._expires > now:
            return None
        if self._owner != owner:
            self._generation += 1
        self._owner, self._expires = owner, now + ttl_seconds
        return self._generation

    def release(self, *, owner: str) -> None:
        """Give the lease back, if it is the owner's."""
        if self._owner == owner:
            self._owner = None

    def load(self, stream_id: str) -> Checkpoint | None:
        """The stored checkpoint."""
        if stream_id not in self._stored:
            return None
        version, position, raw = self._stored[stream_id]
        return Checkpoint(state=decode_state(raw), position=position, version=version)

    def commit(self, commits: Sequence[Commit], *, owner: str) -> list[CommitAnswer]:
        """Write what fits, refuse what does not."""
        return [self._commit(commit, owner) for commit in commits]

    def _commit(self, commit: Commit, owner: str) -> CommitAnswer:
        checkpoint = commit.checkpoint
        stream_id = checkpoint.state.stream_id
        version = self._stored.get(stream_id, (b"", 0, b""))[0]
        if version == checkpoint.version:
            return CommitAnswer.DONE
        if self._owner != owner:
            return CommitAnswer.FENCED
        if version != commit.expected:
            return CommitAnswer.STALE
        self.events += commit.events
        raw = encode_state(checkpoint.state)
        self._stored[stream_id] = (checkpoint.version, checkpoint.position, raw)
        self._log.trim(stream_id, position=checkpoint.position)
        return CommitAnswer.OK
