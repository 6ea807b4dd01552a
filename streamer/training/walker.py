"""The loss, and the walk through the training part that it is taken of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from streamer.models.temporal.network import RecurrentNetwork
    from streamer.training.lanes import Lanes
    from streamer.training.recipe import Recipe

UNKNOWN = -1
"""Target of a frame whose phase nobody knows."""


class Walker:
    """Losses of window after window, the state carried from one to the next."""

    def __init__(
        self, model: RecurrentNetwork, lanes: Lanes, recipe: Recipe, *, num_phases: int
    ) -> None:
        self._model = model
        self._lanes = lanes
        self._recipe = recipe
        self._num_phases = num_phases
        self._state = model.initial_state(recipe.num_lanes)
        self._shift_BD = torch.zeros(recipe.num_lanes, len(model.mean_D))

    def loss(self) -> Tensor:
        """Of the next window, with features disturbed."""
        window, recipe = self._lanes.next_window(), self._recipe
        spread_D = 1 / self._model.scale_D
        moved_B1 = torch.from_numpy(window.moved_B)[:, None]
        fresh_BD = recipe.shift * torch.randn_like(self._shift_BD)
        self._shift_BD = torch.where(moved_B1, fresh_BD, self._shift_BD)
        features = torch.from_numpy(window.features_TBD)
        disturbed = self._shift_BD + recipe.noise * torch.randn_like(features)
        keep_B1 = torch.from_numpy(~window.begins_B).float()[:, None]
        hidden, cell = (part.detach() * keep_B1 for part in self._state)
        logits_TBC, self._state = self._model(features + disturbed * spread_D, (hidden, cell))
        return frame_loss(
            logits_TBC,
            torch.from_numpy(window.phases_TB),
            torch.from_numpy(window.actions_TBA),
            num_phases=self._num_phases,
        )


def frame_loss(logits_C: Tensor, phases: Tensor, actions_A: Tensor, *, num_phases: int) -> Tensor:
    """Nats per frame: cross-entropy of the phase, plus binary cross-entropy summed over actions.

    Args:
        logits_C: float32 (…, C).
        phases: int64 (…), `UNKNOWN` where not known.
        actions_A: float32 (…, A).
        num_phases: How many of the C are phases.
    """
    loss = functional.binary_cross_entropy_with_logits(
        logits_C[..., num_phases:], actions_A, reduction="sum"
    )
    if num_phases:
        loss = loss + functional.cross_entropy(
            logits_C[..., :num_phases].flatten(0, -2),
            phases.flatten(),
            ignore_index=UNKNOWN,
            reduction="sum",
        )
    return loss / phases.numel()
