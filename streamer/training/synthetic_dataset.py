"""A dataset of rendered scenes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamer.core.errors import ConfigError
from streamer.training.dataset import Dataset, make_examples
from streamer.training.synthetic import make_clips, scene_labels

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamer.core.clock import Clock
    from streamer.training.dataset import Progress
    from streamer.training.features import TrackMaker

TRAIN_SEEDS, VALIDATION_SEEDS, TEST_SEEDS = 10_000, 20_000, 30_000
"""First seed of each part. Demo and tests use small ones: they are unseen as well."""


def synthetic_dataset(
    scene: str,
    *,
    num_seeds: int,
    minutes: float,
    maker: TrackMaker,
    clock: Clock,
    progress: Callable[[Progress], None],
) -> Dataset:
    """Rendered scenes: one clip per seed, every other one through H.264.

    Args:
        scene: As in `synthetic:NAME`.
        num_seeds: Of the training part. Validation and test have a quarter as many each.
        minutes: Length of the training part. Clips of all parts have the same length.
        maker: Makes the features.
        clock: For the sources.
        progress: Is told how far each part is.
    """
    if num_seeds < 1 or minutes <= 0:
        raise ConfigError(
            f"expected seeds >= 1 and minutes above 0, found {num_seeds} and {minutes}"
        )
    seconds = 60 * minutes / num_seeds
    labels = scene_labels(scene)
    held_out = max(2, num_seeds // 4)
    parts = [
        make_examples(
            make_clips(scene, first_seed=first, num_seeds=count, seconds=seconds),
            labels=labels,
            maker=maker,
            clock=clock,
            progress=progress,
        )
        for first, count in (
            (TRAIN_SEEDS, num_seeds),
            (VALIDATION_SEEDS, held_out),
            (TEST_SEEDS, held_out),
        )
    ]
    origin = (
        f"the synthetic scene `{scene}`: {num_seeds} training seeds from {TRAIN_SEEDS}, "
        f"{held_out} validation seeds from {VALIDATION_SEEDS} and {held_out} test seeds from "
        f"{TEST_SEEDS}, {seconds:g} s each; every other clip went through H.264"
    )
    return Dataset(origin=origin, labels=labels, train=parts[0], validation=parts[1], test=parts[2])
