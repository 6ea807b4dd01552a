"""Checkpoints in Redis: state, position and events of a step in one atomic function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streamer.core.event import encode_event
from streamer.core.state import Checkpoint
from streamer.state.store import CommitAnswer
from streamer.transport.codec import decode_state, encode_state
from streamer.transport.connection import Keys, call, redis_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    import redis

    from streamer.core.state import Commit

MAX_EVENTS = 100_000
"""Events kept per partition unless configured: about 100 MB at 1 kB each."""


class RedisCheckpointStore:
    """The store of one partition.

    Delivery: a step's events, state and position are written together, once, whoever calls and
    however often: the compare-and-set on the version decides.
    """

    def __init__(
        self, client: redis.Redis, *, keys: Keys, partition: int = 0, max_events: int = MAX_EVENTS
    ) -> None:
        self._client = client
        self._keys = keys
        self._partition = partition
        self._max_events = max_events

    def acquire(self, *, owner: str, ttl_seconds: float) -> int | None:
        """Take or renew the partition's lease."""
        lease = self._keys.lease(self._partition)
        answer = call(self._client, "acquire", [lease], owner, int(ttl_seconds * 1000))
        return None if answer is None else int(answer)

    def release(self, *, owner: str) -> None:
        """Give the lease back, if it is ours."""
        call(self._client, "release", [self._keys.lease(self._partition)], owner)

    def load(self, stream_id: str) -> Checkpoint | None:
        """The stored checkpoint.

        Raises:
            StateError: What is stored is not a checkpoint of this version.
        """
        with redis_errors("load state"):
            stored: Any = self._client.hmget(
                self._keys.state(stream_id), "version", "position", "state"
            )
        version, position, raw = stored
        if version is None or position is None or raw is None:
            return None
        return Checkpoint(state=decode_state(raw), position=int(position), version=version)

    def commit(self, commits: Sequence[Commit], *, owner: str) -> list[CommitAnswer]:
        """Write what fits, refuse what does not, and say which."""
        keys = [self._keys.lease(self._partition), self._keys.events(self._partition)]
        args: list[Any] = [owner, self._max_events]
        for commit in commits:
            checkpoint = commit.checkpoint
            stream_id = checkpoint.state.stream_id
            keys += [self._keys.state(stream_id), self._keys.features(stream_id)]
            args += [
                commit.expected,
                checkpoint.version,
                checkpoint.position,
                encode_state(checkpoint.state),
                len(commit.events),
            ]
            for event in commit.events:
                args += [event.type, stream_id, event.id, event.number, encode_event(event)]
        answers = call(self._client, "commit", keys, *args)
        return [CommitAnswer(answer.decode()) for answer in answers]
