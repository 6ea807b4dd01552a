"""How much waits in the frame path and in the input log, and for how long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streamer.core.errors import TransportError
from streamer.core.feature import FeatureChunk, StatusNote
from streamer.telemetry.records.encoder import FramesWaiting
from streamer.telemetry.records.temporal import InputLag
from streamer.transport.codec import decode_input, decode_path_entry
from streamer.transport.connection import redis_errors, translated

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    import redis

    from streamer.core.clock import Clock, Mark
    from streamer.core.feature import InputEntry
    from streamer.transport.keys import Keys

LATE_SECONDS = 1.0
"""What has waited in the input log for longer makes its stream a late one."""

STREAMS_AT_ONCE = 64
"""Streams of which entries are read in one round trip: with pixels inside that is 10 MB."""


class FrameBacklog:
    """Of the frame path: one round trip, and one more for 64 streams of which something waits.

    Args:
        keys: Key names.
        clock: This host's.
    """

    def __init__(self, *, keys: Keys, clock: Clock) -> None:
        self._keys = keys
        self._ages = _Ages(clock)

    def measure(self, client: redis.Redis, stream_ids: Collection[str]) -> FramesWaiting:
        """What waits now, of these streams.

        Raises:
            TransportError: Redis did not answer, or refused.
        """
        streams = sorted(stream_ids)
        lengths: list[int] = []
        for some in _groups(streams):
            pipeline = client.pipeline(transaction=False)
            for stream_id in some:
                pipeline.xlen(self._keys.frames(stream_id))
            lengths += [answer or 0 for answer in _answers(pipeline)]
        waiting = [s for s, length in zip(streams, lengths, strict=True) if length]
        ages = [0.0]
        for some in _groups(waiting):
            pipeline = client.pipeline(transaction=False)
            for stream_id in some:
                pipeline.xrange(self._keys.frames(stream_id), count=1)
            for stream_id, rows in zip(some, _answers(pipeline), strict=True):
                if rows:
                    ages.append(self._age(stream_id, rows[0]))
        self._ages.keep(waiting)
        return FramesWaiting(sum(lengths), max(ages))

    def _age(self, stream_id: str, row: Any) -> float:
        position, payload = row
        try:
            entry = decode_path_entry(payload.get(b"e", b""))
        except TransportError:
            ready = None  # the encoder says so, and lets go of it
        else:
            ready = entry.ready if isinstance(entry, StatusNote) else entry.stamp().ready
        return self._ages.of(stream_id, position, ready)


class InputBacklog:
    """Of the input log: one round trip, and one more for 64 streams that are behind.

    The frames of a stream are counted by the numbers of the oldest and the newest that are not
    folded in: those that were dropped between them count, those of an earlier opening don't.

    Args:
        keys: Key names.
        clock: This host's.
    """

    def __init__(self, *, keys: Keys, clock: Clock) -> None:
        self._keys = keys
        self._ages = _Ages(clock)

    def measure(self, client: redis.Redis, stream_ids: Collection[str]) -> InputLag:
        """What waits now, of these streams.

        Raises:
            TransportError: Redis did not answer, or refused.
        """
        behind = self._behind(client, sorted(stream_ids))
        frames, ages = 0, [0.0]
        for some in _groups(list(behind)):
            pipeline = client.pipeline(transaction=False)
            for stream_id in some:
                key, after = self._keys.features(stream_id), f"({behind[stream_id]}-0"
                pipeline.xrange(key, min=after, count=1)
                pipeline.xrevrange(key, min=after, count=1)
            answers = _answers(pipeline)
            for stream_id, oldest, newest in zip(some, answers[::2], answers[1::2], strict=True):
                if oldest and newest:
                    (first_at, first), (last_at, last) = oldest[0], newest[0]
                    entry = _decoded(first)
                    newer = entry if last_at == first_at else _decoded(last)
                    frames += _frames_between(entry, newer)
                    ready = None if entry is None else entry.ready
                    ages.append(self._ages.of(stream_id, first_at, ready))
        self._ages.keep(behind)
        late = sum(age > LATE_SECONDS for age in ages)
        return InputLag(frames, max(ages), late)

    def _behind(self, client: redis.Redis, streams: Sequence[str]) -> dict[str, int]:
        """By stream whose log has more than its state: the position up to which it has it."""
        behind = {}
        for some in _groups(streams):
            pipeline = client.pipeline(transaction=False)
            for stream_id in some:
                pipeline.hget(self._keys.source(stream_id), "last_us")
                pipeline.hget(self._keys.state(stream_id), "position")
            answers = _answers(pipeline)
            for stream_id, sent, folded in zip(some, answers[::2], answers[1::2], strict=True):
                if int(sent or 0) > int(folded or 0):
                    behind[stream_id] = int(folded or 0)
        return behind


class _Ages:
    """How old entries are: by their mark, or since they were first seen if that is not of here."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._first_seen: dict[str, tuple[bytes, Mark]] = {}

    def of(self, stream_id: str, position: bytes, ready: Mark | None) -> float:
        """Seconds that the stream's oldest entry has waited."""
        now = self._clock.mark()
        seen, at = self._first_seen.get(stream_id, (b"", now))
        if seen != position:
            at = now
            self._first_seen[stream_id] = (position, now)
        return now.seconds_since(ready or at, otherwise=at)

    def keep(self, stream_ids: Collection[str]) -> None:
        """Forget all others."""
        for gone in self._first_seen.keys() - set(stream_ids):
            del self._first_seen[gone]


def _frames_between(oldest: InputEntry | None, newest: InputEntry | None) -> int:
    """How many frames from one entry to another, by their numbers. Notes have none."""
    chunks = [entry for entry in (oldest, newest) if isinstance(entry, FeatureChunk)]
    if not chunks:
        return 0
    first, last = chunks[0], chunks[-1]
    from_seq = first.first_seq if first.epoch == last.epoch else 0
    return last.first_seq + len(last) - from_seq


def _decoded(fields: dict[bytes, bytes]) -> InputEntry | None:
    try:
        return decode_input(fields.get(b"e", b""))
    except TransportError:
        return None  # the temporal worker says so, and keeps it aside


def _groups(streams: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(streams), STREAMS_AT_ONCE):
        yield streams[start : start + STREAMS_AT_ONCE]


def _answers(pipeline: Any) -> list[Any]:
    """None for a key that is not ours: who works with it says so."""
    with redis_errors("measure the backlog"):
        answers = pipeline.execute(raise_on_error=False)
    for answer in answers:
        if isinstance(answer, Exception) and "WRONGTYPE" not in str(answer):
            raise translated(answer, "measure the backlog")
    return [None if isinstance(answer, Exception) else answer for answer in answers]
