"""Labelled clips, as an explanation looks at them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from streamer.training.dataset import Example
from streamer.training.losses import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streamer.models.config import ModelConfig
    from streamer.training.clip_dataset import LabelledClip


def as_example(clip: LabelledClip, config: ModelConfig) -> Example:
    """A clip with the phase of each frame: its class in all, `UNKNOWN` where nobody says.

    Args:
        clip: Of a head other than `frames`.
        config: Of the model.
    """
    phases_T = clip.phases_T
    if phases_T is None:
        label = int(clip.example.target) if config.head == "sequence" else UNKNOWN
        phases_T = np.full(len(clip.pts_T), label, np.int64)
    return Example(
        name=clip.example.name,
        compressed=False,
        features_TD=clip.features_TD,
        pts_T=clip.pts_T,
        phases_T=phases_T,
        actions_TA=np.zeros((len(clip.pts_T), 0), np.float32),
    )


def true_values(clips: Iterable[LabelledClip], config: ModelConfig) -> dict[str, np.ndarray]:
    """Of a regression, by the clip's name: the true values, (K,), or of each frame (T, K)."""
    if config.head != "regression":
        return {}
    return {clip.example.name: clip.example.target for clip in clips}
