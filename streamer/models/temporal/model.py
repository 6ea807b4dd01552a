"""The contract of a temporal model in serving."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np


class TemporalModel(Protocol):
    """One time step for a fixed number of rows. Used by one thread.

    Shapes: B `rows`, D `feature_dim`, L `num_layers`, H `hidden_dim`, C `num_classes`.
    A row's bits depend on that row's inputs and its place, and on nothing else.
    """

    @property
    def rows(self) -> int:
        """B, the same in every call."""
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

    def step(
        self, features_BD: np.ndarray, hidden_LBH: np.ndarray, cell_LBH: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Fold in one frame per row.

        Args:
            features_BD: float32.
            hidden_LBH: float32.
            cell_LBH: float32.

        Returns:
            logits (B, C), and the new hidden and cell, float32.
        """
        ...

    def close(self) -> None:
        """Free it. Idempotent."""
        ...
