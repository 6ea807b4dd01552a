"""The temporal worker's loop: read input, step the states, commit states and events together."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec

from streamer.core.errors import ForeignKeysError, StateError, TransportError
from streamer.core.state import Commit
from streamer.stages.reset import change_model, lose_state
from streamer.state.store import CommitAnswer
from streamer.telemetry.observer import (
    ActiveStreams,
    BatchAdvanced,
    CommitRefused,
    DeadLettered,
    EventCommitted,
    InputRefused,
    StateReset,
)
from streamer.transport.registry import ModelEntry
from streamer.transport.transport import Refusal, Unreadable

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from streamer.core.clock import Clock
    from streamer.core.event import Event
    from streamer.core.ledger import Ledger
    from streamer.core.state import Checkpoint
    from streamer.stages.fold import Advanced
    from streamer.stages.temporal import TemporalStage
    from streamer.state.store import CheckpointStore, Stored
    from streamer.telemetry.observer import Observer
    from streamer.transport.registry import ModelRegistry
    from streamer.transport.transport import InputReader, LogEntry

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


@dataclass(slots=True)
class _Care:
    """A stream at whose next entries a worker died: taken one by one, alone, each attempt noted."""

    attempts: int
    entries_left: int = MAX_ENTRIES_PER_STREAM


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
        self._clock = clock
        self._observer = observer
        self._options = options
        self._slots: dict[str, int] = {}
        self._checkpoints: dict[str, Checkpoint] = {}
        self._refused: dict[str, float] = {}
        self._untouched: set[str] = set()
        self._care: dict[str, _Care] = {}
        self._survived: dict[str, bytes] = {}
        self._idle: set[str] = set()
        self._anchored_us: dict[str, int] = {}
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
        if missing:
            for stream_id, stored in self._store.load(missing).items():
                self._take_up(stream_id, stored)
        self._idle = set(self._checkpoints)
        self._observer.observe(ActiveStreams(len(self._checkpoints)))

    def drop(self, stream_ids: Collection[str]) -> None:
        """Hold these no longer."""
        for stream_id in list(stream_ids):
            self._checkpoints.pop(stream_id, None)
            self._untouched.discard(stream_id)
            self._care.pop(stream_id, None)
            self._anchored_us.pop(stream_id, None)
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
        careful = {s: rows for s, rows in read.items() if s in self._care}
        others = {s: rows for s, rows in read.items() if s not in self._care}
        if others:
            self._note_attempts(others)
            self._advance(others)
        for stream_id in sorted(careful, key=lambda s: self._care[s].attempts):
            self._advance_with_care(stream_id, careful[stream_id][0])
        return bool(read)

    def _drop_what_changed(self, stream_ids: Collection[str]) -> None:
        """A stream that stays silent may have been rolled back, or moved on without us."""
        if not stream_ids:
            return
        for stream_id, version in self._store.versions(stream_ids).items():
            if version != self._checkpoints[stream_id].version:
                self.drop([stream_id])

    def _take_up(self, stream_id: str, stored: Stored | StateError) -> None:
        """Go on with a stream where the store says. One that can't be is refused, alone."""
        if isinstance(stored, StateError):
            self._refuse(stream_id, "state", str(stored))
            return
        stage = self._stage
        if not stored.version:
            self._hold(stage.initial(stream_id, row=self._row(stream_id)), stored.attempts)
            return
        checkpoint, damage = stored.checkpoint, stored.damage
        if checkpoint is not None and checkpoint.state.model_id != stage.bundle.model_id:
            self._change_model(checkpoint, stored.attempts)
            return
        if checkpoint is not None:
            damage = stage.misfit(checkpoint.state)
            if checkpoint.state.stream_id != stream_id:
                damage = f"expected the state of {stream_id}, found {checkpoint.state.stream_id}"
        if checkpoint is None or damage:
            self._observer.observe(InputRefused(stream_id, "state", damage))
            commit = lose_state(
                stage,
                stream_id,
                row=self._row(stream_id),
                version=stored.version,
                position=stored.position,
                sequence=stored.sequence,
                raw=stored.raw,
                damage=damage,
                now_ns=self._clock.utc_ns(),
            )
            self._reset(commit, "state", stored.attempts)
            return
        if checkpoint.state.row >= stage.num_rows:  # it was made with more of them
            row = checkpoint.state.row % stage.num_rows
            checkpoint = replace(checkpoint, state=replace(checkpoint.state, row=row))
        self._hold(checkpoint, stored.attempts)

    def _change_model(self, checkpoint: Checkpoint, attempts: int) -> None:
        entry = self._models.get(checkpoint.state.model_id)
        if entry is None:
            num_classes = len(checkpoint.state.decoder.smoothed_C)
            # Nobody remembers its labels: their indices must do.
            name = checkpoint.state.model_id
            labels = tuple(f"#{index}" for index in range(num_classes))
            entry = ModelEntry(name=name, phases=labels, actions=())
        commit = change_model(
            self._stage,
            checkpoint,
            phases=entry.phases,
            actions=entry.actions,
            now_ns=self._clock.utc_ns(),
        )
        self._reset(commit, "model", attempts)

    def _reset(self, commit: Commit, reason: str, attempts: int) -> None:
        stream_id = commit.checkpoint.state.stream_id
        now_ns = self._clock.utc_ns()
        events = tuple(e.emitted(latency=e.data.latency, at_ns=now_ns) for e in commit.events)
        (answer,) = self._store.commit([replace(commit, events=events)], owner=self._options.owner)
        if self._accepted(stream_id, answer):
            self._hold(commit.checkpoint, attempts)
            self._observer.observe(StateReset(stream_id, reason))
            if answer is CommitAnswer.OK:
                self._tell(stream_id, commit, events)

    def _hold(self, checkpoint: Checkpoint, attempts: int) -> None:
        stream_id = checkpoint.state.stream_id
        self._checkpoints[stream_id] = checkpoint
        self._untouched.add(stream_id)
        # A step that this very worker came through was not what the attempt died of.
        if attempts and self._survived.pop(stream_id, None) != checkpoint.version:
            self._care[stream_id] = _Care(attempts)

    def _row(self, stream_id: str) -> int:
        return self._slots[stream_id] % self._stage.num_rows

    def _refuse(self, stream_id: str, reason: str, detail: str) -> None:
        self.drop([stream_id])
        self._refused[stream_id] = time.monotonic() + RETRY_REFUSED_SECONDS
        self._observer.observe(InputRefused(stream_id, reason, detail))

    def _note_attempts(self, stream_ids: Collection[str]) -> None:
        """Before the first step after a load: should it kill us, the next worker takes care."""
        first = self._untouched.intersection(stream_ids)
        if first:
            self._store.attempt(dict.fromkeys(first, 1))
            self._untouched -= first

    def _advance_with_care(self, stream_id: str, row: LogEntry | Unreadable) -> None:
        care = self._care[stream_id]
        self._untouched.discard(stream_id)
        if care.attempts < self._options.max_attempts:
            self._store.attempt({stream_id: care.attempts + 1})
        elif not isinstance(row, Unreadable):
            why = f"{care.attempts} workers ended at it"
            row = Unreadable(stream_id, row.position, row.payload, why, Refusal.POISON)
        self._advance({stream_id: [row]})
        care.attempts = 0
        care.entries_left -= 1
        if not care.entries_left:
            self._care.pop(stream_id, None)

    def _advance(self, read: Mapping[str, Rows]) -> None:
        taken = self._clock.mark()
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
                anchor=self._anchor(one.before, read[one.before.state.stream_id]),
            )
            for one, emitted in zip(advanced, events, strict=True)
        ]
        try:
            answers = self._store.commit(commits, owner=self._options.owner)
        except TransportError:
            self._survived |= {one.before.state.stream_id: one.before.version for one in advanced}
            raise
        committed = self._clock.mark()
        self._last_commit_seconds = committed.seconds_since(stepped, otherwise=committed)
        for commit, answer in zip(commits, answers, strict=True):
            self._take_answer(commit, answer)
        self._report(advanced, temporal_seconds)

    def _anchor(self, before: Checkpoint, rows: Rows) -> Checkpoint | None:
        """The checkpoint a step starts from, if it is time to keep one for replay.

        It stands right before the step's first entry, so that it is kept as long as that one (the
        first of all, and the first after a pause, would be trimmed at once), and so that a replay
        can tell whether that one is still there.
        """
        stream_id, position = before.state.stream_id, rows[0].position - 1
        replay_us = self._options.replay_seconds * 1e6
        last_us = self._anchored_us.get(stream_id)
        due = last_us is None or position - last_us >= replay_us / 4
        if not replay_us or not due:
            return None
        self._anchored_us[stream_id] = position
        return replace(before, position=position)

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

    def _take_answer(self, commit: Commit, answer: CommitAnswer) -> None:
        stream_id = commit.checkpoint.state.stream_id
        if not self._accepted(stream_id, answer):
            return
        self._checkpoints[stream_id] = commit.checkpoint
        if answer is CommitAnswer.OK:
            self._tell(stream_id, commit, commit.events)

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
            self._observer.observe(EventCommitted(event))
        for letter in commit.dead_letters:
            detail = f"entry {letter.position}: {letter.detail}"
            self._observer.observe(DeadLettered(stream_id, letter.reason, detail))

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
