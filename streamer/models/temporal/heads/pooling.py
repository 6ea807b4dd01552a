"""Many to one: the outputs of all frames become one vector per clip, by weights over time.

`last` takes the last frame, `mean` all alike, `attention` those that a small network finds telling:
score = v · tanh(W h + b), weights = softmax over the clip's frames (Yang et al., "Hierarchical
Attention Networks", NAACL 2016, section 2.2). The weights come out: they say when it happened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from streamer.models.config import Pooling


class TimePooling(nn.Module):
    """Weights over time, and the vector they make.

    Args:
        kind: `last`, `mean` or `attention`.
        input_dim: I, width of a frame's outputs.
    """

    def __init__(self, kind: Pooling, input_dim: int) -> None:
        super().__init__()
        self.kind = kind
        if kind == "attention":
            self.query = nn.Linear(input_dim, input_dim)
            self.score = nn.Linear(input_dim, 1, bias=False)

    def forward(self, outputs_TBI: Tensor, mask_TB: Tensor) -> tuple[Tensor, Tensor]:
        """Pool T frames of B clips.

        Args:
            outputs_TBI: float32.
            mask_TB: float32, 1 for a clip's frames and then 0; at least one frame each.

        Returns:
            (B, I), and the weights (T, B): at least 0, 0 outside the clip, with the sum 1.
        """
        weights_TB = self._weights(outputs_TBI, mask_TB)
        return (weights_TB[..., None] * outputs_TBI).sum(dim=0), weights_TB

    def _weights(self, outputs_TBI: Tensor, mask_TB: Tensor) -> Tensor:
        if self.kind == "last":
            after_TB = torch.cat((mask_TB[1:], torch.zeros_like(mask_TB[:1])))
            return mask_TB - after_TB
        if self.kind == "mean":
            return mask_TB / mask_TB.sum(dim=0)
        scores_TB = self.score(torch.tanh(self.query(outputs_TBI)))[..., 0]
        return torch.softmax(scores_TB.masked_fill(mask_TB == 0, -torch.inf), dim=0)


class SequenceHead(nn.Module):
    """One class per clip: pooling, then a linear layer.

    Args:
        kind: See `TimePooling`.
        input_dim: I.
        num_classes: C.
    """

    def __init__(self, kind: Pooling, input_dim: int, num_classes: int) -> None:
        super().__init__()
        self.pooling = TimePooling(kind, input_dim)
        self.linear = nn.Linear(input_dim, num_classes)

    def forward(self, outputs_TBI: Tensor, mask_TB: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, C), and the weights (T, B). See `TimePooling.forward`."""
        pooled_BI, weights_TB = self.pooling(outputs_TBI, mask_TB)
        return self.linear(pooled_BI), weights_TB
