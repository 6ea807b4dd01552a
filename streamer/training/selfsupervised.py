"""One camera's normal, learnt without labels: recording → trained head → thresholds → bundle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from streamer.core.errors import ConfigError
from streamer.models.bundle import DecoderConfig, GapConfig, ModelConfig
from streamer.models.temporal.network import RecurrentNetwork
from streamer.training.annotations import Labels
from streamer.training.calibration import WARMUP_SECONDS, ScoreTrack, calibrate, needed_seconds
from streamer.training.dataset import Dataset, Example
from streamer.training.export import check_place, write_bundle
from streamer.training.fit import fit, predict_scores
from streamer.training.run import HOLD_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from streamer.models.bundle import Bundle
    from streamer.models.encoders.encoder import Encoder
    from streamer.training.features import FeatureTrack
    from streamer.training.fit import Check
    from streamer.training.recipe import Recipe
    from streamer.training.run import Shape

CALIBRATION_RATIO = 0.4
"""Part of the recording, its last, that the thresholds are found on and nothing else."""
VALIDATION_RATIO = 0.1
"""Part before that, which says when to stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """A recording in order of time."""

    train: FeatureTrack
    validation: FeatureTrack
    calibration: FeatureTrack


def split(track: FeatureTrack, *, false_alarms_per_hour: float) -> Parts:
    """Cut a recording into what teaches, what says when to stop, and what calibrates.

    Raises:
        ConfigError: It is too short to calibrate to that rate.
    """
    check_length(track.seconds, false_alarms_per_hour=false_alarms_per_hour)
    begin, end = float(track.pts_T[0]), float(track.pts_T[-1])
    calibration = end - CALIBRATION_RATIO * (end - begin)
    validation = calibration - VALIDATION_RATIO * (end - begin)
    return Parts(
        train=track.between(begin, validation),
        validation=track.between(validation, calibration),
        calibration=track.between(calibration, np.inf),
    )


def check_length(seconds: float, *, false_alarms_per_hour: float) -> None:
    """Raise ConfigError if a recording so long can't be calibrated to that rate."""
    if false_alarms_per_hour <= 0:
        raise ConfigError(
            f"false alarms per hour: expected above 0, found {false_alarms_per_hour:g}"
        )
    needed = (needed_seconds(false_alarms_per_hour) + WARMUP_SECONDS) / CALIBRATION_RATIO
    if seconds < needed:
        raise ConfigError(
            f"recording: expected at least {np.ceil(needed / 6) / 10:g} minutes for "
            f"{false_alarms_per_hour:g} false alarms per hour, found {seconds / 60:.1f}; record "
            "longer, or allow more false alarms"
        )


def make_anomaly_config(
    shape: Shape, *, name: str, encoder: Encoder, analysis_fps: float, anomaly_dim: int
) -> ModelConfig:
    """The configuration of a model that knows no labels, only what is normal."""
    return ModelConfig(
        name=name,
        architecture=shape.architecture,
        layer_norm=shape.layer_norm,
        feature_dim=encoder.feature_dim,
        projection_dim=shape.projection_dim,
        hidden_dim=shape.hidden_dim,
        num_layers=shape.num_layers,
        phases=(),
        actions=(),
        analysis_fps=analysis_fps,
        encoder=encoder.name,
        encoder_id=encoder.encoder_id,
        gap=GapConfig(hold_seconds=HOLD_SECONDS),
        anomaly_dim=min(anomaly_dim, encoder.feature_dim),
    )


def train_anomaly_bundle(
    out: Path,
    track: FeatureTrack,
    *,
    origin: str,
    config: ModelConfig,
    encoder: Encoder,
    recipe: Recipe,
    false_alarms_per_hour: float,
    progress: Callable[[Check], None],
) -> Bundle:
    """Train on the first part of a recording, calibrate on the last, and write `bundle/`.

    Args:
        out: Folder of the run.
        track: Features of the recording, in which nothing unusual should happen.
        origin: What it is of, for the model card.
        config: What to train.
        encoder: That made the features.
        recipe: How to train.
        false_alarms_per_hour: At most so many, on video like it.
        progress: Is told each look at the validation part.

    Raises:
        ConfigError: The recording is too short, or `bundle/` holds something else.
    """
    check_place(out / "bundle")
    parts = split(track, false_alarms_per_hour=false_alarms_per_hour)
    dataset = Dataset(
        origin=origin,
        labels=Labels((), ()),
        train=(_example("train", parts.train),),
        validation=(_example("validation", parts.validation),),
        test=(),
    )
    torch.manual_seed(recipe.seed)
    model = RecurrentNetwork(config, dropout=recipe.dropout)
    fit(model, dataset, recipe, progress=progress, folder=out)
    (scores_T,) = predict_scores(model, [_example("calibration", parts.calibration)])
    scored = ScoreTrack(scores_T, parts.calibration.pts_T).after(WARMUP_SECONDS)
    anomaly, found = calibrate(
        scored, analysis_fps=config.analysis_fps, false_alarms_per_hour=false_alarms_per_hour
    )
    metrics: dict[str, Any] = {
        "origin": origin,
        "anomaly": {"training_minutes": round(parts.train.seconds / 60, 2), **found},
    }
    return write_bundle(
        out / "bundle",
        model=model,
        config=config,
        preprocess=encoder.preprocess,
        decoder=DecoderConfig(
            phase_temperature=1.0,
            action_temperature=1.0,
            smoothing_seconds=0.0,
            enter_C=(),
            exit_C=(),
            min_on_seconds_C=(),
            min_off_seconds_C=(),
            anomaly=anomaly,
        ),
        metrics=metrics,
    )


def _example(name: str, track: FeatureTrack) -> Example:
    return Example(
        name=name,
        compressed=True,
        features_TD=track.features_TD,
        pts_T=track.pts_T,
        phases_T=np.full(len(track.pts_T), -1),
        actions_TA=np.zeros((len(track.pts_T), 0), np.float32),
    )
