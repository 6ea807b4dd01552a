"""The contract of a temporal model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from streamer.core.errors import ModelError

if TYPE_CHECKING:
    import numpy as np


class TemporalModel(Protocol):
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

    def close(self) -> None:
        """Free its memory. Idempotent."""
        ...


def check_step(
    model: TemporalModel, features_BD: np.ndarray, hidden_LBH: np.ndarray, cell_LBH: np.ndarray
) -> None:
    """Raise ModelError unless the inputs of a step fit the model."""
    state_shape = (model.num_layers, model.rows, model.hidden_dim)
    expected = (
        ("features", features_BD, (model.rows, model.feature_dim)),
        ("hidden", hidden_LBH, state_shape),
        ("cell", cell_LBH, state_shape),
    )
    for name, array, shape in expected:
        if array.shape != shape or array.dtype.name != "float32":
            raise ModelError(
                f"temporal model: {name}: expected float32 {shape}, "
                f"found {array.dtype} {array.shape}"
            )
