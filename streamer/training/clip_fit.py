"""Training heads beyond classes per frame, on whole clips."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from streamer.training.clip_losses import ClipObjective
from streamer.training.clips import ClipBatch, check_examples, make_batch, shuffled
from streamer.training.descent import Descent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from streamer.models.temporal.heads.regression import RegressionHead
    from streamer.models.temporal.network import RecurrentNetwork
    from streamer.training.clips import ClipExample
    from streamer.training.recipe import Recipe


@dataclass(frozen=True, slots=True)
class ClipCheck:
    """A look at the validation part. Losses as `ClipObjective` has them."""

    update: int
    train_loss: float
    validation_loss: float


def fit_clips(
    model: RecurrentNetwork,
    train: Sequence[ClipExample],
    validation: Sequence[ClipExample],
    recipe: Recipe,
    *,
    objective: ClipObjective | None = None,
    progress: Callable[[ClipCheck], None] = lambda check: None,
) -> list[ClipCheck]:
    """Train in place. Same inputs, same weights.

    Each update sees `num_lanes` clips as a whole; a recipe's method, steps, time warp, class
    weights, temporal smoothing and distillation are for heads per frame, and have no part in it.

    Args:
        model: Its head is any but `frames`.
        train: To learn from.
        validation: Says when to stop, and which weights are kept: those of the best look. If it is
            empty, training goes on to `max_updates`, and the last ones are kept.
        recipe: How.
        objective: What the loss is.
        progress: Is told each look.

    Returns:
        The looks.

    Raises:
        ConfigError: A clip does not fit the model.
        ModelError: The loss is no number any more.
    """
    check_examples([*train, *validation], model.config)
    objective = objective or ClipObjective(label_smoothing=recipe.label_smoothing)
    torch.manual_seed(recipe.seed)
    torch.set_num_threads(recipe.num_threads)
    _fit_scales(model, train)
    model.to(recipe.device)
    random = np.random.default_rng(recipe.seed)
    batches = shuffled(train, size=recipe.num_lanes, random=random, device=recipe.device)
    descent = Descent(model, recipe)
    looks: list[ClipCheck] = []
    losses: list[float] = []
    best, best_loss, since_best = copy.deepcopy(model.state_dict()), np.inf, 0
    for update in range(1, recipe.max_updates + 1):
        batch = _disturbed(next(batches), model, recipe)
        losses.append(descent.update(lambda batch=batch: objective(model, batch)))  # type: ignore[misc]
        if update % recipe.check_every and update < recipe.max_updates:
            continue
        loss = _loss(descent.kept(), validation, objective, recipe) if validation else np.nan
        looks.append(ClipCheck(update, float(np.mean(losses)), loss))
        progress(looks[-1])
        losses.clear()
        since_best += 1
        if not validation or loss < best_loss:
            best, best_loss, since_best = copy.deepcopy(descent.kept().state_dict()), loss, 0
        if since_best >= recipe.patience:
            break
    model.load_state_dict(best)
    model.cpu().eval()
    return looks


def _fit_scales(model: RecurrentNetwork, train: Sequence[ClipExample]) -> None:
    frames_ND = np.concatenate([track for example in train for track in example.views])
    model.fit_normalisation(torch.from_numpy(frames_ND.astype(np.float32)))
    if model.config.head == "regression":
        targets = np.concatenate([np.atleast_2d(example.target) for example in train])
        cast("RegressionHead", model.head).fit_scale(torch.from_numpy(targets.astype(np.float32)))


@torch.no_grad()
def _loss(
    model: RecurrentNetwork,
    examples: Sequence[ClipExample],
    objective: ClipObjective,
    recipe: Recipe,
) -> float:
    """Mean over clips, in the first view."""
    model.eval()
    total, size = 0.0, recipe.num_lanes
    for start in range(0, len(examples), size):
        part = examples[start : start + size]
        batch = make_batch(
            [example.views[0] for example in part],
            [example.target for example in part],
            device=recipe.device,
        )
        total += float(objective(model, batch)) * len(part)
    return total / len(examples)


def _disturbed(batch: ClipBatch, model: RecurrentNetwork, recipe: Recipe) -> ClipBatch:
    """Noise per frame, a shift per clip, and features that are missing from a clip."""
    features_TBD = batch.features_TBD
    spread_D = 1 / model.scale_D
    shift_BD: Tensor = recipe.shift * torch.randn_like(features_TBD[0])
    features_TBD = features_TBD + shift_BD * spread_D
    if recipe.noise:
        features_TBD = features_TBD + recipe.noise * torch.randn_like(features_TBD) * spread_D
    if recipe.feature_dropout:
        keep_BD = torch.rand_like(shift_BD) >= recipe.feature_dropout
        features_TBD = torch.where(keep_BD, features_TBD, model.mean_D)
    return ClipBatch(features_TBD=features_TBD, mask_TB=batch.mask_TB, targets=batch.targets)
