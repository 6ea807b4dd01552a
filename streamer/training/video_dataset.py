"""A dataset of a user's own annotated videos."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

import numpy as np

from streamer.core.errors import ConfigError
from streamer.training.annotations import BACKGROUND, Labels, find_labels, read_annotations
from streamer.training.dataset import Dataset, make_examples
from streamer.training.video import VideoClip

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from streamer.core.clock import Clock
    from streamer.training.dataset import Example
    from streamer.training.features import FeatureMaker

MIN_VIDEOS = 3
MAX_UNLABELLED_RATIO = 0.005
"""So many frames without a phase are left out of the training instead of making `BACKGROUND`."""


def video_dataset(
    path: Path, *, seed: int, maker: FeatureMaker, clock: Clock, progress: Callable[[str], None]
) -> Dataset:
    """A user's own videos: about 70 % to train, 15 % to validate, 15 % to test.

    Args:
        path: Annotations, see `read_annotations`.
        seed: Decides which videos are in which part.
        maker: Makes the features.
        clock: For the sources.
        progress: Is told each video's name.

    Raises:
        ConfigError: The annotations are not usable, or too few.
    """
    by_video = read_annotations(path)
    if len(by_video) < MIN_VIDEOS:
        raise ConfigError(
            f"{path}: expected at least {MIN_VIDEOS} videos (to train, validate and test on), "
            f"found {len(by_video)}"
        )
    clips = [VideoClip(video, tuple(notes)) for video, notes in sorted(by_video.items())]
    labels = find_labels(by_video)
    examples = make_examples(clips, labels=labels, maker=maker, clock=clock, progress=progress)
    if labels.phases and BACKGROUND not in labels.phases and _unlabelled(examples):
        labels = Labels((*labels.phases, BACKGROUND), labels.actions)
        examples = tuple(
            replace(example, phases_T=labels.targets(clip.notes, example.pts_T)[0])
            for clip, example in zip(clips, examples, strict=True)
        )
    train, validation, test = split_examples(examples, labels=labels, seed=seed)
    origin = (
        f"{len(train)} videos of `{path.name}`; {len(validation)} to validate, {len(test)} to test"
    )
    return Dataset(origin=origin, labels=labels, train=train, validation=validation, test=test)


def _unlabelled(examples: Sequence[Example]) -> bool:
    unknown = sum(int((example.phases_T < 0).sum()) for example in examples)
    return unknown > MAX_UNLABELLED_RATIO * sum(map(len, examples))


def split_examples(
    examples: Sequence[Example], *, labels: Labels, seed: int
) -> tuple[tuple[Example, ...], tuple[Example, ...], tuple[Example, ...]]:
    """Deal out the videos so that the training part has seen every label.

    The same examples, in the same order, and the same seed always give the same parts.

    Returns:
        To train, to validate and to test on.

    Raises:
        ConfigError: There is no way to deal them out so.
    """
    held_out = max(1, round(0.15 * len(examples)))
    order = list(examples)
    random = Random(seed)
    for _ in range(1000):
        random.shuffle(order)
        train = tuple(order[2 * held_out :])
        if not _missing(train, labels):
            return train, tuple(order[:held_out]), tuple(order[held_out : 2 * held_out])
    raise ConfigError(
        f"expected every label in some of the {len(examples) - 2 * held_out} videos to train on, "
        f"found no way to deal them out so; add videos with {_missing(train, labels)[0]!r}"
    )


def _missing(examples: Sequence[Example], labels: Labels) -> list[str]:
    phases = {int(phase) for example in examples for phase in np.unique(example.phases_T)}
    held_A = np.zeros(len(labels.actions), bool)
    for example in examples:
        held_A |= example.actions_TA.any(axis=0)
    return [label for index, label in enumerate(labels.phases) if index not in phases] + [
        label for label, held in zip(labels.actions, held_A, strict=True) if not held
    ]
