"""Clips with one target each, for heads beyond classes per frame, and batches of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from streamer.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from streamer.models.config import ModelConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipExample:
    """A clip, ready to train on.

    Attributes:
        name: For people.
        views: Features (T, D) of the clip, seen in one or several ways, such as mirrored:
            training takes one of them by chance, prediction the mean over all.
        target: By head. `sequence`: int64 (), the class. `ctc`: int64 (S,), phases in order.
            `regression`: float32 (K,), or (T, K) without pooling, NaN where nobody knows.
            `caption`: int64 (S,), words.
    """

    name: str
    views: tuple[np.ndarray, ...]
    target: np.ndarray

    def __len__(self) -> int:
        return len(self.views[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipBatch:
    """B clips, padded with zeros to the longest.

    Attributes:
        features_TBD: float32.
        mask_TB: float32, 1 for a clip's frames and then 0.
        targets: Of each clip; see `ClipExample`.
    """

    features_TBD: Tensor
    mask_TB: Tensor
    targets: list[Tensor]


def make_batch(
    tracks: Sequence[np.ndarray], targets: Sequence[np.ndarray], *, device: str = "cpu"
) -> ClipBatch:
    """Of the features (T, D) of some clips, and their targets."""
    features = [torch.from_numpy(track.astype(np.float32)) for track in tracks]
    ones = [torch.ones(len(track)) for track in tracks]
    return ClipBatch(
        features_TBD=pad_sequence(features).to(device),
        mask_TB=pad_sequence(ones).to(device),
        targets=[torch.from_numpy(np.asarray(target)).to(device) for target in targets],
    )


class Shuffle:
    """Endless batches: all clips in a new order, then again; one view of each.

    Args:
        examples: At least one.
        size: Of a batch, if there are so many clips.
        random: Decides the order and the views.
        device: Of the batches.

    Attributes:
        order: Of the clips that are still to come in this round.
    """

    def __init__(
        self,
        examples: Sequence[ClipExample],
        *,
        size: int,
        random: np.random.Generator,
        device: str,
    ) -> None:
        self._examples = examples
        self._size = min(size, len(examples))
        self._random = random
        self._device = device
        self.order: list[int] = []

    def next_batch(self) -> ClipBatch:
        """The next clips."""
        if len(self.order) < self._size:
            self.order += self._random.permutation(len(self._examples)).tolist()
        taken = [self._examples[index] for index in self.order[: self._size]]
        self.order = self.order[self._size :]
        views = [example.views[self._random.integers(len(example.views))] for example in taken]
        return make_batch(views, [example.target for example in taken], device=self._device)


def check_examples(examples: Sequence[ClipExample], config: ModelConfig) -> None:
    """Raise ConfigError unless every clip fits the model and its head."""
    for example in examples:
        for track in example.views:
            if track.ndim != 2 or len(track) < 1 or track.shape[1] != config.feature_dim:
                raise ConfigError(
                    f"{example.name}: expected features (T, {config.feature_dim}) of at least one "
                    f"frame, found {track.shape}"
                )
        if reason := _misfit(example, config):
            raise ConfigError(f"{example.name}: target: {reason}")


def _misfit(example: ClipExample, config: ModelConfig) -> str:
    target = example.target
    if config.head == "regression":
        per_frame = (len(example),) if config.pooling == "none" else ()
        shape = (*per_frame, config.num_classes)
        known = np.isfinite(target)
        if per_frame and target.shape == shape and not np.isinf(target).any():
            return "" if known.any() else "expected values of some frames, found none"
        if target.shape != shape or not known.all():
            return f"expected finite values {shape}, found {target.dtype} {target.shape}"
        return ""
    num_labels = len(config.phases) or len(config.targets)
    num_axes = 0 if config.head == "sequence" else 1
    if target.ndim != num_axes or target.dtype != np.int64:
        return f"expected int64 with {num_axes} axes, found {target.dtype} {target.shape}"
    if target.size and not (target.min() >= 0 and target.max() < num_labels):
        return f"expected labels from 0 to {num_labels - 1}, found {target.tolist()}"
    # Between two of the same label, a path needs a blank.
    needed = target.size + int((target[1:] == target[:-1]).sum()) if num_axes else 0
    if config.head == "ctc" and needed > len(example):
        return f"expected at least {needed} frames for {target.size} phases, found {len(example)}"
    return ""
