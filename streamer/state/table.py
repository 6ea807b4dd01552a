"""Which streams step together: fixed rows, packed into batches of a fixed shape.

Floating-point results depend on a row's place in the batch, and on nothing the other rows hold.
So a stream keeps its row for life, and every batch has the same shape: then a replay gives the
same bits, whoever the batchmates are.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.core.state import StreamState


def pack(rows: Sequence[int]) -> list[list[int]]:
    """Group items into as few batches as possible, no row twice in one.

    Args:
        rows: The row of each item.

    Returns:
        Indices of the items of each batch.
    """
    batches: list[list[int]] = []
    used: Counter[int] = Counter()
    for index, row in enumerate(rows):
        if used[row] == len(batches):
            batches.append([])
        batches[used[row]].append(index)
        used[row] += 1
    return batches


class BatchBuffers:
    """Input arrays of one model call, reused. Rows without a stream keep old values: no harm."""

    def __init__(
        self, *, num_rows: int, num_layers: int, hidden_dim: int, feature_dim: int
    ) -> None:
        self.features_BD = np.zeros((num_rows, feature_dim), np.float32)
        self.hidden_LBH = np.zeros((num_layers, num_rows, hidden_dim), np.float32)
        self.cell_LBH = np.zeros_like(self.hidden_LBH)

    def load(self, state: StreamState, features_D: np.ndarray) -> None:
        """Put a stream's input and state into its row."""
        row = state.row
        self.features_BD[row] = features_D
        self.hidden_LBH[:, row] = state.hidden_LH
        self.cell_LBH[:, row] = state.cell_LH


class WindowBuffers(BatchBuffers):
    """Input arrays of one call of a model that looks ahead. S slots per row: R that wait, one new.

    All of a stream's row is written at each load: what another one left there is not to be seen.
    """

    def __init__(
        self,
        *,
        num_rows: int,
        num_layers: int,
        hidden_dim: int,
        feature_dim: int,
        projection_dim: int,
        lookahead_frames: int,
    ) -> None:
        super().__init__(
            num_rows=num_rows,
            num_layers=num_layers,
            hidden_dim=hidden_dim,
            feature_dim=feature_dim,
        )
        self.window_RBP = np.zeros((lookahead_frames, num_rows, projection_dim), np.float32)
        self.mask_SB = np.zeros((lookahead_frames + 1, num_rows), np.float32)

    def load_window(
        self, state: StreamState, features_D: np.ndarray | None, *, decides: bool
    ) -> None:
        """Put a stream's input, state and waiting frames into its row.

        Args:
            state: Of the stream.
            features_D: Of the frame that has come, if one has.
            decides: Whether the step is for the oldest frame that waits. Else no slot counts.
        """
        assert state.lookahead is not None, "no model looks ahead here"
        row, num_waiting = state.row, len(state.lookahead)
        self.load(state, np.zeros(1, np.float32) if features_D is None else features_D)
        self.window_RBP[:, row] = 0
        self.window_RBP[:num_waiting, row] = state.lookahead.inputs_WP
        self.mask_SB[:, row] = 0
        if decides:
            self.mask_SB[: num_waiting + (features_D is not None), row] = 1
