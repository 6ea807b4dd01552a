"""The temporal worker: folds features into per-camera state, commits state and events together."""

from __future__ import annotations

import contextlib
import secrets
import sys
import time
from typing import TYPE_CHECKING

import msgspec
import structlog

from streamer.core.errors import ConfigError, ModelError, StateError, TransportError
from streamer.core.state import Commit
from streamer.models.bundle import Bundle
from streamer.models.temporal.registry import open_temporal_model
from streamer.runtime.clock import SystemClock
from streamer.stages.temporal import TemporalStage
from streamer.state.redis import RedisCheckpointStore
from streamer.state.store import CommitAnswer
from streamer.state.table import free_row
from streamer.telemetry.observer import (
    ActiveStreams,
    BatchAdvanced,
    CommitRefused,
    EventCommitted,
    InputRefused,
)
from streamer.transport.connection import Keys, Threads, connect, reconnect
from streamer.transport.redis import RedisInputReader
from streamer.transport.registry import StreamRegistry
from streamer.transport.transport import Unreadable
from workers.main import main

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from streamer.core.config import Settings
    from streamer.core.event import Event
    from streamer.core.ledger import Ledger
    from streamer.core.state import Checkpoint
    from streamer.stages.fold import Advanced
    from streamer.telemetry.observer import Observer
    from streamer.transport.transport import LogEntry

    Work = tuple[Checkpoint, Sequence[LogEntry | Unreadable]]

ASSIGN_SECONDS = 1.0
"""How often the worker looks which streams there are."""

LINGER_SECONDS = 10.0
"""How long it still looks after one that was removed."""

MAX_ENTRIES_PER_STREAM = 32
"""Entries of one stream folded in before a commit."""


class TemporalService:
    """Owns a partition's lease; reads, steps and commits its streams."""

    port = None

    def __init__(self, settings: Settings, observer: Observer) -> None:
        if settings.redis.partitions != 1:
            raise ConfigError(
                f"redis.partitions: this version's temporal worker owns one partition, found "
                f"{settings.redis.partitions}; set it to 1"
            )
        self._settings = settings
        self._observer = observer
        self._clock = SystemClock()
        self._keys = Keys(settings.redis.partitions)
        self._owner = secrets.token_hex(16)
        self._bundle = Bundle.load(settings.bundle)
        self._checkpoints: dict[str, Checkpoint] = {}
        self._refused: set[str] = set()
        self._wanted_until: dict[str, float] = {}
        self._owned_until = 0.0
        self._assigned_at = -ASSIGN_SECONDS
        self._last_commit_seconds = 0.0

    def start(self) -> None:
        """Load the model, connect, take the lease if it is free."""
        temporal = self._settings.temporal
        self._model = open_temporal_model(
            self._bundle, rows=temporal.rows, backend=temporal.backend
        )
        self._stage = TemporalStage(self._bundle, self._model)
        self._client = connect(self._settings.redis.url, threads=Threads.ONE)
        self._registry = StreamRegistry(self._client, keys=self._keys)
        self._reader = RedisInputReader(self._client, keys=self._keys)
        self._store = RedisCheckpointStore(
            self._client, keys=self._keys, max_events=self._settings.redis.max_events
        )
        if self._renew():
            self._assign()

    def turn(self, *, timeout_seconds: float) -> None:
        """Renew the lease; fold in what has come; commit."""
        if not self._renew():
            time.sleep(timeout_seconds)  # another worker's; it may end
            return
        if time.monotonic() - self._assigned_at > ASSIGN_SECONDS:
            self._assign()
        if not self._take_in(timeout_seconds) and not self._positions():
            time.sleep(timeout_seconds)

    def recover(self) -> None:
        """Drop what is in memory: the store knows better."""
        self._checkpoints.clear()
        self._owned_until = 0.0
        self._assigned_at = -ASSIGN_SECONDS
        reconnect(self._client)

    def drain(self, *, deadline_seconds: float) -> None:
        """Fold in what is already in the log, so that a short run ends complete."""
        deadline = time.monotonic() + deadline_seconds
        while time.monotonic() < deadline and self._checkpoints and self._renew():
            if not self._take_in(0.001):
                return

    def close(self) -> None:
        """Give the lease back, free the model and the connection."""
        if hasattr(self, "_store"):
            if self._owned_until > time.monotonic():
                with contextlib.suppress(TransportError):  # then it expires
                    self._store.release(owner=self._owner)
            self._client.close()
        if hasattr(self, "_model"):
            self._model.close()

    def _renew(self) -> bool:
        """Hold the lease. It is renewed here, in the work loop: a hung model loses it."""
        lease_seconds = self._settings.temporal.lease_seconds
        now = time.monotonic()
        if self._owned_until - now > lease_seconds * 2 / 3:
            return True
        owned = self._owned_until > now
        if self._store.acquire(owner=self._owner, ttl_seconds=lease_seconds) is None:
            self._checkpoints.clear()
            self._owned_until = 0.0
            return False
        if not owned:
            self._checkpoints.clear()
            self._assigned_at = -ASSIGN_SECONDS
            structlog.get_logger().info("lease acquired")
        self._owned_until = now + lease_seconds
        return True

    def _assign(self) -> None:
        self._assigned_at = time.monotonic()
        now = time.monotonic()
        desired = self._registry.entries()
        for stream_id in sorted(desired.keys() - self._checkpoints.keys() - self._refused):
            self._load(stream_id)
        # The last features of a removed stream, and the note of its end, are still on their way.
        self._wanted_until.update(dict.fromkeys(desired, now + LINGER_SECONDS))
        for stream_id in [s for s, until in self._wanted_until.items() if until < now]:
            del self._wanted_until[stream_id]
            self._checkpoints.pop(stream_id, None)
            self._refused.discard(stream_id)
        self._observer.observe(ActiveStreams(len(self._checkpoints)))

    def _load(self, stream_id: str) -> None:
        """Take a stream up where the store says. One that can't be is refused, alone."""
        try:
            checkpoint = self._store.load(stream_id)
        except StateError as error:
            self._refuse(stream_id, "state", str(error))
            return
        if checkpoint is None:
            row = free_row(
                (c.state.row for c in self._checkpoints.values()), num_rows=self._stage.num_rows
            )
            checkpoint = self._stage.initial(stream_id, row=row)
        elif checkpoint.state.model_id != self._bundle.model_id:
            self._refuse(
                stream_id,
                "model",
                f"its stored state is of model {checkpoint.state.model_id}, this worker runs "
                f"{self._bundle.model_id} ({self._bundle.config.name}); start with that bundle, "
                "or with an empty Redis",
            )
            return
        self._checkpoints[stream_id] = checkpoint

    def _refuse(self, stream_id: str, reason: str, detail: str) -> None:
        self._refused.add(stream_id)
        self._checkpoints.pop(stream_id, None)
        self._observer.observe(InputRefused(stream_id, reason, detail))

    def _positions(self) -> dict[str, int]:
        return {stream_id: c.position for stream_id, c in self._checkpoints.items()}

    def _take_in(self, timeout_seconds: float) -> bool:
        """Fold in what has come. False if nothing has."""
        positions = self._positions()
        if not positions:
            return False
        read = self._reader.read(
            positions, timeout_seconds=timeout_seconds, limit=MAX_ENTRIES_PER_STREAM
        )
        for stream_id, rows in read.items():
            for row in rows:
                if isinstance(row, Unreadable):
                    self._observer.observe(InputRefused(stream_id, "unreadable", row.reason))
        if read:
            self._advance(read)
        return bool(read)

    def _advance(self, read: Mapping[str, Sequence[LogEntry | Unreadable]]) -> None:
        taken = self._clock.mark()
        work = [(self._checkpoints[stream_id], rows) for stream_id, rows in read.items()]
        try:
            advanced = self._stage.advance(work, taken=taken)
        except ModelError:
            advanced = self._advance_one_by_one(work)
        stepped = self._clock.mark()
        temporal_seconds = stepped.seconds_since(taken, otherwise=stepped)
        events = [self._emitted(one, temporal_seconds, stepped_ns=stepped.ns) for one in advanced]
        commits = [
            Commit(expected=one.before.version, checkpoint=one.after, events=emitted)
            for one, emitted in zip(advanced, events, strict=True)
        ]
        answers = self._store.commit(commits, owner=self._owner)
        committed = self._clock.mark()
        self._last_commit_seconds = committed.seconds_since(stepped, otherwise=committed)
        for one, emitted, answer in zip(advanced, events, answers, strict=True):
            self._take_answer(one, emitted, answer)
        self._report(advanced, temporal_seconds)

    def _advance_one_by_one(self, work: Sequence[Work]) -> list[Advanced]:
        """One of them is unusable: find it, leave it, go on with the others."""
        advanced = []
        for item in work:
            try:
                advanced += self._stage.advance([item], taken=self._clock.mark())
            except ModelError as error:
                self._refuse(item[0].state.stream_id, "model", str(error))
        return advanced

    def _emitted(
        self, one: Advanced, temporal_seconds: float, *, stepped_ns: int
    ) -> tuple[Event, ...]:
        """The events with the last stages in their ledgers."""
        if not one.events:
            return ()
        now_ns = self._clock.utc_ns()
        prepared_seconds = max(0, self._clock.mark().ns - stepped_ns) * 1e-9
        commit_seconds = prepared_seconds + self._last_commit_seconds
        return tuple(
            event.emitted(
                latency=_finish(event.data.latency, temporal_seconds, commit_seconds), at_ns=now_ns
            )
            for event in one.events
        )

    def _take_answer(self, one: Advanced, events: tuple[Event, ...], answer: CommitAnswer) -> None:
        stream_id = one.after.state.stream_id
        if answer in (CommitAnswer.OK, CommitAnswer.DONE):
            self._checkpoints[stream_id] = one.after
            if answer is CommitAnswer.OK:
                for event in events:
                    self._observer.observe(EventCommitted(event))
            return
        self._observer.observe(CommitRefused(stream_id, answer.value))
        self._checkpoints.pop(stream_id, None)
        if answer is CommitAnswer.FENCED:
            self._owned_until = 0.0
        else:
            self._load(stream_id)

    def _report(self, advanced: list[Advanced], temporal_seconds: float) -> None:
        ledgers = [ledger for one in advanced for ledger in one.frames]
        rest = temporal_seconds + self._last_commit_seconds
        self._observer.observe(
            BatchAdvanced(
                steps=max((len(one.frames) for one in advanced), default=0),
                frames=len(ledgers),
                feature_wait_seconds=[ledger.feature_wait_seconds for ledger in ledgers],
                frame_age_seconds=[ledger.pipeline_seconds + rest for ledger in ledgers],
                temporal_seconds=temporal_seconds,
                commit_seconds=self._last_commit_seconds,
            )
        )


def _finish(ledger: Ledger, temporal_seconds: float, commit_seconds: float) -> Ledger:
    return msgspec.structs.replace(
        ledger, temporal_seconds=temporal_seconds, commit_seconds=commit_seconds
    )


if __name__ == "__main__":
    sys.exit(main("temporal", lambda settings, observer, _: TemporalService(settings, observer)))
