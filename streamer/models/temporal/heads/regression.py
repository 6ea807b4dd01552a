"""Regression: K values per frame, or per clip by pooling."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from streamer.models.temporal.heads.pooling import TimePooling

if TYPE_CHECKING:
    from streamer.models.config import Pooling


class RegressionHead(nn.Module):
    """Values in the units of the targets: a linear layer works on normalised ones.

    Args:
        kind: `none` for values per frame; else see `TimePooling`.
        input_dim: I.
        num_values: K.
    """

    mean_K: Tensor
    spread_K: Tensor

    def __init__(self, kind: Pooling, input_dim: int, num_values: int) -> None:
        super().__init__()
        self.pooling = None if kind == "none" else TimePooling(kind, input_dim)
        self.linear = nn.Linear(input_dim, num_values)
        self.register_buffer("mean_K", torch.zeros(num_values))
        self.register_buffer("spread_K", torch.ones(num_values))

    def fit_scale(self, targets_NK: Tensor) -> None:
        """Take mean and spread of each value from the training part, where it is no NaN."""
        for value, column_N in enumerate(targets_NK.T):
            known_N = column_N[~torch.isnan(column_N)]
            self.mean_K[value] = known_N.mean()
            self.spread_K[value] = known_N.std(correction=0).clamp_min(1e-6)

    def forward(
        self, outputs_TBI: Tensor, mask_TB: Tensor | None = None
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Values (T, B, K) per frame; per clip, values (B, K) and the weights (T, B)."""
        if self.pooling is None:
            return self._values(outputs_TBI)
        pooled_BI, weights_TB = self.pooling(outputs_TBI, mask_TB)
        return self._values(pooled_BI), weights_TB

    def _values(self, inputs: Tensor) -> Tensor:
        values: Tensor = self.linear(inputs) * self.spread_K + self.mean_K
        return values
