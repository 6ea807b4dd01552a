"""The labelled videos that a bundle is measured on."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from streamer.core.errors import ConfigError, SourceError
from streamer.training.annotations import Kind, Labels, read_annotations
from streamer.training.dataset import make_examples
from streamer.training.video import VideoClip
from streamer.training.video_dataset import MIN_VIDEOS, split_examples

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from streamer.core.clock import Clock
    from streamer.training.annotations import Annotation
    from streamer.training.dataset import Example
    from streamer.training.features import FeatureMaker


class Split(StrEnum):
    """Which of the videos: all, or a part as `streamer fit` deals them out."""

    ALL = "all"
    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


def load_videos(
    path: Path,
    *,
    labels: Labels,
    split: Split,
    seed: int,
    maker: FeatureMaker,
    clock: Clock,
    progress: Callable[[str], None],
) -> tuple[Example, ...]:
    """Features and truth of the videos.

    Args:
        path: Annotations, see `read_annotations`.
        labels: Of the bundle.
        split: Which part.
        seed: That `streamer fit` was given: it decides which videos are in which part.
        maker: Makes the features.
        clock: For the sources.
        progress: Is told each video's name.

    Raises:
        ConfigError: The annotations are not usable, name labels that the bundle doesn't know, or a
            video can't be read.
    """
    by_video = read_annotations(path)
    _check_labels(path, by_video, labels)
    if split is not Split.ALL and len(by_video) < MIN_VIDEOS:
        raise ConfigError(
            f"{path}: expected at least {MIN_VIDEOS} videos to split, found {len(by_video)}; "
            f"leave out --split to evaluate on all of them"
        )
    clips = [VideoClip(video, tuple(notes)) for video, notes in sorted(by_video.items())]
    try:
        examples = make_examples(clips, labels=labels, maker=maker, clock=clock, progress=progress)
    except SourceError as error:
        raise ConfigError(f"{path}: a video can't be read: {error}") from error
    if split is Split.ALL:
        return examples
    parts = split_examples(examples, labels=labels, seed=seed)
    return parts[(Split.TRAIN, Split.VALIDATION, Split.TEST).index(split)]


def _check_labels(
    path: Path, by_video: Mapping[Path, Sequence[Annotation]], labels: Labels
) -> None:
    known = {Kind.PHASE: labels.phases, Kind.ACTION: labels.actions}
    for video, notes in by_video.items():
        for note in notes:
            if note.label not in known[note.kind]:
                raise ConfigError(
                    f"{path}: {video.name}: expected {note.kind}s of the bundle "
                    f"({', '.join(known[note.kind]) or 'it has none'}), found {note.label!r}"
                )
