"""Clips with features and targets, in three parts that share no scene or video."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamer.core.errors import ConfigError
from streamer.training.feature_file import check_finite

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

    from streamer.core.clock import Clock
    from streamer.training.annotations import Labels
    from streamer.training.features import Clip, TrackMaker


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the features of a dataset are.

    Attributes:
        name: Of the clip at work.
        index: Of the clip, from 0.
        total: Number of clips.
        seconds: How much of the clip is done.
    """

    name: str
    index: int
    total: int
    seconds: float

    def __str__(self) -> str:
        """For people."""
        return f"features of {self.name} ({self.index + 1} of {self.total})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A clip, ready to train on.

    Attributes:
        name: For people.
        compressed: Whether it went through a video codec.
        features_TD: float16.
        pts_T: float64, seconds.
        phases_T: int64, index of the phase; -1 where nobody knows.
        actions_TA: float32, 1 where an action holds.
        teacher_TC: float32, a teacher's logits, if there is one.
    """

    name: str
    compressed: bool
    features_TD: np.ndarray
    pts_T: np.ndarray
    phases_T: np.ndarray
    actions_TA: np.ndarray
    teacher_TC: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.pts_T)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Examples by part.

    Attributes:
        origin: What it is made of, for the model card.
        labels: The classes.
        train: To learn from.
        validation: To stop in time, and to fit the decoder.
        test: To measure on, once.
    """

    origin: str
    labels: Labels
    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]


def make_examples(
    clips: Sequence[Clip],
    *,
    labels: Labels,
    maker: TrackMaker,
    clock: Clock,
    progress: Callable[[Progress], None],
) -> tuple[Example, ...]:
    """Features and targets of clips, in order.

    Args:
        clips: What to look at.
        labels: The classes.
        maker: Makes or reads the features.
        clock: For the clips.
        progress: Is told how far it is: before each clip, and every few frames.

    Raises:
        ConfigError: A feature is not finite, or a clip's features are of another width.
    """
    examples: list[Example] = []
    for index, clip in enumerate(clips):

        def report(seconds: float, clip: Clip = clip, index: int = index) -> None:
            progress(Progress(clip.name, index=index, total=len(clips), seconds=seconds))

        report(0.0)
        track = maker.track(clip, report=report)
        check_finite(clip.name, track.features_TD)
        width = track.features_TD.shape[1]
        if examples and width != examples[0].features_TD.shape[1]:
            raise ConfigError(
                f"{clip.name}: expected {examples[0].features_TD.shape[1]} features per frame, as "
                f"in {examples[0].name}, found {width}"
            )
        phases_T, actions_TA = labels.targets(clip.annotations(clock), track.pts_T)
        examples.append(
            Example(
                name=clip.name,
                compressed=clip.compressed,
                features_TD=track.features_TD,
                pts_T=track.pts_T,
                phases_T=phases_T,
                actions_TA=actions_TA,
            )
        )
    return tuple(examples)
