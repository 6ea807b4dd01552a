"""Where a stream goes on: at the checkpoint in the store, or by a step that begins it anew."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from streamer.stages.reset import change_model, lose_state
from streamer.transport.registry import ModelEntry

if TYPE_CHECKING:
    from streamer.core.clock import Clock
    from streamer.core.state import Checkpoint, Commit
    from streamer.stages.temporal import TemporalStage
    from streamer.state.store import Stored
    from streamer.transport.registry import ModelRegistry


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


class Resumer:
    """Knows where streams go on under one model.

    Args:
        stage: Of the model.
        models: Labels of the models before it.
        clock: The process's.
    """

    def __init__(self, stage: TemporalStage, models: ModelRegistry, clock: Clock) -> None:
        self._stage = stage
        self._models = models
        self._clock = clock

    def resume(self, stream_id: str, stored: Stored, *, row: int) -> Checkpoint | Restart:
        """Where a stream goes on of which the store has this.

        Args:
            stream_id: Whose.
            stored: As loaded.
            row: Its row, if it has none yet.
        """
        stage = self._stage
        if not stored.version:
            return stage.initial(stream_id, row=row)
        checkpoint, damage = stored.checkpoint, stored.damage
        if checkpoint is not None:
            if checkpoint.state.model_id != stage.bundle.model_id:
                return self._change_model(checkpoint)
            damage = stage.misfit(checkpoint.state)
            if checkpoint.state.stream_id != stream_id:
                damage = f"expected the state of {stream_id}, found {checkpoint.state.stream_id}"
        if checkpoint is None or damage:
            return self._lose_state(stream_id, stored, row=row, damage=damage)
        if checkpoint.state.row >= stage.num_rows:  # it was made with more of them
            row = checkpoint.state.row % stage.num_rows
            return replace(checkpoint, state=replace(checkpoint.state, row=row))
        return checkpoint

    def _change_model(self, checkpoint: Checkpoint) -> Restart:
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
