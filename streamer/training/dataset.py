"""Clips with features and targets, in three parts that share no scene or video."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

    from streamer.core.clock import Clock
    from streamer.training.annotations import Labels
    from streamer.training.features import Clip, FeatureMaker


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
    maker: FeatureMaker,
    clock: Clock,
    progress: Callable[[str], None],
) -> tuple[Example, ...]:
    """Features and targets of clips, in order. `progress` is told each clip's name."""
    examples = []
    for clip in clips:
        progress(clip.name)
        track = maker.track(clip)
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
