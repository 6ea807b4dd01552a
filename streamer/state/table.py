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
