"""The LSTM in torch: trained as it is served.

Features are normalised with the training part's mean and deviation, projected, and folded into
LSTM layers; a linear head gives one logit per phase and action. Cell: Hochreiter and Schmidhuber
1997 with the forget gate of Gers et al. 2000, its bias raised by 1 as Jozefowicz et al. 2015 advise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from streamer.models.bundle import ModelConfig


class TemporalLstm(nn.Module):
    """Shapes: B streams, T steps, D feature width, H hidden width, L layers, C classes."""

    mean_D: Tensor
    scale_D: Tensor

    def __init__(
        self,
        *,
        feature_dim: int,
        projection_dim: int,
        hidden_dim: int,
        num_layers: int,
        num_classes: int,
    ) -> None:
        super().__init__()
        self.num_layers, self.hidden_dim = num_layers, hidden_dim
        self.register_buffer("mean_D", torch.zeros(feature_dim))
        self.register_buffer("scale_D", torch.ones(feature_dim))
        self.projection = nn.Linear(feature_dim, projection_dim)
        self.lstm = nn.LSTM(projection_dim, hidden_dim, num_layers, batch_first=True)
        self.head = nn.Linear(hidden_dim, num_classes)
        with torch.no_grad():
            for name, parameter in self.lstm.named_parameters():
                if name.startswith("bias_ih"):  # gates in torch's order: i, f, g, o
                    parameter[hidden_dim : 2 * hidden_dim] += 1.0

    @classmethod
    def of(cls, config: ModelConfig) -> TemporalLstm:
        """A network of a bundle's shape, untrained."""
        return cls(
            feature_dim=config.feature_dim,
            projection_dim=config.projection_dim,
            hidden_dim=config.hidden_dim,
            num_layers=config.num_layers,
            num_classes=config.num_classes,
        )

    def initial(self, num_streams: int) -> tuple[Tensor, Tensor]:
        """The state before the first frame: hidden and cell, zeros (L, B, H)."""
        zeros = torch.zeros(self.num_layers, num_streams, self.hidden_dim)
        return zeros, zeros.clone()

    def normalise_with(self, features_ND: Tensor) -> None:
        """Take mean and deviation from the training part."""
        self.mean_D.copy_(features_ND.mean(0))
        self.scale_D.copy_(1.0 / features_ND.std(0).clamp_min(1e-3))

    def forward(
        self, features_BTD: Tensor, hidden_LBH: Tensor, cell_LBH: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (B, T, C), and the state after the last step."""
        normal = (features_BTD - self.mean_D) * self.scale_D
        projected = torch.relu(self.projection(normal))
        outputs, (hidden, cell) = self.lstm(projected, (hidden_LBH, cell_LBH))
        return self.head(outputs), hidden, cell


class OneStep(nn.Module):
    """The serving call: one step, no time axis. This is what is exported."""

    def __init__(self, model: TemporalLstm) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, features_BD: Tensor, hidden_LBH: Tensor, cell_LBH: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (B, C), hidden, cell."""
        logits, hidden, cell = self.model(features_BD[:, None], hidden_LBH, cell_LBH)
        return logits[:, 0], hidden, cell
