"""The walk through the training part: windows, disturbed, through the model, to a loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from streamer.training.losses import Targets

if TYPE_CHECKING:
    from torch import Tensor

    from streamer.models.temporal.network import RecurrentNetwork
    from streamer.training.lanes import Window, Windows
    from streamer.training.losses import Objective
    from streamer.training.recipe import Recipe


class Walker:
    """Losses of window after window, the state carried from one to the next.

    Attributes:
        state: Of the recurrent layers, after the last window.
        shift_BD: What is added to each lane's clip as a whole.
        keep_BD: 0 for features that are missing from a lane's clip, else 1.
    """

    def __init__(
        self, model: RecurrentNetwork, windows: Windows, recipe: Recipe, objective: Objective
    ) -> None:
        self._model = model
        self._windows = windows
        self._recipe = recipe
        self._objective = objective
        self.state = model.initial_state(recipe.num_lanes)
        self.shift_BD = torch.zeros(recipe.num_lanes, len(model.mean_D), device=recipe.device)
        self.keep_BD = torch.ones_like(self.shift_BD)

    def loss(self) -> Tensor:
        """Of the next window, with features disturbed."""
        window, device = self._windows.next_window(), self._recipe.device
        features_TBD = self._disturbed(window)
        keep_B1 = torch.from_numpy(~window.begins_B).float().to(device)[:, None]
        hidden, cell = (part.detach() * keep_B1 for part in self.state)
        clean_TBD = torch.from_numpy(window.features_TBD).to(device)
        outputs, self.state = self._model(features_TBD, (hidden, cell), clean_TBD=clean_TBD)
        num_classes = self._model.config.num_classes
        logits_TBC = outputs[..., :num_classes]
        targets = Targets(
            phases_TB=torch.from_numpy(window.phases_TB).to(device),
            actions_TBA=torch.from_numpy(window.actions_TBA).to(device),
            teacher_TBC=None
            if window.teacher_TBC is None
            else torch.from_numpy(window.teacher_TBC).to(device),
        )
        if self._recipe.method == "window":
            logits_TBC, targets = logits_TBC[-1:], targets.last()
        loss = self._objective(logits_TBC.float(), targets)
        if outputs.shape[-1] > num_classes:
            loss = loss + self._recipe.anomaly_weight * self._surprise(outputs[..., -1], window)
        return loss

    def _surprise(self, scores_TB: Tensor, window: Window) -> Tensor:
        """Mean score, but for frames of another clip than the state: nobody could foresee those."""
        leaps_B = torch.from_numpy(window.moved_B & ~window.begins_B).to(scores_TB.device)
        known_TB = torch.ones_like(scores_TB)
        known_TB[0] = (~leaps_B).to(scores_TB)
        return (scores_TB.float() * known_TB).sum() / known_TB.sum()

    def _disturbed(self, window: Window) -> Tensor:
        recipe, model = self._recipe, self._model
        features_TBD = torch.from_numpy(window.features_TBD).to(recipe.device)
        spread_D = 1 / model.scale_D
        moved_B1 = torch.from_numpy(window.moved_B).to(recipe.device)[:, None]
        fresh_BD = recipe.shift * torch.randn_like(self.shift_BD)
        self.shift_BD = torch.where(moved_B1, fresh_BD, self.shift_BD)
        disturbed = self.shift_BD + recipe.noise * torch.randn_like(features_TBD)
        features_TBD = features_TBD + disturbed * spread_D
        if recipe.feature_dropout:
            drawn_BD = (torch.rand_like(self.keep_BD) >= recipe.feature_dropout).float()
            self.keep_BD = torch.where(moved_B1, drawn_BD, self.keep_BD)
            features_TBD = torch.where(self.keep_BD > 0, features_TBD, model.mean_D)
        return features_TBD
