"""Where a stream goes on: at the checkpoint in the store, or by a step that begins it anew."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from streamer.stages.reset import change_model, lose_state
from streamer.transport.model_registry import ModelEntry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streamer.core.clock import Clock
    from streamer.core.state import Checkpoint, Commit, StreamState
    from streamer.stages.temporal import TemporalStage
    from streamer.state.store import Stored
    from streamer.transport.model_registry import ModelRegistry


@dataclass(frozen=True, slots=True)
class Restart:
    """A stream that can't go on as it was.

    Attributes:
        commit: The step by which it begins anew.
        reason: `model` or `state`.
        damage: Why the state can't be used, if that is the reason.
    """

    commit: Commit
    reason: str
    damage: str = ""


@dataclass(slots=True)
class Resumed:
    """How streams go on.

    Attributes:
        checkpoints: By stream, where it stands.
        restarts: Steps by which streams begin anew.
        awaiting: Streams of another model, which only the model that is wanted may take over.
    """

    checkpoints: dict[str, Checkpoint] = field(default_factory=dict)
    restarts: list[Restart] = field(default_factory=list)
    awaiting: frozenset[str] = frozenset()


class Resumer:
    """Knows where streams go on under one model.

    Only a worker that runs the model that is wanted takes streams over from another model. So two
    workers with different models can't pass a stream to and fro between these: see
    `docs/decisions/2026-11-21-hot-swap.md`.

    Args:
        stage: Of the model.
        models: Labels of the models before it, and which one is wanted.
        clock: The process's.
    """

    def __init__(self, stage: TemporalStage, models: ModelRegistry, clock: Clock) -> None:
        self._stage = stage
        self._models = models
        self._clock = clock

    def resume(self, stored: Mapping[str, Stored], *, rows: Mapping[str, int]) -> Resumed:
        """Where streams go on.

        Args:
            stored: By stream, what has just been loaded.
            rows: By stream, its row, if it has none under this model yet.
        """
        resumed = Resumed()
        foreign: dict[str, Checkpoint] = {}
        for stream_id, one in stored.items():
            checkpoint = one.checkpoint
            if checkpoint and checkpoint.state.model_id != self._stage.bundle.model_id:
                foreign[stream_id] = checkpoint
                continue
            where = self._resume(stream_id, one, row=rows[stream_id])
            if isinstance(where, Restart):
                resumed.restarts.append(where)
            else:
                resumed.checkpoints[stream_id] = where
        # Asked after the states were loaded: what made them had been wanted before.
        if foreign and self._is_wanted():
            entries = {c.state.model_id: self._entry(c.state) for c in foreign.values()}
            resumed.restarts += [
                self._change_model(checkpoint, entries[checkpoint.state.model_id], row=rows[name])
                for name, checkpoint in foreign.items()
            ]
        else:
            resumed.awaiting = frozenset(foreign)
        return resumed

    def _is_wanted(self) -> bool:
        """Whether this model may take streams over: it is the one wanted, or none is."""
        wanted = self._models.wanted()
        return wanted is None or wanted.model_id == self._stage.bundle.model_id

    def _resume(self, stream_id: str, stored: Stored, *, row: int) -> Checkpoint | Restart:
        stage = self._stage
        if not stored.version:
            return stage.initial(stream_id, row=row)
        checkpoint, damage = stored.checkpoint, stored.damage
        if checkpoint is not None:
            damage = stage.misfit(checkpoint.state)
            if checkpoint.state.stream_id != stream_id:
                damage = f"expected the state of {stream_id}, found {checkpoint.state.stream_id}"
        if checkpoint is None or damage:
            return self._lose_state(stream_id, stored, row=row, damage=damage)
        if checkpoint.state.row >= stage.num_rows:  # it was made with more of them
            row = checkpoint.state.row % stage.num_rows
            return replace(checkpoint, state=replace(checkpoint.state, row=row))
        return checkpoint

    def _entry(self, state: StreamState) -> ModelEntry:
        """What is remembered of the model that made a state."""
        entry = self._models.get(state.model_id)
        if entry is not None:
            return entry
        # Nobody remembers its labels: their indices must do.
        labels = tuple(f"#{index}" for index in range(len(state.decoder.smoothed_C)))
        return ModelEntry(name=state.model_id, phases=labels, actions=())

    def _change_model(self, checkpoint: Checkpoint, entry: ModelEntry, *, row: int) -> Restart:
        commit = change_model(
            self._stage,
            checkpoint,
            phases=entry.phases,
            actions=entry.actions,
            row=row,
            now_ns=self._clock.utc_ns(),
        )
        return Restart(commit, "model")

    def _lose_state(self, stream_id: str, stored: Stored, *, row: int, damage: str) -> Restart:
        commit = lose_state(
            self._stage,
            stream_id,
            row=row,
            version=stored.version,
            position=stored.position,
            sequence=stored.sequence,
            raw=stored.raw,
            damage=damage,
            now_ns=self._clock.utc_ns(),
        )
        return Restart(commit, "state", damage)
