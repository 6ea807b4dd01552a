"""Deals out examples into the parts of a dataset, so that nothing is in two of them."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from streamer.core.errors import ConfigError
from streamer.training.annotations.annotation import Split

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from streamer.training.annotations.labels import Labels
    from streamer.training.dataset import Example
    from streamer.training.recording import Recording

HELD_OUT_RATIO = 0.15
"""Part of the sources for validation, and as many for the test, where the table says nothing."""
ATTEMPTS = 1000
Item = TypeVar("Item")
"""What was made of a recording."""


def deal(
    recordings: Sequence[Recording], examples: Sequence[Example], *, labels: Labels, seed: int
) -> dict[Split, tuple[Example, ...]]:
    """The examples of each part, so that the training part has seen every label.

    Args:
        recordings: What the table says.
        examples: One per recording, in the same order.
        labels: The classes.
        seed: Of chance.

    Raises:
        ConfigError: There are too few sources, or no way leaves every label to train on.
    """
    return deal_out(
        recordings, examples, missing=lambda train: missing_labels(train, labels), seed=seed
    )


def deal_out(
    recordings: Sequence[Recording],
    items: Sequence[Item],
    *,
    missing: Callable[[Sequence[Item]], Sequence[str]],
    seed: int,
) -> dict[Split, tuple[Item, ...]]:
    """What was made of each recording, by part.

    A split that the table names is kept. Parts it does not name are dealt out by chance from what
    is for training, whole sources at a time, so that nothing is missing from the training part.

    Args:
        recordings: What the table says.
        items: One per recording, in the same order.
        missing: Labels that such a training part would lack.
        seed: Of chance.

    Raises:
        ConfigError: There are too few sources, or no way leaves every label to train on.
    """
    parts: dict[Split, list[Item]] = {split: [] for split in Split}
    groups: dict[str, list[Item]] = {}
    for recording, item in zip(recordings, items, strict=True):
        if recording.split in (None, Split.TRAIN):
            groups.setdefault(recording.group, []).append(item)
        else:
            parts[recording.split].append(item)
    wanted = [split for split in (Split.VALIDATION, Split.TEST) if not parts[split]]
    held_out = max(1, round(HELD_OUT_RATIO * len(groups)))
    num_train = len(groups) - held_out * len(wanted)
    if num_train < 1:
        raise ConfigError(
            f"expected at least {1 + len(wanted)} sources to deal out into train and "
            f"{' and '.join(wanted) or 'nothing else'}, found {len(groups)}; label more videos"
        )
    order, random = list(groups), Random(seed)
    for _ in range(ATTEMPTS if wanted else 1):
        random.shuffle(order)
        train = [item for name in order[len(order) - num_train :] for item in groups[name]]
        if not missing(train):
            for index, split in enumerate(wanted):
                chosen = order[index * held_out : (index + 1) * held_out]
                parts[split] = [item for name in chosen for item in groups[name]]
            parts[Split.TRAIN] = train
            return {split: tuple(part) for split, part in parts.items()}
    raise ConfigError(
        f"expected frames of every label in the {num_train} sources to train on, found none of "
        f"{missing(train)[0]!r}; add videos with it, or remove its rows"
    )


def missing_labels(examples: Sequence[Example], labels: Labels) -> list[str]:
    """Labels that no frame has."""
    phases = {int(phase) for example in examples for phase in np.unique(example.phases_T)}
    held_A = np.zeros(len(labels.actions), bool)
    for example in examples:
        held_A |= example.actions_TA.any(axis=0)
    return [label for index, label in enumerate(labels.phases) if index not in phases] + [
        label for label, held in zip(labels.actions, held_A, strict=True) if not held
    ]
