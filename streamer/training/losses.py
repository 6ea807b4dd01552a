"""What training minimises: losses of frames, in nats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.training.dataset import Example
    from streamer.training.recipe import Recipe

UNKNOWN = -1
"""Target of a frame whose phase nobody knows."""

MAX_JUMP_NATS = 4.0
"""The τ of MS-TCN's smoothing loss: a larger change of a log-probability costs no more."""

MAX_CLASS_WEIGHT = 10.0
"""A class that hardly occurs must not drown the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """What the outputs of T frames of B lanes are compared with.

    Attributes:
        phases_TB: int64, `UNKNOWN` where not known.
        actions_TBA: float32, 1 where an action holds.
        teacher_TBC: float32, logits of a teacher, if there is one.
    """

    phases_TB: Tensor
    actions_TBA: Tensor
    teacher_TBC: Tensor | None = None

    def last(self) -> Targets:
        """Those of the last frame alone."""
        teacher = None if self.teacher_TBC is None else self.teacher_TBC[-1:]
        return Targets(
            phases_TB=self.phases_TB[-1:], actions_TBA=self.actions_TBA[-1:], teacher_TBC=teacher
        )


class Objective:
    """The loss of a recipe.

    Args:
        recipe: Which parts it has, and how much each counts.
        num_phases: How many of the classes are phases.
        phase_weights_P: float32 (P,), what an error costs where that phase holds.
        action_weights_A: float32 (A,), the same for frames where an action holds.
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        num_phases: int,
        phase_weights_P: Tensor | None = None,
        action_weights_A: Tensor | None = None,
    ) -> None:
        self._recipe = recipe
        self._num_phases = num_phases
        self._phase_weights_P = phase_weights_P
        self._action_weights_A = action_weights_A

    @classmethod
    def of(cls, recipe: Recipe, examples: Sequence[Example], *, num_phases: int) -> Objective:
        """With class weights counted on the training part."""
        if recipe.class_weights == "none":
            return cls(recipe, num_phases=num_phases)
        phases_P, actions_A = class_weights(
            examples, num_phases=num_phases, kind=recipe.class_weights
        )
        return cls(
            recipe,
            num_phases=num_phases,
            phase_weights_P=torch.from_numpy(phases_P).to(recipe.device),
            action_weights_A=torch.from_numpy(actions_A).to(recipe.device),
        )

    def __call__(self, logits_TBC: Tensor, targets: Targets) -> Tensor:
        """Nats per frame, in training: with all parts of the recipe."""
        recipe, p = self._recipe, self._num_phases
        loss = frame_loss(
            logits_TBC,
            targets.phases_TB,
            targets.actions_TBA,
            num_phases=p,
            label_smoothing=recipe.label_smoothing,
            phase_weights_P=self._phase_weights_P,
            action_weights_A=self._action_weights_A,
        )
        if recipe.temporal_smoothing and len(logits_TBC) > 1:
            loss = loss + recipe.temporal_smoothing * smoothing_loss(logits_TBC, num_phases=p)
        if targets.teacher_TBC is not None:
            taught = distillation_loss(
                logits_TBC,
                targets.teacher_TBC,
                num_phases=p,
                temperature=recipe.distillation_temperature,
            )
            loss = (1 - recipe.distillation) * loss + recipe.distillation * taught
        return loss


def frame_loss(
    logits_C: Tensor,
    phases: Tensor,
    actions_A: Tensor,
    *,
    num_phases: int,
    label_smoothing: float = 0.0,
    phase_weights_P: Tensor | None = None,
    action_weights_A: Tensor | None = None,
) -> Tensor:
    """Nats per frame: cross-entropy of the phase, plus binary cross-entropy summed over actions.

    Args:
        logits_C: float32 (…, C).
        phases: int64 (…), `UNKNOWN` where not known.
        actions_A: float32 (…, A).
        num_phases: How many of the C are phases.
        label_smoothing: Part of the target that is spread over all phases; an action's target
            moves as far towards one half. Szegedy et al., "Rethinking the Inception Architecture"
            (CVPR 2016).
        phase_weights_P: Per class; None: all alike.
        action_weights_A: Of the frames where an action holds.
    """
    soft_A = actions_A * (1 - label_smoothing) + 0.5 * label_smoothing
    loss = functional.binary_cross_entropy_with_logits(
        logits_C[..., num_phases:], soft_A, pos_weight=action_weights_A, reduction="sum"
    )
    if num_phases:
        loss = loss + functional.cross_entropy(
            logits_C[..., :num_phases].flatten(0, -2),
            phases.flatten(),
            weight=phase_weights_P,
            ignore_index=UNKNOWN,
            reduction="sum",
            label_smoothing=label_smoothing,
        )
    return loss / phases.numel()


def smoothing_loss(logits_TBC: Tensor, *, num_phases: int) -> Tensor:
    """Truncated mean squared change of log-probabilities from frame to frame.

    Farha and Gall, "MS-TCN" (CVPR 2019), equations 9 to 11: the gradient flows into the later
    frame only, and a change beyond `MAX_JUMP_NATS` costs no more. Actions count with the
    log-probability that they hold.
    """
    logs = torch.cat(
        (
            functional.log_softmax(logits_TBC[..., :num_phases], dim=-1),
            functional.logsigmoid(logits_TBC[..., num_phases:]),
        ),
        dim=-1,
    )
    change = (logs[1:] - logs[:-1].detach()).abs().clamp(max=MAX_JUMP_NATS)
    return change.square().mean()


def distillation_loss(
    logits_TBC: Tensor, teacher_TBC: Tensor, *, num_phases: int, temperature: float
) -> Tensor:
    """Nats per frame between the teacher's softened outputs and ours, times temperature².

    Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network" (2015).
    """
    ours, theirs = logits_TBC / temperature, teacher_TBC / temperature
    loss = functional.binary_cross_entropy_with_logits(
        ours[..., num_phases:], theirs[..., num_phases:].sigmoid(), reduction="sum"
    )
    if num_phases:
        loss = loss + functional.kl_div(
            functional.log_softmax(ours[..., :num_phases], dim=-1),
            functional.log_softmax(theirs[..., :num_phases], dim=-1),
            log_target=True,
            reduction="sum",
        )
    frames = logits_TBC.shape[0] * logits_TBC.shape[1]
    return loss * temperature**2 / frames


def class_weights(
    examples: Sequence[Example], *, num_phases: int, kind: Literal["sqrt", "inverse"]
) -> tuple[np.ndarray, np.ndarray]:
    """Rare classes count more; the mean over frames is 1 for phases.

    Args:
        examples: The training part.
        num_phases: P.
        kind: By the inverse of a class's frequency, or the root of that.

    Returns:
        float32 (P,) of the phases; float32 (A,) of frames where an action holds, 1 for one that
        holds half of the time.
    """
    phases_N = np.concatenate([example.phases_T for example in examples])
    held_A = np.concatenate([example.actions_TA for example in examples]).mean(axis=0)
    power = 0.5 if kind == "sqrt" else 1.0
    counts_P = np.bincount(phases_N[phases_N != UNKNOWN], minlength=num_phases).astype(float)
    shares_P = np.maximum(counts_P / max(1.0, counts_P.sum()), 1e-6)
    weights_P = np.minimum((shares_P.max() / shares_P) ** power, MAX_CLASS_WEIGHT)
    mean = float((weights_P * shares_P).sum()) if num_phases else 1.0
    odds_A = (1 - held_A) / np.maximum(held_A, 1e-6)
    weights_A = np.clip(odds_A**power, 1.0, MAX_CLASS_WEIGHT)
    return (weights_P / mean).astype(np.float32), weights_A.astype(np.float32)
