"""A dataset of a user's own annotated videos, or of features made elsewhere."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from streamer.core.errors import ConfigError
from streamer.training.annotations import BACKGROUND, Labels, Split, find_labels
from streamer.training.checks.check import read_checked
from streamer.training.dataset import Dataset, make_examples
from streamer.training.splitting import deal
from streamer.training.video import VideoClip

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from streamer.core.clock import Clock
    from streamer.training.dataset import Example, Progress
    from streamer.training.features import TrackMaker

MAX_UNLABELLED_RATIO = 0.005
"""So many frames without a phase are left out of the training instead of making `BACKGROUND`."""


def video_dataset(
    path: Path, *, seed: int, maker: TrackMaker, clock: Clock, progress: Callable[[Progress], None]
) -> Dataset:
    """A user's own videos, in the parts that the table names, or dealt out by chance.

    Args:
        path: The table of labels, see `streamer.training.annotations.table`.
        seed: Decides which videos are in which part.
        maker: Makes or reads the features.
        clock: For the sources.
        progress: Is told how far it is.

    Raises:
        ConfigError: The table or a video is not usable, or there are too few. Found before any
            feature is made.
    """
    recordings = read_checked(path, progress)
    clips = [VideoClip(recording.path, recording.notes) for recording in recordings]
    labels = find_labels({clip.path: clip.notes for clip in clips})
    examples = make_examples(clips, labels=labels, maker=maker, clock=clock, progress=progress)
    if labels.phases and BACKGROUND not in labels.phases and _unlabelled(examples):
        labels = Labels((*labels.phases, BACKGROUND), labels.actions)
        examples = tuple(
            replace(example, phases_T=labels.targets(clip.notes, example.pts_T)[0])
            for clip, example in zip(clips, examples, strict=True)
        )
    try:
        parts = deal(recordings, examples, labels=labels, seed=seed)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    train, validation, test = (parts[split] for split in Split)
    origin = (
        f"{len(train)} videos of `{path.name}`; {len(validation)} to validate, {len(test)} to test"
    )
    return Dataset(origin=origin, labels=labels, train=train, validation=validation, test=test)


def _unlabelled(examples: Sequence[Example]) -> bool:
    unknown = sum(int((example.phases_T < 0).sum()) for example in examples)
    return unknown > MAX_UNLABELLED_RATIO * sum(map(len, examples))
