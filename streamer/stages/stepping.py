"""One call of the model for many streams: their rows filled, and what came of them handed back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from streamer.models.temporal.model import LookaheadModel
from streamer.state.table import BatchBuffers, WindowBuffers

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from streamer.models.temporal.model import OnlineModel, TemporalModel
    from streamer.stages.fold import Fold


class Stepper(Protocol):
    """Steps streams of different rows."""

    def step(self, folds: Sequence[Fold]) -> tuple[np.ndarray, np.ndarray, list[int]]:
        """One step of each.

        Returns:
            Features (B, D) and outputs (B, C) of all rows, and the rows where both mean something.
        """
        ...


def make_stepper(model: OnlineModel) -> Stepper:
    """What steps streams by this model."""
    if isinstance(model, LookaheadModel):
        return WindowStepper(model)
    return FrameStepper(model)


class FrameStepper:
    """Each step decides the frame that has come."""

    def __init__(self, model: TemporalModel) -> None:
        self._model = model
        self._buffers = BatchBuffers(
            num_rows=model.rows,
            num_layers=model.num_layers,
            hidden_dim=model.hidden_dim,
            feature_dim=model.feature_dim,
        )

    def step(self, folds: Sequence[Fold]) -> tuple[np.ndarray, np.ndarray, list[int]]:
        """See `Stepper.step`."""
        buffers = self._buffers
        for fold in folds:
            assert fold.features_D is not None, "without a look ahead no frame waits"
            buffers.load(fold.state, fold.features_D)
        outputs_BC, hidden_LBH, cell_LBH = self._model.step(
            buffers.features_BD, buffers.hidden_LBH, buffers.cell_LBH
        )
        rows = [fold.state.row for fold in folds]
        for fold, row in zip(folds, rows, strict=True):
            fold.take(outputs_BC[row], hidden_LBH[:, row].copy(), cell_LBH[:, row].copy())
        return buffers.features_BD, outputs_BC, rows


class WindowStepper:
    """A frame that comes waits, and the step decides the oldest that waits, if it is its turn.

    Streams of which some frames fill the window, are in full swing, or are the last before a gap
    share a call: what counts of each row is in the mask.
    """

    def __init__(self, model: LookaheadModel) -> None:
        self._model = model
        self._buffers = WindowBuffers(
            num_rows=model.rows,
            num_layers=model.num_layers,
            hidden_dim=model.hidden_dim,
            feature_dim=model.feature_dim,
            projection_dim=model.projection_dim,
            lookahead_frames=model.lookahead_frames,
        )

    def step(self, folds: Sequence[Fold]) -> tuple[np.ndarray, np.ndarray, list[int]]:
        """See `Stepper.step`."""
        buffers = self._buffers
        for fold in folds:
            buffers.load_window(fold.state, fold.features_D, decides=fold.decides)
        outputs_BC, hidden_LBH, cell_LBH, inputs_BP = self._model.step_window(
            buffers.features_BD,
            buffers.window_RBP,
            buffers.mask_SB,
            buffers.hidden_LBH,
            buffers.cell_LBH,
        )
        whole = [f.state.row for f in folds if f.decides and f.features_D is not None]
        for fold in folds:
            row = fold.state.row
            fold.take_window(
                outputs_BC[row], hidden_LBH[:, row].copy(), cell_LBH[:, row].copy(), inputs_BP[row]
            )
        return buffers.features_BD, outputs_BC, whole
