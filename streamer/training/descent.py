"""The optimiser: AdamW with its schedule, clipping, mixed precision and averaged weights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from streamer.core.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from streamer.models.temporal.network import RecurrentNetwork
    from streamer.training.recipe import Recipe


def check_device(device: str) -> None:
    """Raise ConfigError unless it is one that this machine has.

    Args:
        device: See `Recipe`.
    """
    count = torch.cuda.device_count()
    known = ["cpu", *(["cuda"] if count else []), *(f"cuda:{index}" for index in range(count))]
    if device not in known:
        raise ConfigError(
            f"device: expected what this machine has ({', '.join(known)}), found {device}; for a "
            "GPU, install a torch that is built for it"
        )


class Descent:
    """Updates the weights of a model.

    Args:
        model: On the recipe's device.
        recipe: How.
    """

    def __init__(self, model: RecurrentNetwork, recipe: Recipe) -> None:
        self._model = model
        self._recipe = recipe
        self._optimiser = torch.optim.AdamW(
            _groups(model, recipe.weight_decay), lr=recipe.learning_rate, betas=(0.9, 0.99)
        )
        self._schedule = torch.optim.lr_scheduler.LambdaLR(self._optimiser, recipe.rate)
        self._average = (
            AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema_decay))  # type: ignore[no-untyped-call]
            if recipe.ema_decay
            else None
        )

    @property
    def learning_rate(self) -> float:
        """Of the next update."""
        return float(self._schedule.get_last_lr()[0])

    def update(self, make_loss: Callable[[], Tensor]) -> float:
        """One update of the weights; returns the loss before it.

        Raises:
            ModelError: The loss is no number any more.
        """
        recipe = self._recipe
        self._model.train()
        self._optimiser.zero_grad()
        # bfloat16 has the range of float32: its gradients need no scaling.
        with torch.autocast("cuda", torch.bfloat16, enabled=recipe.mixed_precision):
            loss = make_loss()
        value = float(loss.detach())
        if not math.isfinite(value):
            raise ModelError(f"training: the loss became {value}; lower the learning rate")
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._model.parameters(), recipe.clip_norm)
        self._optimiser.step()
        self._schedule.step()
        if self._average is not None:
            self._average.update_parameters(self._model)
        return value

    def kept(self) -> RecurrentNetwork:
        """The network with the weights that are kept: the averaged ones, if there are such."""
        if self._average is None:
            return self._model
        return cast("RecurrentNetwork", self._average.module)

    def state(self) -> dict[str, Any]:
        """Tensors and plain values."""
        return {
            "optimiser": self._optimiser.state_dict(),
            "schedule": self._schedule.state_dict(),
            "average": None if self._average is None else self._average.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self._optimiser.load_state_dict(state["optimiser"])
        self._schedule.load_state_dict(state["schedule"])
        if self._average is not None:
            self._average.load_state_dict(state["average"])


def _groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Matrices decay; biases and gains don't."""
    matrices = [weight for weight in model.parameters() if weight.ndim > 1]
    others = [weight for weight in model.parameters() if weight.ndim <= 1]
    return [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
