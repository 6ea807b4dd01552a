"""The temporal worker's loop: read input, step the states, commit states and events together."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec

from streamer.core.errors import ForeignKeysError, StateError, TransportError
from streamer.core.state import Commit
from streamer.runtime.anchors import Anchors
from streamer.runtime.resume import Resumer
from streamer.runtime.suspects import Suspects
from streamer.runtime.traced import TracedFrames
from streamer.state.store import CommitAnswer
from streamer.telemetry.records.every import InputRefused, StreamReleased, StreamTakenUp
from streamer.telemetry.records.model import StreamsAwaitingModel
from streamer.telemetry.records.temporal import (
    ActiveStreams,
    BatchAdvanced,
    CommitRefused,
    DeadLettered,
    EventCommitted,
    StateReset,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from streamer.core.clock import Clock
    from streamer.core.event import Event
    from streamer.core.ledger import Ledger
    from streamer.core.state import Checkpoint
    from streamer.runtime.resume import Restart
    from streamer.stages.advanced import Advanced
    from streamer.stages.temporal import TemporalStage
    from streamer.state.store import CheckpointStore, Stored
    from streamer.telemetry.observer import Observer
    from streamer.telemetry.records.frames import TracedFrame
    from streamer.transport.model_registry import ModelRegistry
    from streamer.transport.transport import InputReader, LogEntry, Unreadable

    Rows = Sequence[LogEntry | Unreadable]

MAX_ENTRIES_PER_STREAM = 32
"""Entries of one stream folded in before a commit."""

RETRY_REFUSED_SECONDS = 10.0
"""A stream whose keys are not ours is looked at again so often: somebody may have removed them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PumpOptions:
    """How a pump works.

    Attributes:
        owner: In whose name it commits; holds the leases.
        max_attempts: Crashes at one entry after which it is left out.
        replay_seconds: How far back a replay is to reach; 0: no anchors are kept.
    """

    owner: str
    max_attempts: int = 3
    replay_seconds: float = 60.0


class Pump:
    """Folds the input of some streams into their states. Used by one thread.

    What it holds in memory is a copy of what the store holds. Whenever that is in doubt it is
    dropped and loaded again.
    """

    def __init__(
        self,
        *,
        stage: TemporalStage,
        reader: InputReader,
        store: CheckpointStore,
        models: ModelRegistry,
        clock: Clock,
        observer: Observer,
        options: PumpOptions,
    ) -> None:
        self._stage = stage
        self._reader = reader
        self._store = store
        self._models = models
        self._resumer = Resumer(stage, models, clock)
        self._clock = clock
        self._observer = observer
        self._options = options
        self._slots: dict[str, int] = {}
        self._checkpoints: dict[str, Checkpoint] = {}
        self._refused: dict[str, float] = {}
        self._suspects = Suspects(
            store, max_attempts=options.max_attempts, num_entries=MAX_ENTRIES_PER_STREAM
        )
        self._idle: set[str] = set()
        self._anchors = Anchors(replay_seconds=options.replay_seconds)
        self._traced = TracedFrames()
        self._awaiting: frozenset[str] = frozenset()
        self._last_commit_seconds = 0.0
        self.fenced = False
        """Whether a commit was refused because the lease is another's."""

    @property
    def streams(self) -> Collection[str]:
        """The streams it holds."""
        return self._checkpoints.keys()

    def assign(self, slots: Mapping[str, int]) -> None:
        """Hold exactly these streams: load what is new, drop what is gone, doubt what is idle.

        Args:
            slots: By stream, its number: it decides the row of a stream that has none yet,
                whichever worker takes it up first.
        """
        now, stream_ids = time.monotonic(), slots.keys()
        self._slots = dict(slots)
        self._refused = {s: until for s, until in self._refused.items() if until > now}
        self.drop(self._checkpoints.keys() - stream_ids)
        self._drop_what_changed(self._idle & self._checkpoints.keys())
        missing = sorted(stream_ids - self._checkpoints.keys() - self._refused.keys())
        self._take_up(self._store.load(missing) if missing else {})
        self._idle = set(self._checkpoints)
        self._observer.observe(ActiveStreams(len(self._checkpoints)))

    def use(self, stage: TemporalStage) -> None:
        """Go on with another model, between two turns. Nothing is held until `assign`.

        Streams whose states are the other model's then begin anew, each by a step of its own that
        says so: whoever dies on the way leaves every stream either before that step or after it.
        """
        self._stage = stage
        self._resumer = Resumer(stage, self._models, self._clock)
        self.drop(self.streams)

    def drop(self, stream_ids: Collection[str]) -> None:
        """Hold these no longer."""
        for stream_id in list(stream_ids):
            if self._checkpoints.pop(stream_id, None) is not None:
                self._observer.observe(StreamReleased(stream_id))
            self._suspects.drop(stream_id)
            self._anchors.drop(stream_id)
        if stream_ids:
            self._observer.observe(ActiveStreams(len(self._checkpoints)))

    def clear(self) -> None:
        """Hold nothing: the connection was lost, the store knows better."""
        self.drop(self.streams)
        self._refused.clear()

    def turn(self, *, timeout_seconds: float) -> bool:
        """Fold in what has come, and commit. False if nothing has come.

        Raises:
            TransportError: Redis did not answer; nothing in memory is to be trusted.
        """
        positions = {stream_id: c.position for stream_id, c in self._checkpoints.items()}
        if not positions:
            return False
        try:
            read = self._reader.read(
                positions, timeout_seconds=timeout_seconds, limit=MAX_ENTRIES_PER_STREAM
            )
        except ForeignKeysError as error:
            for stream_id, key in error.key_of.items():
                self._refuse(stream_id, "foreign", f"{key}: expected a stream of ours; remove it")
            return True
        self._idle -= read.keys()
        suspects = [stream_id for stream_id in read if stream_id in self._suspects]
        others = {s: rows for s, rows in read.items() if s not in self._suspects}
        if others:
            self._suspects.note_attempts(others)
            self._advance(others)
        for stream_id in sorted(suspects, key=self._suspects.attempts):
            row = self._suspects.attempt(stream_id, read[stream_id][0])
            self._advance({stream_id: [row]})
            self._suspects.passed(stream_id)
        return bool(read)

    def _drop_what_changed(self, stream_ids: Collection[str]) -> None:
        """A stream that stays silent may have been rolled back, or moved on without us."""
        if not stream_ids:
            return
        for stream_id, version in self._store.versions(stream_ids).items():
            if version != self._checkpoints[stream_id].version:
                self.drop([stream_id])

    def _take_up(self, loaded: Mapping[str, Stored | StateError]) -> None:
        """Go on with streams where the store says. One that can't be is refused, alone."""
        sound: dict[str, Stored] = {}
        for stream_id, stored in loaded.items():
            if isinstance(stored, StateError):
                self._refuse(stream_id, "state", str(stored))
            else:
                sound[stream_id] = stored
        rows = {stream_id: self._slots[stream_id] % self._stage.num_rows for stream_id in sound}
        resumed = self._resumer.resume(sound, rows=rows)
        for stream_id, checkpoint in resumed.checkpoints.items():
            self._hold(checkpoint, sound[stream_id].attempts)
        if resumed.restarts:
            self._restart(resumed.restarts, sound)
        self._await_model(resumed.awaiting)

    def _restart(self, restarts: Sequence[Restart], loaded: Mapping[str, Stored]) -> None:
        now_ns = self._clock.utc_ns()
        commits = []
        for restart in restarts:
            commit = restart.commit
            if restart.reason == "state":
                stream_id = commit.checkpoint.state.stream_id
                self._observer.observe(InputRefused(stream_id, "state", restart.damage))
            events = tuple(e.emitted(latency=e.data.latency, at_ns=now_ns) for e in commit.events)
            commits.append(replace(commit, events=events))
        answers = self._store.commit(commits, owner=self._options.owner)
        for restart, commit, answer in zip(restarts, commits, answers, strict=True):
            stream_id = commit.checkpoint.state.stream_id
            if self._accepted(stream_id, answer):
                self._hold(commit.checkpoint, loaded[stream_id].attempts)
                self._observer.observe(StateReset(stream_id, restart.reason))
                if answer is CommitAnswer.OK:
                    self._tell(stream_id, commit, commit.events)

    def _await_model(self, stream_ids: frozenset[str]) -> None:
        """These go on once the model that is wanted has been loaded, here or elsewhere."""
        if stream_ids != self._awaiting:
            self._awaiting = stream_ids
            self._observer.observe(StreamsAwaitingModel(tuple(sorted(stream_ids))))

    def _hold(self, checkpoint: Checkpoint, attempts: int) -> None:
        stream_id = checkpoint.state.stream_id
        self._checkpoints[stream_id] = checkpoint
        self._suspects.load(checkpoint, attempts)
        phase, names = checkpoint.state.decoder.phase, self._stage.bundle.config.phases
        label = None if phase is None else names[phase.label]
        self._observer.observe(StreamTakenUp(stream_id, label))

    def _refuse(self, stream_id: str, reason: str, detail: str) -> None:
        self.drop([stream_id])
        self._refused[stream_id] = time.monotonic() + RETRY_REFUSED_SECONDS
        self._observer.observe(InputRefused(stream_id, reason, detail))

    def _advance(self, read: Mapping[str, Rows]) -> None:
        taken = self._clock.mark()
        traced = self._traced.among(read, taken=taken)
        work = [(self._checkpoints[stream_id], rows) for stream_id, rows in read.items()]
        advanced = self._stage.advance(work, taken=taken)
        stepped = self._clock.mark()
        temporal_seconds = stepped.seconds_since(taken, otherwise=stepped)
        events = [self._emitted(one, temporal_seconds, stepped_ns=stepped.ns) for one in advanced]
        commits = [
            Commit(
                expected=one.before.version,
                checkpoint=one.after,
                events=emitted,
                dead_letters=one.dead_letters,
                anchor=self._anchors.take(
                    one.before, first_position=read[one.before.state.stream_id][0].position
                ),
            )
            for one, emitted in zip(advanced, events, strict=True)
        ]
        try:
            answers = self._store.commit(commits, owner=self._options.owner)
        except TransportError:
            self._suspects.unanswered(one.before for one in advanced)
            raise
        committed = self._clock.mark()
        self._last_commit_seconds = committed.seconds_since(stepped, otherwise=committed)
        committed_ids = [
            commit.checkpoint.state.stream_id
            for commit, answer in zip(commits, answers, strict=True)
            if self._take_answer(commit, answer)
        ]
        self._report(advanced, temporal_seconds, traced, committed=committed_ids)

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

    def _take_answer(self, commit: Commit, answer: CommitAnswer) -> bool:
        """Act on an answer to a step. Whether it is in the store now."""
        stream_id = commit.checkpoint.state.stream_id
        if not self._accepted(stream_id, answer):
            return False
        self._checkpoints[stream_id] = commit.checkpoint
        if answer is CommitAnswer.OK:
            self._tell(stream_id, commit, commit.events)
        return True

    def _accepted(self, stream_id: str, answer: CommitAnswer) -> bool:
        """Act on an answer. Whether the step is in the store now."""
        if answer in (CommitAnswer.OK, CommitAnswer.DONE):
            return True
        self._observer.observe(CommitRefused(stream_id, answer.value))
        if answer is CommitAnswer.FOREIGN:
            self._refuse(stream_id, "foreign", "a key of its partition is not ours; remove it")
            return False
        self.drop([stream_id])  # loaded again at the next assignment
        self.fenced = self.fenced or answer is CommitAnswer.FENCED
        return False

    def _tell(self, stream_id: str, commit: Commit, events: tuple[Event, ...]) -> None:
        for event in events:
            trace = self._traced.of(event)
            ids = () if trace is None else (trace.trace_id, trace.span_id)
            self._observer.observe(EventCommitted(event, *ids))
        for letter in commit.dead_letters:
            detail = f"entry {letter.position}: {letter.detail}"
            self._observer.observe(DeadLettered(stream_id, letter.reason, detail))

    def _report(
        self,
        advanced: list[Advanced],
        temporal_seconds: float,
        traced: Sequence[TracedFrame],
        *,
        committed: Sequence[str],
    ) -> None:
        ledgers = [ledger for one in advanced for ledger in one.frames]
        rest = temporal_seconds + self._last_commit_seconds
        self._observer.observe(
            BatchAdvanced(
                committed=committed,
                steps=max((len(one.frames) for one in advanced), default=0),
                frames=len(ledgers),
                feature_wait_seconds=[ledger.feature_wait_seconds for ledger in ledgers],
                frame_age_seconds=[ledger.pipeline_seconds + rest for ledger in ledgers],
                temporal_seconds=temporal_seconds,
                commit_seconds=self._last_commit_seconds,
                traced=traced,
            )
        )


def _finish(ledger: Ledger, temporal_seconds: float, commit_seconds: float) -> Ledger:
    return msgspec.structs.replace(
        ledger, temporal_seconds=temporal_seconds, commit_seconds=commit_seconds
    )
