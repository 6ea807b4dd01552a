"""Checkpoints in Redis: state, position and events of a step in one atomic function."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import redis

from streamer.core.errors import StateError
from streamer.core.event import encode_event
from streamer.state.store import CommitAnswer, Stored
from streamer.transport.connection import Call, call_many, redis_errors
from streamer.transport.state_codec import decode_state, encode_state

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from streamer.core.state import Commit
    from streamer.transport.keys import Keys

STORED_FIELDS = ("version", "position", "sequence", "attempts", "state")
"""Of a state's hash, as `read_stored` takes them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How much of what is done with is kept, per partition or stream.

    Attributes:
        max_events: Events kept, about 1 kB each.
        event_seconds: Longest time an event is kept.
        max_dead_letters: Dead letters kept.
        replay_seconds: Features and anchors kept after they are folded in, by capture time.
    """

    max_events: int = 100_000
    event_seconds: float = 7 * 86_400.0
    max_dead_letters: int = 1_000
    replay_seconds: float = 60.0


class RedisCheckpointStore:
    """States of any number of partitions.

    Delivery: a step's events, state and position are written together, once, whoever calls and
    however often: the compare-and-set on the version decides.
    """

    def __init__(
        self, client: redis.Redis, *, keys: Keys, retention: Retention | None = None
    ) -> None:
        self._client = client
        self._keys = keys
        self._retention = retention or Retention()
        self._replay_us = int(self._retention.replay_seconds * 1e6)

    def load(self, stream_ids: Collection[str]) -> dict[str, Stored | StateError]:
        """What is stored of each stream, in one round trip."""
        keys = [self._keys.state(stream_id) for stream_id in stream_ids]
        with redis_errors("load states"):
            pipeline = self._client.pipeline(transaction=False)
            for key in keys:
                pipeline.hmget(key, *STORED_FIELDS)
            answers: list[Any] = pipeline.execute(raise_on_error=False) if keys else []
            for answer in answers:
                if isinstance(answer, Exception) and "WRONGTYPE" not in str(answer):
                    raise answer
        return {
            stream_id: read_stored(key, answer)
            for stream_id, key, answer in zip(stream_ids, keys, answers, strict=True)
        }

    def versions(self, stream_ids: Collection[str]) -> dict[str, bytes]:
        """The stored version of each stream, in one round trip; empty where none is ours."""
        with redis_errors("load versions"):
            pipeline = self._client.pipeline(transaction=False)
            for stream_id in stream_ids:
                pipeline.hget(self._keys.state(stream_id), "version")
            answers: list[Any] = pipeline.execute(raise_on_error=False) if stream_ids else []
            for answer in answers:
                if isinstance(answer, Exception) and "WRONGTYPE" not in str(answer):
                    raise answer
        return {
            stream_id: answer if isinstance(answer, bytes) else b""
            for stream_id, answer in zip(stream_ids, answers, strict=True)
        }

    def attempt(self, attempts: Mapping[str, int]) -> None:
        """Note how often the next step of each stream has been begun."""
        groups: defaultdict[int, list[str]] = defaultdict(list)
        for stream_id in attempts:
            groups[self._keys.partition(stream_id)].append(stream_id)
        calls = [
            Call("attempt", [self._keys.state(s) for s in group], [attempts[s] for s in group])
            for group in groups.values()
        ]
        call_many(self._client, calls)

    def commit(self, commits: Sequence[Commit], *, owner: str) -> list[CommitAnswer]:
        """Write what fits, refuse what does not, and say which: one call for each partition."""
        groups: defaultdict[int, list[int]] = defaultdict(list)
        for index, commit in enumerate(commits):
            partition = self._keys.partition(commit.checkpoint.state.stream_id)
            groups[partition].append(index)
        calls = [
            self._call(partition, [commits[index] for index in indices], owner)
            for partition, indices in groups.items()
        ]
        answers: dict[int, CommitAnswer] = {}
        for indices, of_group in zip(groups.values(), call_many(self._client, calls), strict=True):
            for index, answer in zip(indices, of_group, strict=True):
                answers[index] = CommitAnswer(answer.decode())
        return [answers[index] for index in range(len(commits))]

    def _call(self, partition: int, commits: Sequence[Commit], owner: str) -> Call:
        of, kept = self._keys, self._retention
        keys = [of.lease(partition), of.events(partition), of.dead(partition)]
        args: list[Any] = [
            owner, kept.max_events, int(kept.event_seconds * 1000), kept.max_dead_letters,
        ]  # fmt: skip
        for commit in commits:
            checkpoint, anchor = commit.checkpoint, commit.anchor
            stream_id = checkpoint.state.stream_id
            keys += [of.state(stream_id), of.features(stream_id), of.anchors(stream_id)]
            args += [
                commit.expected,
                checkpoint.version,
                checkpoint.position,
                checkpoint.state.sequence,
                checkpoint.state.model_id,
                encode_state(checkpoint.state),
                max(0, checkpoint.position - self._replay_us + 1),
                b"" if anchor is None else encode_state(anchor.state),
                0 if anchor is None else anchor.position,
                len(commit.dead_letters),
                len(commit.events),
            ]
            for letter in commit.dead_letters:
                args += [letter.position, letter.reason, letter.detail, letter.payload]
            for event in commit.events:
                args += [event.type, stream_id, event.id, event.number, encode_event(event)]
        return Call("commit", keys, args)


def read_stored(key: str, answer: Any) -> Stored | StateError:
    """What the fields of a state's hash mean; an error for a key that is not ours."""
    if isinstance(answer, redis.ResponseError):
        return StateError(f"{key}: expected a hash of ours, found another type; remove it")
    version, position, sequence, attempts, raw = answer
    tried = int(attempts) if attempts and attempts.isdigit() else 0
    if version is None:
        return Stored(attempts=tried)
    if not (position and position.isdigit() and sequence and sequence.isdigit()):
        return StateError(f"{key}: expected position and sequence, found no numbers; remove it")
    state, damage = None, ""
    try:
        state = decode_state(raw or b"")
    except StateError as error:
        damage = f"{key}: {error}"
    return Stored(
        version=version,
        position=int(position),
        sequence=int(sequence),
        attempts=tried,
        raw=raw or b"",
        state=state,
        damage=damage,
    )
