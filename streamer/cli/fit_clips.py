"""`streamer fit --head`: from a table of clips to a bundle that says one thing of each."""

from __future__ import annotations

import sys
from contextlib import closing
from enum import StrEnum
from typing import TYPE_CHECKING

from streamer.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from streamer.cli.fit_labelled import FeatureOptions
    from streamer.models.bundle import Bundle
    from streamer.training.clip_fit import ClipCheck
    from streamer.training.run import Shape


class HeadChoice(StrEnum):
    """Names of `streamer.models.config.Head`."""

    FRAMES = "frames"
    SEQUENCE = "sequence"
    CTC = "ctc"
    REGRESSION = "regression"
    CAPTION = "caption"


class PoolingChoice(StrEnum):
    """Names of `streamer.models.config.Pooling`."""

    NONE = "none"
    LAST = "last"
    MEAN = "mean"
    ATTENTION = "attention"


_POOLINGS = {
    HeadChoice.SEQUENCE: (PoolingChoice.ATTENTION, PoolingChoice.LAST, PoolingChoice.MEAN),
    HeadChoice.REGRESSION: tuple(PoolingChoice),
}
"""What a head can have; the first is the default."""


def choose_pooling(head: HeadChoice, pooling: PoolingChoice | None) -> PoolingChoice:
    """The one that is asked for, or the head's default.

    Raises:
        ConfigError: The head can't have it.
    """
    known = _POOLINGS.get(head, (PoolingChoice.NONE,))
    if pooling is None:
        return known[0]
    if pooling not in known:
        raise ConfigError(
            f"--pooling: expected {' or '.join(known)} with --head {head}, found {pooling}"
        )
    return pooling


def fit_clips(
    out: Path,
    videos: Path,
    features: FeatureOptions,
    *,
    head: HeadChoice,
    pooling: PoolingChoice | None,
    shape: Shape,
    name: str | None,
    split_seed: int,
    updates: int,
    seed: int,
    assignments: Sequence[str],
) -> Bundle:
    """Train a head on clips, measure it on unseen ones, and write a bundle.

    Args:
        out: Folder of the run.
        videos: The table.
        features: What to look at the pictures with.
        head: Any but `frames`.
        pooling: None: the head's default.
        shape: Of the network.
        name: Of the bundle; None: the table's.
        split_seed: Decides which sources are in which part, where the table does not.
        updates: Most updates of the weights.
        seed: Of the weights, the order and the noise.
        assignments: Parts of the recipe.

    Raises:
        ConfigError: The table, a video or an option is not usable.
    """
    from streamer.cli.fit_labelled import open_features
    from streamer.cli.progress import clip_progress, says_how_to_go_on
    from streamer.runtime.clock import SystemClock
    from streamer.training.clip_dataset import clip_dataset
    from streamer.training.clip_run import check_assignments, make_clip_config, train_clip_bundle
    from streamer.training.export import check_place
    from streamer.training.recipe import make_recipe

    chosen = choose_pooling(head, pooling)
    check_assignments(assignments, head.value)
    if shape.lookahead_frames and (head is HeadChoice.CAPTION or chosen is not PoolingChoice.NONE):
        raise ConfigError(
            f"fit: expected --lookahead 0 with --head {head} that reads whole clips, found "
            f"{shape.lookahead_frames}; with --directions 2 it sees all of a clip"
        )
    values = {"max_updates": str(updates), "seed": str(seed), "num_lanes": "16"}
    recipe = make_recipe({**values, "check_every": "25"}, assignments)
    check_place(out / "bundle")
    encoder, maker, analysis_fps = open_features(features, videos=videos)
    with closing(encoder), clip_progress() as progress:
        dataset = clip_dataset(
            videos,
            head=head.value,
            pooling=chosen.value,
            seed=split_seed,
            maker=maker,
            clock=SystemClock(),
            progress=progress,
        )
    config = make_clip_config(
        dataset,
        shape,
        head=head.value,
        pooling=chosen.value,
        name=name or videos.stem,
        encoder=encoder,
        analysis_fps=analysis_fps,
    )
    with says_how_to_go_on(out):
        return train_clip_bundle(
            out, dataset, config=config, encoder=encoder, recipe=recipe, progress=_say_check
        )


def _say_check(look: ClipCheck) -> None:
    print(
        f"update {look.update}: training loss {look.train_loss:.3f}, validation loss "
        f"{look.validation_loss:.3f}",
        file=sys.stderr,
    )
