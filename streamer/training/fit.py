"""Training the temporal model: truncated backpropagation through time, stopped in time."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from streamer.core.errors import ModelError
from streamer.training.lanes import Lanes
from streamer.training.walker import UNKNOWN, Walker, frame_loss

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from streamer.models.temporal.network import RecurrentNetwork
    from streamer.training.dataset import Dataset, Example
    from streamer.training.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Check:
    """A look at the validation part: losses in nats per frame."""

    update: int
    train_loss: float
    validation_loss: float
    phase_accuracy: float


@dataclass(slots=True)
class History:
    """The checks of a training, in order, and which was the best."""

    checks: list[Check] = field(default_factory=list)
    best: int = 0


def fit(
    model: RecurrentNetwork,
    dataset: Dataset,
    recipe: Recipe,
    *,
    progress: Callable[[Check], None],
) -> History:
    """Train in place, and leave the weights of the best check. Same inputs, same weights.

    Raises:
        ModelError: The loss is no number any more.
    """
    torch.manual_seed(recipe.seed)
    torch.set_num_threads(recipe.num_threads)
    stacked = np.concatenate([example.features_TD for example in dataset.train])
    model.fit_normalisation(torch.from_numpy(stacked.astype(np.float32)))
    lanes = Lanes(
        dataset.train,
        num_lanes=recipe.num_lanes,
        num_steps=recipe.num_steps,
        random=np.random.default_rng(recipe.seed),
    )
    walker = Walker(model, lanes, recipe, num_phases=len(dataset.labels.phases))
    descent = _Descent(model, recipe)
    history, losses, best = History(), [], math.inf
    weights = copy.deepcopy(model.state_dict())
    for update in range(1, recipe.max_updates + 1):
        losses.append(descent.update(walker))
        if update % recipe.check_every and update < recipe.max_updates:
            continue
        check = _check(model, dataset, update=update, train_loss=float(np.mean(losses)))
        losses.clear()
        history.checks.append(check)
        progress(check)
        if check.validation_loss < best:
            best, history.best = check.validation_loss, len(history.checks) - 1
            weights = copy.deepcopy(model.state_dict())
        elif len(history.checks) - 1 - history.best >= recipe.patience:
            break
    model.load_state_dict(weights)
    model.eval()
    return history


def predict(model: RecurrentNetwork, examples: Sequence[Example]) -> list[np.ndarray]:
    """Logits float32 (T, C) of each example from a fresh state, as serving would give them."""
    model.eval()
    logits = []
    with torch.inference_mode():
        for example in examples:
            features = torch.from_numpy(example.features_TD.astype(np.float32))[:, None]
            logits_T1C, _ = model(features, model.initial_state(1))
            logits.append(logits_T1C[:, 0].numpy())
    return logits


class _Descent:
    """The optimiser and its schedule."""

    def __init__(self, model: RecurrentNetwork, recipe: Recipe) -> None:
        self._model = model
        self._clip_norm = recipe.clip_norm
        self._optimiser = torch.optim.AdamW(
            _groups(model, recipe.weight_decay), lr=recipe.learning_rate, betas=(0.9, 0.99)
        )
        self._schedule = torch.optim.lr_scheduler.LambdaLR(self._optimiser, recipe.rate)

    def update(self, walker: Walker) -> float:
        """One update of the weights; returns the loss before it."""
        self._model.train()
        self._optimiser.zero_grad()
        loss = walker.loss()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._model.parameters(), self._clip_norm)
        self._optimiser.step()
        self._schedule.step()
        value = float(loss.detach())
        if not math.isfinite(value):
            raise ModelError(f"training: the loss became {value}; lower the learning rate")
        return value


def _check(model: RecurrentNetwork, dataset: Dataset, *, update: int, train_loss: float) -> Check:
    num_phases = len(dataset.labels.phases)
    logits = np.concatenate(predict(model, dataset.validation))
    phases = np.concatenate([example.phases_T for example in dataset.validation])
    actions = np.concatenate([example.actions_TA for example in dataset.validation])
    loss = frame_loss(
        torch.from_numpy(logits),
        torch.from_numpy(phases),
        torch.from_numpy(actions),
        num_phases=num_phases,
    )
    known = phases != UNKNOWN
    right = logits[known, :num_phases].argmax(axis=1) == phases[known] if num_phases else []
    return Check(update, train_loss, float(loss), float(np.mean(right)) if len(right) else 0.0)


def _groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Matrices decay; biases and gains don't."""
    matrices = [weight for weight in model.parameters() if weight.ndim > 1]
    others = [weight for weight in model.parameters() if weight.ndim <= 1]
    return [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
