"""The contract of a temporal model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from streamer.core.errors import ModelError

if TYPE_CHECKING:
    import numpy as np


class BatchModel(Protocol):
    """Steps B streams by one frame. Used by one thread; holds no state of any stream.

    Shapes: B rows, L layers, H hidden width, D feature width, C classes (phases, then actions).
    A row's outputs depend, to the bit, on that row's inputs and its place alone, because the
    batch always has the same shape.
    """

    @property
    def rows(self) -> int:
        """B, fixed."""
        ...

    @property
    def num_layers(self) -> int:
        """L."""
        ...

    @property
    def hidden_dim(self) -> int:
        """H."""
        ...

    @property
    def feature_dim(self) -> int:
        """D."""
        ...

    @property
    def num_classes(self) -> int:
        """C."""
        ...

    def close(self) -> None:
        """Free its memory. Idempotent."""
        ...


class TemporalModel(BatchModel, Protocol):
    """One direction: the outputs for a frame need no frame to come."""

    def step(
        self, features_BD: np.ndarray, hidden_LBH: np.ndarray, cell_LBH: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One frame of each row.

        Args:
            features_BD: float32 (B, D).
            hidden_LBH: float32 (L, B, H), zeros at a stream's start. Not changed.
            cell_LBH: float32 (L, B, H), zeros at a stream's start. Not changed.

        Returns:
            outputs float32 (B, C), with one column more for the score of a model with an anomaly
            head; and hidden and cell after the frame, float32 (L, B, H): arrays
            of the caller's own.

        Raises:
            ModelError: A shape or type is another, or the model is closed.
        """
        ...


@runtime_checkable
class LookaheadModel(BatchModel, Protocol):
    """Two directions, the backward one from R frames ahead: see `temporal.directions`.

    A frame's features are projected once, when it comes, and wait as that: P numbers. R frames wait
    beside the one that comes, in S = R + 1 slots: the oldest of them is decided.
    """

    @property
    def lookahead_frames(self) -> int:
        """R, at least 1."""
        ...

    @property
    def projection_dim(self) -> int:
        """P."""
        ...

    def step_window(
        self,
        features_BD: np.ndarray,
        window_RBP: np.ndarray,
        mask_SB: np.ndarray,
        hidden_LBH: np.ndarray,
        cell_LBH: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The frame in slot 0 of each row, from those in all slots; and a new frame's projection.

        Args:
            features_BD: float32 (B, D), of the frame that comes. It takes the last slot.
            window_RBP: float32 (R, B, P), the projections of those that wait, oldest first.
            mask_SB: float32 (R + 1, B): 1 for slots with a frame, then 0. The backward direction
                begins at the last with 1. A row of zeros decides nothing: only its projection
                means something.
            hidden_LBH: float32 (L, B, H), before the frame in slot 0. Not changed.
            cell_LBH: float32 (L, B, H), the same. Not changed.

        Returns:
            outputs float32 (B, C) of slot 0; hidden and cell after it, of the forward direction,
            float32 (L, B, H); and the projections of the new frames, float32 (B, P): arrays of the
            caller's own.

        Raises:
            ModelError: A shape or type is another, or the model is closed.
        """
        ...


OnlineModel = TemporalModel | LookaheadModel
"""What can be served on a stream that goes on."""


def check_step(
    model: TemporalModel, features_BD: np.ndarray, hidden_LBH: np.ndarray, cell_LBH: np.ndarray
) -> None:
    """Raise ModelError unless the inputs of a step fit the model."""
    _check(model, (features_BD, hidden_LBH, cell_LBH), ())


def check_window(
    model: LookaheadModel,
    features_BD: np.ndarray,
    window_RBP: np.ndarray,
    mask_SB: np.ndarray,
    hidden_LBH: np.ndarray,
    cell_LBH: np.ndarray,
) -> None:
    """Raise ModelError unless the inputs of a step with a look ahead fit the model."""
    ahead, rows = model.lookahead_frames, model.rows
    _check(
        model,
        (features_BD, hidden_LBH, cell_LBH),
        (
            ("window", window_RBP, (ahead, rows, model.projection_dim)),
            ("mask", mask_SB, (ahead + 1, rows)),
        ),
    )


def _check(
    model: BatchModel,
    arrays: tuple[np.ndarray, np.ndarray, np.ndarray],
    others: tuple[tuple[str, np.ndarray, tuple[int, ...]], ...],
) -> None:
    state_shape = (model.num_layers, model.rows, model.hidden_dim)
    shapes = ((model.rows, model.feature_dim), state_shape, state_shape)
    expected = (*zip(("features", "hidden", "cell"), arrays, shapes, strict=True), *others)
    for name, array, shape in expected:
        if array.shape != shape or array.dtype.name != "float32":
            raise ModelError(
                f"temporal model: {name}: expected float32 {shape}, "
                f"found {array.dtype} {array.shape}"
            )
