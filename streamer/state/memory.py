"""Checkpoints in a dictionary: for tests. Same answers as the store in Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamer.core.errors import StateError
from streamer.state.store import CommitAnswer, Stored
from streamer.transport.state_codec import decode_state, encode_state

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from streamer.core.event import Event
    from streamer.core.state import Commit, DeadLetter
    from streamer.transport.memory import MemoryLeases, MemoryStreamLog


class MemoryCheckpointStore:
    """A store of one partition; dies with the process.

    Args:
        log: The input log, trimmed by commits.
        leases: Who may commit.
    """

    def __init__(self, log: MemoryStreamLog, leases: MemoryLeases[int]) -> None:
        self._log = log
        self._leases = leases
        self._stored: dict[str, tuple[bytes, int, int, bytes]] = {}
        self._attempts: dict[str, int] = {}
        self.events: list[Event] = []
        self.dead_letters: list[DeadLetter] = []

    def load(self, stream_ids: Collection[str]) -> dict[str, Stored | StateError]:
        """What is stored of each stream."""
        return {stream_id: self._load(stream_id) for stream_id in stream_ids}

    def versions(self, stream_ids: Collection[str]) -> dict[str, bytes]:
        """The stored version of each stream."""
        return {stream_id: self._load(stream_id).version for stream_id in stream_ids}

    def attempt(self, attempts: Mapping[str, int]) -> None:
        """Note how often the next step of each stream has been begun."""
        self._attempts |= attempts

    def commit(self, commits: Sequence[Commit], *, owner: str) -> list[CommitAnswer]:
        """Write what fits, refuse what does not."""
        return [self._commit(commit, owner) for commit in commits]

    def _load(self, stream_id: str) -> Stored:
        attempts = self._attempts.get(stream_id, 0)
        if stream_id not in self._stored:
            return Stored(attempts=attempts)
        version, position, sequence, raw = self._stored[stream_id]
        state, damage = None, ""
        try:
            state = decode_state(raw)
        except StateError as error:
            damage = str(error)
        return Stored(
            version=version,
            position=position,
            sequence=sequence,
            attempts=attempts,
            raw=raw,
            state=state,
            damage=damage,
        )

    def _commit(self, commit: Commit, owner: str) -> CommitAnswer:
        checkpoint = commit.checkpoint
        stream_id = checkpoint.state.stream_id
        version = self._stored.get(stream_id, (b"",))[0]
        if version == checkpoint.version:
            return CommitAnswer.DONE
        if self._leases.owner(0) != owner:
            return CommitAnswer.FENCED
        if version != commit.expected:
            return CommitAnswer.STALE
        self.events += commit.events
        self.dead_letters += commit.dead_letters
        self._stored[stream_id] = (
            checkpoint.version,
            checkpoint.position,
            checkpoint.state.sequence,
            encode_state(checkpoint.state),
        )
        self._attempts.pop(stream_id, None)
        self._log.trim(stream_id, position=checkpoint.position)
        return CommitAnswer.OK
