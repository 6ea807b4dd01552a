"""Training the temporal model: updates, looks at the validation part, the best weights kept."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from streamer.training import checkpoint
from streamer.training.descent import Descent, check_device
from streamer.training.lanes import Lanes, LastFrames
from streamer.training.losses import UNKNOWN, Objective, frame_loss
from streamer.training.walker import Walker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from streamer.models.temporal.network import RecurrentNetwork
    from streamer.training.dataset import Dataset, Example
    from streamer.training.lanes import Windows
    from streamer.training.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Check:
    """A look at the validation part: losses in nats per frame."""

    update: int
    train_loss: float
    validation_loss: float
    phase_accuracy: float
    learning_rate: float = 0.0


@dataclass(slots=True)
class History:
    """The checks of a training, in order, and which was the best."""

    checks: list[Check] = field(default_factory=list)
    best: int = 0

    def add(self, check: Check) -> bool:
        """Returns whether it is the best so far."""
        self.checks.append(check)
        leads = len(self.checks) == 1 or (
            check.validation_loss < self.checks[self.best].validation_loss
        )
        if leads:
            self.best = len(self.checks) - 1
        return leads

    @property
    def checks_since_best(self) -> int:
        """How many looks there were without improvement."""
        return len(self.checks) - 1 - self.best


def fit(
    model: RecurrentNetwork,
    dataset: Dataset,
    recipe: Recipe,
    *,
    progress: Callable[[Check], None],
    folder: Path | None = None,
) -> History:
    """Train in place, and leave the weights of the best check. Same inputs, same weights.

    Args:
        model: To be trained.
        dataset: Its training part teaches; its validation part says when to stop.
        recipe: How.
        progress: Is told each look at the validation part.
        folder: Keeps the training while it is unfinished: one that was interrupted goes on after
            its last look, and ends with the weights it would have had.

    Raises:
        ModelError: The loss is no number any more.
        ConfigError: The folder holds another unfinished training, or there is no such device.
    """
    training = _Training(model, dataset, recipe)
    path = None if folder is None else folder / checkpoint.NAME
    digest = checkpoint.fingerprint(model.config, dataset, recipe)
    if path is not None and (saved := checkpoint.load(path, fingerprint=digest)) is not None:
        training.restore(saved)
        for check in training.history.checks:
            progress(check)
    while not training.over:
        progress(training.until_next_check())
        if path is not None:
            checkpoint.save(path, training.state(), fingerprint=digest)
    training.finish()
    if path is not None:
        path.unlink(missing_ok=True)
    return training.history


def predict(model: RecurrentNetwork, examples: Sequence[Example]) -> list[np.ndarray]:
    """Logits float32 (T, C) of each example from a fresh state, as serving would give them."""
    num_classes = model.config.num_classes
    return [outputs[:, :num_classes] for outputs in _outputs(model, examples)]


def predict_scores(model: RecurrentNetwork, examples: Sequence[Example]) -> list[np.ndarray]:
    """Scores float32 (T,) of each example by the anomaly head, as serving would give them."""
    return [outputs[:, -1] for outputs in _outputs(model, examples)]


def _outputs(model: RecurrentNetwork, examples: Sequence[Example]) -> list[np.ndarray]:
    model.eval()
    outputs = []
    with torch.inference_mode():
        for example in examples:
            features = torch.from_numpy(example.features_TD.astype(np.float32))[:, None]
            outputs_T1C, _ = model(features.to(model.mean_D.device), model.initial_state(1))
            outputs.append(outputs_T1C[:, 0].cpu().numpy())
    return outputs


class _Training:
    """All that changes while a model is trained."""

    def __init__(self, model: RecurrentNetwork, dataset: Dataset, recipe: Recipe) -> None:
        check_device(recipe.device)
        torch.manual_seed(recipe.seed)
        torch.set_num_threads(recipe.num_threads)
        stacked = np.concatenate([example.features_TD for example in dataset.train])
        model.fit_normalisation(torch.from_numpy(stacked.astype(np.float32)))
        model.to(recipe.device)
        self._model = model
        self._dataset = dataset
        self._recipe = recipe
        self._random = np.random.default_rng(recipe.seed)
        self._windows = _windows(dataset, recipe, self._random)
        num_phases = len(dataset.labels.phases)
        objective = Objective.of(recipe, dataset.train, num_phases=num_phases)
        self._walker = Walker(model, self._windows, recipe, objective)
        self._descent = Descent(model, recipe)
        self._best = copy.deepcopy(model.state_dict())
        self._update = 0
        self.history = History()

    @property
    def over(self) -> bool:
        """Whether there is nothing more to gain, or no update left."""
        patient = self.history.checks_since_best < self._recipe.patience
        return self._update >= self._recipe.max_updates or not patient

    def until_next_check(self) -> Check:
        """Update the weights until the next look at the validation part."""
        recipe, losses = self._recipe, []
        while True:
            self._update += 1
            losses.append(self._descent.update(self._walker.loss))
            if self._update % recipe.check_every == 0 or self._update == recipe.max_updates:
                break
        kept = self._descent.kept()
        check = _check(
            kept,
            self._dataset,
            update=self._update,
            train_loss=float(np.mean(losses)),
            learning_rate=self._descent.learning_rate,
            anomaly_weight=recipe.anomaly_weight,
        )
        if self.history.add(check):
            self._best = copy.deepcopy(kept.state_dict())
        return check

    def finish(self) -> None:
        """Leave the best weights in the model, on the CPU."""
        self._model.load_state_dict(self._best)
        self._model.cpu().eval()

    def state(self) -> dict[str, Any]:
        """Tensors and plain values."""
        walker = self._walker
        return {
            "update": self._update,
            "checks": [asdict(check) for check in self.history.checks],
            "best": self.history.best,
            "best_weights": self._best,
            "model": self._model.state_dict(),
            "descent": self._descent.state(),
            "walker": [*walker.state, walker.shift_BD, walker.keep_BD],
            "places": [list(place) for place in self._windows.places],
            "random": self._random.bit_generator.state,
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self._update = state["update"]
        self.history = History([Check(**check) for check in state["checks"]], state["best"])
        self._best = state["best_weights"]
        self._model.load_state_dict(state["model"])
        self._descent.restore(state["descent"])
        hidden, cell, self._walker.shift_BD, self._walker.keep_BD = state["walker"]
        self._walker.state = (hidden, cell)
        self._windows.places = [(clip, start) for clip, start in state["places"]]
        self._random.bit_generator.state = state["random"]
        torch.set_rng_state(state["torch"])
        if state["cuda"]:
            torch.cuda.set_rng_state_all(state["cuda"])


def _windows(dataset: Dataset, recipe: Recipe, random: np.random.Generator) -> Windows:
    size: dict[str, Any] = {"num_lanes": recipe.num_lanes, "num_steps": recipe.num_steps}
    if recipe.method == "window":
        return LastFrames(dataset.train, **size, random=random)
    return Lanes(dataset.train, **size, random=random, time_warp=recipe.time_warp)


def _check(
    model: RecurrentNetwork,
    dataset: Dataset,
    *,
    update: int,
    train_loss: float,
    learning_rate: float,
    anomaly_weight: float,
) -> Check:
    num_phases = len(dataset.labels.phases)
    outputs = np.concatenate(_outputs(model, dataset.validation))
    logits = outputs[:, : model.config.num_classes]
    phases = np.concatenate([example.phases_T for example in dataset.validation])
    actions = np.concatenate([example.actions_TA for example in dataset.validation])
    loss = frame_loss(
        torch.from_numpy(logits),
        torch.from_numpy(phases),
        torch.from_numpy(actions),
        num_phases=num_phases,
    )
    if model.config.anomaly_dim:
        loss = loss + anomaly_weight * float(outputs[:, -1].mean())
    known = phases != UNKNOWN
    right = logits[known, :num_phases].argmax(axis=1) == phases[known] if num_phases else []
    accuracy = float(np.mean(right)) if len(right) else 0.0
    return Check(update, train_loss, float(loss), accuracy, learning_rate)
