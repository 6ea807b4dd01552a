"""The anticipation head: features of several frames to come, one to many.

After a frame, the hidden state h of the last layer and the K numbers z of that frame (those that
the anomaly head predicts: see `streamer.models.temporal.anomaly`) give a guess of z for each of the
next frames, all at once: z + a small network of (h, z). So what it starts from is persistence,
the guess that nothing changes. It has no part in serving: a step's outputs are those of now.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AnticipationHead(nn.Module):
    """Guesses F frames ahead.

    Args:
        hidden_dim: H.
        anomaly_dim: K.
        num_frames: F.
    """

    def __init__(self, hidden_dim: int, anomaly_dim: int, num_frames: int) -> None:
        super().__init__()
        self.num_frames = num_frames
        self.predict = nn.Sequential(
            nn.Linear(hidden_dim + anomaly_dim, hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, num_frames * anomaly_dim),
        )

    def forward(self, hidden_H: Tensor, target_K: Tensor) -> Tensor:
        """Guesses (…, F, K).

        Args:
            hidden_H: (…, H), the last layer's hidden after the frame.
            target_K: (…, K), of the frame.
        """
        changes = self.predict(torch.cat((hidden_H, target_K), dim=-1))
        changes_FK: Tensor = changes.unflatten(-1, (self.num_frames, -1))
        return target_K[..., None, :] + changes_FK
