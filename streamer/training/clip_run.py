"""The whole path for heads on clips: dataset → trained model → metrics → bundle and pictures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from streamer.core.errors import ConfigError
from streamer.models.bundle import DecoderConfig, ModelConfig
from streamer.models.temporal.network import RecurrentNetwork
from streamer.training.board import Board
from streamer.training.clip_baseline import baseline
from streamer.training.clip_fit import fit_clips
from streamer.training.clip_pictures import plot_clip_curve, plot_clips
from streamer.training.clip_readings import read_with_network
from streamer.training.clip_scores import make_scorer
from streamer.training.export import check_place, write_bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from streamer.models.bundle import Bundle
    from streamer.models.config import Head, Pooling
    from streamer.models.encoders.encoder import Encoder
    from streamer.training.clip_dataset import ClipDataset
    from streamer.training.clip_fit import ClipCheck
    from streamer.training.recipe import Recipe
    from streamer.training.run import Shape

NO_PART = frozenset(
    {
        "method",
        "num_steps",
        "time_warp",
        "class_weights",
        "temporal_smoothing",
        "distillation",
        "distillation_temperature",
        "anomaly_weight",
    }
)
"""What of a recipe is for heads per frame alone."""
NO_THRESHOLDS = DecoderConfig(
    phase_temperature=1.0,
    action_temperature=1.0,
    smoothing_seconds=0.0,
    enter_C=(),
    exit_C=(),
    min_on_seconds_C=(),
    min_off_seconds_C=(),
)
"""What these heads decide needs none."""


def check_assignments(assignments: Sequence[str], head: Head) -> None:
    """Raise ConfigError for a part of the recipe that has no part in a head's training."""
    for assignment in assignments:
        name = assignment.partition("=")[0].strip()
        if name in NO_PART:
            raise ConfigError(
                f"recipe: {name} is for the head frames, and has no part in training the head "
                f"{head}; leave it out"
            )


def make_clip_config(
    dataset: ClipDataset,
    shape: Shape,
    *,
    head: Head,
    pooling: Pooling,
    name: str,
    encoder: Encoder,
    analysis_fps: float,
) -> ModelConfig:
    """The configuration of a model for a dataset of clips."""
    told = head in ("sequence", "ctc")
    return shape.config(
        name=name,
        encoder=encoder,
        analysis_fps=analysis_fps,
        phases=dataset.names if told else (),
        targets=() if told else dataset.names,
        head=head,
        pooling=pooling,
    )


def train_clip_bundle(
    out: Path,
    dataset: ClipDataset,
    *,
    config: ModelConfig,
    encoder: Encoder,
    recipe: Recipe,
    progress: Callable[[ClipCheck], None],
) -> Bundle:
    """Train, measure, and write `bundle/` and the pictures.

    A run that was interrupted goes on where it was, if it is started again in the same folder.

    Args:
        out: Folder of the run. Gets `bundle/`, `learning_curve.png`, pictures of the test part by
            head, and event files for TensorBoard in `tensorboard/`.
        dataset: To train, validate and test on.
        config: What to train.
        encoder: That made the features.
        recipe: How to train.
        progress: Is told each look at the validation part.

    Raises:
        ConfigError: `bundle/` holds something else, the folder another unfinished training, or a
            clip does not fit the model.
    """
    check_place(out / "bundle")
    torch.manual_seed(recipe.seed)
    model = RecurrentNetwork(config, dropout=recipe.dropout)
    train, validation = (
        [clip.example for clip in part] for part in (dataset.train, dataset.validation)
    )
    with Board(out / "tensorboard") as board:

        def show(look: ClipCheck) -> None:
            board.show_losses(look.update, look.train_loss, look.validation_loss)
            progress(look)

        looks = fit_clips(model, train, validation, recipe, progress=show, folder=out)
    readings = read_with_network(model, dataset.test)
    scorer = make_scorer(config, dataset.test, readings)
    scores = scorer.scores(np.ones(len(dataset.test)))
    bundle = write_bundle(
        out / "bundle",
        model=model,
        config=config,
        preprocess=encoder.preprocess,
        decoder=NO_THRESHOLDS,
        metrics={
            "origin": dataset.origin,
            "test": {
                "num_clips": len(dataset.test),
                "clips": _plain(scores),
                "baseline": _plain(baseline(config, dataset)),
            },
        },
    )
    plot_clip_curve(out / "learning_curve.png", looks, head=config.head)
    plot_clips(out, config, dataset.test, readings, scorer)
    return bundle


def _plain(scores: Mapping[str, float]) -> dict[str, Any]:
    """JSON knows no NaN."""
    return {name: None if math.isnan(value) else value for name, value in scores.items()}
