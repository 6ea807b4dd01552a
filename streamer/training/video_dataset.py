"""A dataset of a user's own annotated videos, or of features made elsewhere."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from streamer.core.errors import ConfigError, SourceError
from streamer.training.annotations import BACKGROUND, Labels, Split, find_labels
from streamer.training.checks.check import read_checked
from streamer.training.dataset import Dataset, make_examples
from streamer.training.splitting import deal
from streamer.training.video import VideoClip

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from streamer.core.clock import Clock
    from streamer.training.checks.finding import Finding
    from streamer.training.dataset import Example, Progress
    from streamer.training.features import Clip, FeatureTrack, TrackMaker
    from streamer.training.recording import Recording

MAX_UNLABELLED_RATIO = 0.005
"""So many frames without a phase are left out of the training instead of making `BACKGROUND`."""


def video_dataset(
    path: Path,
    *,
    seed: int,
    maker: TrackMaker,
    clock: Clock,
    progress: Callable[[Progress], None],
    warn: Callable[[Finding], None] = lambda finding: None,
) -> Dataset:
    """A user's own videos, in the parts that the table names, or dealt out by chance.

    Args:
        path: The table of labels, see `streamer.training.annotations.table`.
        seed: Decides which videos are in which part.
        maker: Makes or reads the features.
        clock: For the sources.
        progress: Is told how far it is.
        warn: Is told what `streamer dataset check` would warn of, before any feature is made.

    Raises:
        ConfigError: The table or a video is not usable, or there are too few. Whatever can be
            found without decoding is found before any feature is made.
    """
    recordings = read_checked(path, progress, warn=warn)
    labels = find_labels({recording.path: recording.notes for recording in recordings})
    examples = read_examples(
        path, recordings, labels=labels, maker=maker, clock=clock, progress=progress
    )
    if labels.phases and BACKGROUND not in labels.phases and _unlabelled(examples):
        labels = Labels((*labels.phases, BACKGROUND), labels.actions)
        examples = tuple(
            replace(example, phases_T=labels.targets(recording.notes, example.pts_T)[0])
            for recording, example in zip(recordings, examples, strict=True)
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


def read_examples(
    path: Path,
    recordings: Sequence[Recording],
    *,
    labels: Labels,
    maker: TrackMaker,
    clock: Clock,
    progress: Callable[[Progress], None],
) -> tuple[Example, ...]:
    """Features and targets of the recordings of a table, in order. Arguments: `make_examples`.

    Raises:
        ConfigError: A video can't be decoded; the message names the table and its row.
    """
    clips = [VideoClip(recording.path, recording.notes) for recording in recordings]
    naming = _NamingMaker(maker, path, {each.path: each.line for each in recordings})
    return make_examples(clips, labels=labels, maker=naming, clock=clock, progress=progress)


class _NamingMaker:
    """A maker whose errors name the table and the row of the video. See `TrackMaker`."""

    def __init__(self, maker: TrackMaker, table: Path, lines: Mapping[Path, int]) -> None:
        self._maker = maker
        self._table = table
        self._lines = lines

    def track(self, clip: Clip, *, report: Callable[[float], None] | None = None) -> FeatureTrack:
        assert isinstance(clip, VideoClip)
        try:
            return self._maker.track(clip, report=report)
        except (SourceError, ConfigError) as error:
            place = f"{self._table}, line {self._lines[clip.path]}"
            told = str(error) if str(clip.path) in str(error) else f"{clip.path}: {error}"
            raise ConfigError(
                f"{place}: {told}; correct the path, replace the file, or remove its rows"
            ) from error


def _unlabelled(examples: Sequence[Example]) -> bool:
    unknown = sum(int((example.phases_T < 0).sum()) for example in examples)
    return unknown > MAX_UNLABELLED_RATIO * sum(map(len, examples))
