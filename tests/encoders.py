"""An encoder that stands for the one whose features a test draws."""

from __future__ import annotations

import numpy as np

from streamer.core.preprocess import Preprocess
from streamer.models.encoders.encoder import BatchPolicy


class DrawnEncoder:
    """What a bundle wants to know of the encoder; its pictures say nothing."""

    name, backend, device = "test", "drawn", "cpu"
    encoder_id = "sha256:encoder"
    preprocess = Preprocess(width=8, height=8)
    batch_policy = BatchPolicy(max_size=4, max_wait_seconds=0.0)

    def __init__(self, feature_dim: int) -> None:
        self.feature_dim = feature_dim

    def encode(self, images_NHWC: np.ndarray) -> np.ndarray:
        """Features (N, D), all zero."""
        return np.zeros((len(images_NHWC), self.feature_dim), np.float16)

    def memory_bytes(self) -> dict[str, int]:
        """Nobody counts it."""
        return {}

    def close(self) -> None:
        """Nothing is open."""
