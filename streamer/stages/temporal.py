"""From input entries to new states and events: the fold that the event log is defined by.

The same input entries always give the same events and the same states, bit for bit, whatever
chunks they came in and whichever streams were stepped beside them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from streamer.core.state import AnomalyState, Checkpoint, LookaheadState, StreamState
from streamer.models.temporal.model import LookaheadModel
from streamer.stages.anomaly import AnomalyWatch
from streamer.stages.ctc import make_decoder
from streamer.stages.events import EventMaker
from streamer.stages.fold import Fold
from streamer.stages.lookahead import misfit_lookahead
from streamer.stages.stepping import make_stepper
from streamer.state.table import pack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.core.clock import Mark
    from streamer.models.bundle import Bundle
    from streamer.models.temporal.model import OnlineModel
    from streamer.stages.advanced import Advanced
    from streamer.stages.drift_watch import DriftWatch
    from streamer.transport.transport import LogEntry, Unreadable


class TemporalStage:
    """Steps many streams through one model. Holds nothing of any of them between calls.

    Attributes:
        bundle: The model's bundle.
        decoder: Turns its outputs into decisions.
        watch: Turns its scores into decisions about anomalies; None if it has none.
        maker: Turns decisions into events.

    Args:
        bundle: The model's bundle.
        model: Opened.
        watch: Looks at features and outputs; changes nothing.
    """

    def __init__(
        self, bundle: Bundle, model: OnlineModel, *, watch: DriftWatch | None = None
    ) -> None:
        config = bundle.config
        self.bundle = bundle
        self._model = model
        self._watch = watch
        self.decoder = make_decoder(
            bundle.decoder,
            head=config.head,
            num_phases=len(config.phases),
            num_actions=len(config.actions),
            analysis_fps=config.analysis_fps,
        )
        thresholds = bundle.decoder.anomaly
        self.watch = (
            None
            if thresholds is None
            else AnomalyWatch(thresholds, analysis_fps=config.analysis_fps)
        )
        self.maker = EventMaker(
            phases=config.phases,
            actions=config.actions,
            model_id=bundle.model_id,
            encoder_id=config.encoder_id,
        )
        self._stepper = make_stepper(model)

    @property
    def num_rows(self) -> int:
        """Rows of a batch."""
        return self._model.rows

    def initial(self, stream_id: str, *, row: int) -> Checkpoint:
        """A stream of which nothing is known yet."""
        zeros_LH = np.zeros((self._model.num_layers, self._model.hidden_dim), np.float32)
        state = StreamState(
            stream_id=stream_id,
            model_id=self.bundle.model_id,
            encoder_id=self.bundle.config.encoder_id,
            row=row,
            hidden_LH=zeros_LH,
            cell_LH=zeros_LH,
            decoder=self.decoder.initial(),
            anomaly=None if self.watch is None else AnomalyState(),
            lookahead=LookaheadState.initial(self._model.projection_dim)
            if isinstance(self._model, LookaheadModel)
            else None,
        )
        return Checkpoint(state=state, position=0, version=b"")

    def misfit(self, state: StreamState) -> str:
        """Why a state can't be this model's, whatever it says; empty if it can."""
        shape_LH = (self._model.num_layers, self._model.hidden_dim)
        if state.hidden_LH.shape != shape_LH:
            return f"expected hidden and cell of shape {shape_LH}, found {state.hidden_LH.shape}"
        if (state.anomaly is None) != (self.watch is None):
            return f"expected {'no' if self.watch is None else 'a'} state of a watch for anomalies"
        if ahead := misfit_lookahead(state, self._model):
            return ahead
        decoder = state.decoder
        lengths = {
            len(array)
            for array in (
                decoder.smoothed_C,
                decoder.rise_seq_C,
                decoder.rise_ns_C,
                decoder.rise_pts_C,
            )
        }
        if lengths != {self.bundle.config.num_classes}:
            return f"expected {self.bundle.config.num_classes} classes, found {sorted(lengths)}"
        return self.decoder.misfit(decoder)

    def advance(
        self, work: Sequence[tuple[Checkpoint, Sequence[LogEntry | Unreadable]]], *, taken: Mark
    ) -> list[Advanced]:
        """Fold entries into states, at most one frame per stream in one model call.

        Args:
            work: Per stream, where it stands and the entries that follow.
            taken: Now: when the entries were taken up. It goes into ledgers only.
        """
        folds = [
            Fold(checkpoint, entries, self.decoder, self.watch, self.maker, self.bundle, taken)
            for checkpoint, entries in work
        ]
        active = [fold for fold in folds if fold.next_step()]
        first_round = True
        while active:
            batches = pack([fold.state.row for fold in active])
            watched = self._watch.choose(len(batches)) if self._watch and first_round else -1
            first_round = False
            for number, batch in enumerate(batches):
                self._step([active[index] for index in batch], watched=number == watched)
            active = [fold for fold in active if fold.next_step()]
        return [fold.finish() for fold in folds]

    def _step(self, folds: Sequence[Fold], *, watched: bool) -> None:
        features_BD, outputs_BC, rows = self._stepper.step(folds)
        if watched and self._watch and rows:
            self._watch.take(features_BD[rows], outputs_BC[rows])
