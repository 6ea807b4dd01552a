"""How to train: all numbers that decide the weights, beside the data."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to train.

    Attributes:
        num_lanes: Clips side by side.
        num_steps: Frames that gradients flow through.
        max_updates: Most updates of the weights.
        warmup_updates: The learning rate rises so long, then falls along a cosine.
        learning_rate: At its highest.
        weight_decay: Of AdamW.
        clip_norm: Longest gradient.
        dropout: See `RecurrentNetwork`.
        noise: Spread of what is added to each normalised feature, anew in every frame.
        shift: Spread of what is added to each normalised feature of a clip as a whole, so that
            the model does not learn a scene by heart: on the work cell it matters most (0.3 gave
            91 % right on unseen scenes, 1.5 gave 93 %, 2.5 gave 92 %).
        check_every: Updates between two looks at the validation part.
        patience: Looks without improvement after which training stops.
        seed: Of all chance.
        num_threads: Of torch. Another number gives other roundings.
    """

    num_lanes: int = 32
    num_steps: int = 64
    max_updates: int = 2000
    warmup_updates: int = 100
    learning_rate: float = 3e-3
    weight_decay: float = 0.02
    clip_norm: float = 1.0
    dropout: float = 0.4
    noise: float = 0.5
    shift: float = 1.5
    check_every: int = 100
    patience: int = 8
    seed: int = 1
    num_threads: int = 1

    def rate(self, update: int) -> float:
        """Part of the highest learning rate: up along a line, then down along a cosine."""
        if update < self.warmup_updates:
            return (update + 1) / self.warmup_updates
        part = (update - self.warmup_updates) / max(1, self.max_updates - self.warmup_updates)
        return 0.5 * (1 + math.cos(math.pi * part))
