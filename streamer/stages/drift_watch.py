"""Running statistics of what a model sees and says, and their distance from its training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from streamer.stages.drift import (
    action_entropy,
    frechet_squared,
    mahalanobis_squared,
    phase_entropy,
    population_stability,
    predicted_counts,
)

if TYPE_CHECKING:
    from streamer.stages.drift import DriftReference

MEMORY_FRAMES = 4096
"""A frame so many frames ago counts 1/e of the newest."""

MIN_FRAMES = 256
"""Before so many there is nothing to say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """Distances from the training; see `streamer.stages.drift`.

    Attributes:
        mahalanobis: Squared, per feature.
        frechet: Squared, per feature.
        psi: By `phases` and `actions`, if there are such labels and the bundle knows its shares; of
            the actions the mean.
        entropy_nats: Mean entropy of a frame's prediction, by `phases` and `actions`.
    """

    mahalanobis: float
    frechet: float
    psi: dict[str, float] = field(default_factory=dict)
    entropy_nats: dict[str, float] = field(default_factory=dict)


class DriftWatch:
    """Watches the frames of one model, over all its streams. Used by one thread.

    It looks at one batch of the model for each commit, in turn, however many streams there are: a
    bounded piece of work, and every stream gets its share. Older frames count less and less.
    """

    def __init__(self, reference: DriftReference, *, memory_frames: int = MEMORY_FRAMES) -> None:
        self._reference = reference
        self._decay = np.exp(-1 / memory_frames)
        self._mean_D = reference.mean_D[reference.known_D]
        self._scale_D = reference.scale_D[reference.known_D]
        self._sum_D = np.zeros(len(self._mean_D))
        self._squares_D = np.zeros(len(self._mean_D))
        self._counts_C = np.zeros(reference.num_phases + reference.num_actions)
        self._entropies = np.zeros(2)
        self._weight = 0.0
        self._num_frames = 0
        self._turn = 0

    def choose(self, num_batches: int) -> int:
        """Which batch of this commit to look at."""
        self._turn += 1
        return self._turn % num_batches

    def take(self, features_ND: np.ndarray, logits_NC: np.ndarray) -> None:
        """Look at the frames of one batch, all alike in weight.

        Args:
            features_ND: float32 (N, D).
            logits_NC: float32 (N, C), phases, then actions.
        """
        of, num = self._reference, len(features_ND)
        units_ND = (features_ND[:, of.known_D] - self._mean_D) * self._scale_D
        rest = self._decay**num
        for total in (self._sum_D, self._squares_D, self._counts_C, self._entropies):
            total *= rest
        self._sum_D += units_ND.sum(axis=0)
        self._squares_D += np.square(units_ND).sum(axis=0)
        self._counts_C += predicted_counts(
            logits_NC, num_phases=of.num_phases, num_actions=of.num_actions
        )
        if of.num_phases:
            phases = logits_NC[:, : of.num_phases]
            self._entropies[0] += phase_entropy(phases, temperature=of.phase_temperature).sum()
        if of.num_actions:
            actions = logits_NC[:, of.num_phases : of.num_phases + of.num_actions]
            self._entropies[1] += action_entropy(actions, temperature=of.action_temperature).sum()
        self._weight = self._weight * rest + num
        self._num_frames += num

    def measure(self) -> Drift | None:
        """The distances now; None before `MIN_FRAMES`."""
        if self._num_frames < MIN_FRAMES:
            return None
        of = self._reference
        mean_D = self._sum_D / self._weight
        std_D = np.sqrt(np.maximum(self._squares_D / self._weight - np.square(mean_D), 0.0))
        present = {"phases": of.num_phases, "actions": of.num_actions}
        means = dict(zip(present, (self._entropies / self._weight).tolist(), strict=True))
        return Drift(
            mahalanobis=mahalanobis_squared(mean_D),
            frechet=frechet_squared(mean_D, std_D),
            psi=self._psi(),
            entropy_nats={labels: means[labels] for labels, number in present.items() if number},
        )

    def _psi(self) -> dict[str, float]:
        of = self._reference
        if of.shares_C is None:
            return {}
        found = {}
        (phases, actions), (expected_phases, expected_actions) = (
            np.split(shares_C, [of.num_phases])
            for shares_C in (self._counts_C / self._weight, of.shares_C)
        )
        if of.num_phases:
            found["phases"] = population_stability(phases, expected_phases)
        if of.num_actions:
            # Each is a question of its own: two shares, yes and no.
            pairs = zip(actions, expected_actions, strict=True)
            scores = [
                population_stability(np.array([p, 1 - p]), np.array([q, 1 - q])) for p, q in pairs
            ]
            found["actions"] = float(np.mean(scores))
        return found
