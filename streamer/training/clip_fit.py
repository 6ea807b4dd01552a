"""Training heads beyond classes per frame, on whole clips."""

from __future__ import annotations

import copy
import math
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from streamer.training import checkpoint
from streamer.training.clip_losses import ClipObjective
from streamer.training.clips import ClipBatch, Shuffle, check_examples, make_batch
from streamer.training.descent import Descent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

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
    folder: Path | None = None,
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
        folder: Keeps the training while it is unfinished: one that was interrupted goes on after
            its last look, and ends with the weights it would have had.

    Returns:
        The looks.

    Raises:
        ConfigError: A clip does not fit the model, or the folder holds another unfinished training.
        ModelError: The loss is no number any more.
    """
    check_examples([*train, *validation], model.config)
    objective = objective or ClipObjective(label_smoothing=recipe.label_smoothing)
    training = _ClipTraining(model, train, validation, recipe, objective)
    path = None if folder is None else folder / checkpoint.NAME
    digest = checkpoint.clip_fingerprint(model.config, train, validation, recipe)
    if path is not None and (saved := checkpoint.load(path, fingerprint=digest)) is not None:
        training.restore(saved)
        for look in training.looks:
            progress(look)
    while not training.over:
        progress(training.until_next_look())
        if path is not None:
            checkpoint.save(path, training.state(), fingerprint=digest)
    training.finish()
    if path is not None:
        path.unlink(missing_ok=True)
    return training.looks


class _ClipTraining:
    """All that changes while a model is trained."""

    def __init__(
        self,
        model: RecurrentNetwork,
        train: Sequence[ClipExample],
        validation: Sequence[ClipExample],
        recipe: Recipe,
        objective: ClipObjective,
    ) -> None:
        torch.manual_seed(recipe.seed)
        torch.set_num_threads(recipe.num_threads)
        _fit_scales(model, train)
        model.to(recipe.device)
        self._model = model
        self._validation = validation
        self._recipe = recipe
        self._objective = objective
        self._random = np.random.default_rng(recipe.seed)
        self._clips = Shuffle(
            train, size=recipe.num_lanes, random=self._random, device=recipe.device
        )
        self._descent = Descent(model, recipe)
        self._best = copy.deepcopy(model.state_dict())
        self._best_loss, self._since_best, self._update = math.inf, 0, 0
        self.looks: list[ClipCheck] = []

    @property
    def over(self) -> bool:
        """Whether there is nothing more to gain, or no update left."""
        impatient = self._since_best >= self._recipe.patience
        return self._update >= self._recipe.max_updates or impatient

    def until_next_look(self) -> ClipCheck:
        """Update the weights until the next look at the validation part."""
        model, recipe, losses = self._model, self._recipe, []
        while True:
            self._update += 1
            batch = _disturbed(self._clips.next_batch(), model, recipe)
            losses.append(self._descent.update(partial(self._objective, model, batch)))
            if self._update % recipe.check_every == 0 or self._update == recipe.max_updates:
                break
        kept, loss = self._descent.kept(), math.nan
        if self._validation:
            loss = _loss(kept, self._validation, self._objective, recipe)
        self._since_best += 1
        if not self._validation or loss < self._best_loss:
            self._best = copy.deepcopy(kept.state_dict())
            self._best_loss, self._since_best = loss, 0
        self.looks.append(ClipCheck(self._update, float(np.mean(losses)), loss))
        return self.looks[-1]

    def finish(self) -> None:
        """Leave the best weights in the model, on the CPU."""
        self._model.load_state_dict(self._best)
        self._model.cpu().eval()

    def state(self) -> dict[str, Any]:
        """Tensors and plain values."""
        return {
            "update": self._update,
            "looks": [asdict(look) for look in self.looks],
            "best_weights": self._best,
            "best_loss": self._best_loss,
            "since_best": self._since_best,
            "model": self._model.state_dict(),
            "descent": self._descent.state(),
            "order": self._clips.order,
            "random": self._random.bit_generator.state,
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self._update = state["update"]
        self.looks = [ClipCheck(**look) for look in state["looks"]]
        self._best, self._best_loss = state["best_weights"], state["best_loss"]
        self._since_best = state["since_best"]
        self._model.load_state_dict(state["model"])
        self._descent.restore(state["descent"])
        self._clips.order = state["order"]
        self._random.bit_generator.state = state["random"]
        torch.set_rng_state(state["torch"])
        if state["cuda"]:
            torch.cuda.set_rng_state_all(state["cuda"])


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
