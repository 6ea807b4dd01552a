"""A second pass beside labels: what comes next, learnt on a network that stays as it is.

The network has learnt phases and actions and is frozen: what it says of them can't get worse. On
its hidden states the anomaly head learns to predict the next frame, and if asked the anticipation
head several. What the labelled videos show counts as normal.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import torch

from streamer.core.errors import ConfigError
from streamer.models.temporal.network import RecurrentNetwork
from streamer.training.calibration import (
    WARMUP_SECONDS,
    ScoreTrack,
    calibrate,
    count_alarms,
    needed_seconds,
)
from streamer.training.fit import predict_scores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from streamer.models.anomaly import AnomalyConfig
    from streamer.training.dataset import Dataset, Example
    from streamer.training.recipe import Recipe

ANOMALY_DIM = 8
"""Of ten minutes, more components are mostly noise, which drowns what can be foreseen."""
HELD_OUT_RATIO = 0.125
"""The last part of each video to train on, which says when to stop."""
BATCH_FRAMES = 512
"""Of an update, in eight stretches; more if frames far ahead are guessed."""
MAX_EPOCHS = 60
PATIENCE = 5
"""Epochs without improvement after which it stops."""
LEARNING_RATE = 2e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Foresight:
    """What is to be learnt beside the labels.

    Attributes:
        false_alarms_per_hour: What the thresholds of anomalies are calibrated to.
        anticipation_frames: How many frames ahead are guessed, for evaluation; 0: none.
    """

    false_alarms_per_hour: float
    anticipation_frames: int = 0


@dataclass(frozen=True, slots=True)
class Frames:
    """What the heads of the second pass see of one video.

    Attributes:
        before_TH: The last layer's hidden before each frame.
        after_TH: After it.
        targets_TK: What is predicted of it: see `AnomalyHead.targets`.
    """

    before_TH: Tensor
    after_TH: Tensor
    targets_TK: Tensor

    def part(self, frames: slice) -> Frames:
        """Some of the frames."""
        return Frames(self.before_TH[frames], self.after_TH[frames], self.targets_TK[frames])


def check_foresight(dataset: Dataset, foresight: Foresight) -> None:
    """Raise ConfigError if the validation part is too short to calibrate to that rate."""
    needed = needed_seconds(foresight.false_alarms_per_hour)
    found = sum(
        max(0.0, float(example.pts_T[-1] - example.pts_T[0]) - WARMUP_SECONDS)
        for example in dataset.validation
    )
    if found < needed:
        raise ConfigError(
            f"--anomalies: expected at least {needed / 60:.1f} minutes in the validation part "
            f"(without the first {WARMUP_SECONDS:g} s of each video) for "
            f"{foresight.false_alarms_per_hour:g} false alarms per hour, found {found / 60:.1f}; "
            "label more video, or allow more false alarms"
        )


def add_foresight(
    model: RecurrentNetwork, dataset: Dataset, recipe: Recipe, foresight: Foresight
) -> tuple[RecurrentNetwork, AnomalyConfig, dict[str, Any]]:
    """A network that says of labels what `model` says, and beside that what was unexpected.

    Args:
        model: Trained, of the head `frames` and one direction.
        dataset: Its training part teaches; its validation part calibrates.
        recipe: Its seed and number of threads.
        foresight: What to learn.

    Returns:
        The network, the thresholds, and for `metrics.json` what they rest on.

    Raises:
        ConfigError: The validation part is too short for that rate.
    """
    check_foresight(dataset, foresight)
    torch.manual_seed(recipe.seed)
    torch.set_num_threads(recipe.num_threads)
    config = msgspec.structs.replace(
        model.config,
        anomaly_dim=min(ANOMALY_DIM, model.config.feature_dim),
        anticipation_frames=foresight.anticipation_frames,
    )
    grown = RecurrentNetwork(config)
    grown.load_state_dict(model.state_dict(), strict=False)
    grown.eval()
    assert grown.anomaly is not None, "anomaly_dim is above 0"
    stacked_ND = np.concatenate([example.features_TD for example in dataset.train])
    features_ND = torch.from_numpy(stacked_ND.astype(np.float32))
    grown.anomaly.fit_basis((features_ND - grown.mean_D) * grown.scale_D)
    _teach(grown, [see(grown, example) for example in dataset.train], recipe)
    tracks = _scored(grown, dataset.validation)
    anomaly, found = calibrate(
        *tracks,
        analysis_fps=config.analysis_fps,
        false_alarms_per_hour=foresight.false_alarms_per_hour,
    )
    unseen = _scored(grown, dataset.test)
    minutes = sum(example.pts_T[-1] - example.pts_T[0] for example in dataset.train) / 60
    return (
        grown,
        anomaly,
        {
            "training_minutes": round(float(minutes), 2),
            **found,
            "test_minutes": round(sum(track.seconds for track in unseen) / 60, 2),
            "announced_in_test": sum(
                count_alarms(anomaly, track, analysis_fps=config.analysis_fps) for track in unseen
            ),
        },
    )


@torch.no_grad()
def see(model: RecurrentNetwork, example: Example) -> Frames:
    """A video as the heads of the second pass see it, from a fresh state."""
    assert model.anomaly is not None, "a model with an anomaly head"
    features_T1D = torch.from_numpy(example.features_TD.astype(np.float32))[:, None]
    state = model.initial_state(1)
    hiddens_T1H, _ = model.hiddens(features_T1D, state)
    normed_TD = (features_T1D[:, 0] - model.mean_D) * model.scale_D
    after_TH = hiddens_T1H[:, 0]
    before_TH = torch.cat((state[0][-1], after_TH[:-1]))
    return Frames(before_TH, after_TH, model.anomaly.targets(normed_TD))


def guesses(model: RecurrentNetwork, frames: Frames) -> tuple[Tensor, Tensor]:
    """Guesses and truth (T - F, F, K): of each frame, those of the F frames after it."""
    assert model.anticipation is not None, "a model with an anticipation head"
    ahead, total = model.anticipation.num_frames, len(frames.targets_TK)
    count = max(0, total - ahead)
    said = model.anticipation(frames.after_TH[:count], frames.targets_TK[:count])
    places = torch.arange(count)[:, None] + torch.arange(1, ahead + 1)
    return said, frames.targets_TK[places]


def _teach(model: RecurrentNetwork, videos: Sequence[Frames], recipe: Recipe) -> None:
    """Train the heads of the second pass, and keep their best weights."""
    heads = [head for head in (model.anomaly, model.anticipation) if head is not None]
    weights = [weight for head in heads for weight in head.parameters()]
    cuts = [max(1, round((1 - HELD_OUT_RATIO) * len(video.targets_TK))) for video in videos]
    pairs = list(zip(videos, cuts, strict=True))
    train = [video.part(slice(cut)) for video, cut in pairs]
    held_out = [video.part(slice(cut, None)) for video, cut in pairs]
    descent = torch.optim.AdamW(weights, lr=LEARNING_RATE, weight_decay=recipe.weight_decay)
    length = max(BATCH_FRAMES // 8, 4 * model.config.anticipation_frames)
    shuffle = torch.Generator().manual_seed(recipe.seed)
    best, best_loss, since_best = copy.deepcopy(model.state_dict()), float("inf"), 0
    for _ in range(MAX_EPOCHS):
        for batch in _batches(train, shuffle, length=length):
            descent.zero_grad()
            _loss(model, batch).backward()  # type: ignore[no-untyped-call]
            descent.step()
        with torch.inference_mode():
            loss = sum(float(_loss(model, [video])) for video in held_out if len(video.targets_TK))
        since_best += 1
        if loss < best_loss:
            best, best_loss, since_best = copy.deepcopy(model.state_dict()), loss, 0
        if since_best >= PATIENCE:
            break
    model.load_state_dict(best)


def _batches(
    videos: Sequence[Frames], shuffle: torch.Generator, *, length: int
) -> list[list[Frames]]:
    """Stretches of the videos in a new order, eight together."""
    pieces = [
        video.part(slice(start, start + length))
        for video in videos
        for start in range(0, len(video.targets_TK), length)
    ]
    order = torch.randperm(len(pieces), generator=shuffle).tolist()
    return [[pieces[i] for i in order[start : start + 8]] for start in range(0, len(order), 8)]


def _loss(model: RecurrentNetwork, videos: Sequence[Frames]) -> Tensor:
    """Nats per dimension of the next frame, and mean square of the guesses."""
    assert model.anomaly is not None, "a model with an anomaly head"
    before_NH = torch.cat([video.before_TH for video in videos])
    targets_NK = torch.cat([video.targets_TK for video in videos])
    loss = model.anomaly.score(before_NH, targets_NK).mean()
    if model.anticipation is not None:
        pairs = [guesses(model, video) for video in videos]
        errors = torch.cat([(said - true).flatten() for said, true in pairs])
        if len(errors):
            loss = loss + errors.square().mean()
    return loss


def _scored(model: RecurrentNetwork, examples: Sequence[Example]) -> list[ScoreTrack]:
    """Scores of each video that lasts longer than the warm-up, after it."""
    scores = zip(predict_scores(model, examples), examples, strict=True)
    tracks = [ScoreTrack(scores_T, example.pts_T) for scores_T, example in scores]
    return [track.after(WARMUP_SECONDS) for track in tracks if track.seconds > WARMUP_SECONDS]
