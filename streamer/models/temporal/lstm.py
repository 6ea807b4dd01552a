"""The LSTM with its input projection and its head, in torch: for training, export and GPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from streamer.models.bundle import ModelConfig

LstmState = tuple[Tensor, Tensor]
"""(hidden_LBH, cell_LBH)."""


class LstmModel(nn.Module):
    """Features → normalised → projected → LSTM → one logit per class.

    The LSTM is that of Hochreiter and Schmidhuber (1997) with forget gates (Gers et al., 2000), as
    `torch.nn.LSTM` computes it. Its forget gates start at +1, so that it remembers before it has
    learnt what to forget (Jozefowicz et al., 2015).

    Args:
        feature_dim: D.
        projection_dim: Width of the LSTM's input.
        hidden_dim: H.
        num_layers: L.
        num_classes: C.
        dropout: Probability with which an input or an output of the LSTM is dropped in training.
    """

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
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.register_buffer("mean_D", torch.zeros(feature_dim))
        self.register_buffer("scale_D", torch.ones(feature_dim))
        self.projection = nn.Linear(feature_dim, projection_dim)
        self.norm = nn.LayerNorm(projection_dim)
        self.dropout = nn.Dropout(dropout)
        self.lstm = nn.LSTM(projection_dim, hidden_dim, num_layers)
        self.head = nn.Linear(hidden_dim, num_classes)
        for layer in range(num_layers):
            # Order of the gates: input, forget, cell, output.
            bias = cast("Tensor", getattr(self.lstm, f"bias_ih_l{layer}"))
            nn.init.ones_(bias.detach()[hidden_dim : 2 * hidden_dim])

    @classmethod
    def of(cls, config: ModelConfig, *, dropout: float = 0.0) -> LstmModel:
        """The network of that configuration, with random weights."""
        return cls(
            feature_dim=config.feature_dim,
            projection_dim=config.projection_dim,
            hidden_dim=config.hidden_dim,
            num_layers=config.num_layers,
            num_classes=config.num_classes,
            dropout=dropout,
        )

    def fit_normalisation(self, features_ND: Tensor) -> None:
        """Take mean and spread of each feature from the training part.

        A feature that hardly varies there keeps its scale: it would only amplify noise.
        """
        std_D = features_ND.std(dim=0)
        self.mean_D.copy_(features_ND.mean(dim=0))
        self.scale_D.copy_(1 / std_D.clamp_min(0.1 * float(std_D.median().clamp_min(1e-6))))

    def initial_state(self, batch_size: int) -> LstmState:
        """Zeros: the state before a stream's first frame."""
        shape = (self.lstm.num_layers, batch_size, self.lstm.hidden_size)
        zeros_LBH = self.head.weight.new_zeros(shape)
        return zeros_LBH, zeros_LBH.clone()

    def forward(self, features_TBD: Tensor, state: LstmState) -> tuple[Tensor, LstmState]:
        """T frames of B streams.

        Args:
            features_TBD: float32 (T, B, D).
            state: Before the first frame.

        Returns:
            logits (T, B, C), and the state after the last frame.
        """
        inputs = torch.relu(self.norm(self.projection((features_TBD - self.mean_D) * self.scale_D)))
        outputs, state = self.lstm(self.dropout(inputs), state)
        return self.head(self.dropout(outputs)), state


class LstmStep(nn.Module):
    """One frame of B streams, by plain arithmetic: what is exported to ONNX.

    Args:
        model: Whose weights it uses.
    """

    def __init__(self, model: LstmModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, features_BD: Tensor, hidden_LBH: Tensor, cell_LBH: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (B, C), hidden (L, B, H), cell (L, B, H)."""
        logits_TBC, (hidden, cell) = self.model(features_BD[None], (hidden_LBH, cell_LBH))
        return logits_TBC[0], hidden, cell
