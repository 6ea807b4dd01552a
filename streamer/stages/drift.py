"""How far what is seen now is from what a model was trained on.

Features are compared as Gaussians with diagonal covariance; predictions by their shares of labels
and by how unsure they are. Everything per dimension, so that encoders of any width compare.

A training part has many scenes, a few cameras have one each: their features are never at distance 0
(0.5 for two rendered work cells). What counts is how a distance changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streamer.models.bundle import Bundle

SMALLEST_SHARE = 1e-4
"""Shares are not taken for smaller: the logarithm of an empty bin has no value."""


def mahalanobis_squared(mean_D: np.ndarray) -> float:
    """Squared Mahalanobis distance of a mean from the training's, divided by D.

    d² = (m - μ)ᵀ Σ⁻¹ (m - μ), with Σ diagonal (Mahalanobis, "On the generalised distance in
    statistics", 1936). A shift by k standard deviations in every dimension gives k².

    Args:
        mean_D: In units of the training's standard deviations, from its mean.
    """
    return float(np.mean(np.square(mean_D)))


def frechet_squared(mean_D: np.ndarray, std_D: np.ndarray) -> float:
    """Squared Fréchet distance between two Gaussians with diagonal covariance, divided by D.

    d² = |m - μ|² + tr(S + Σ - 2 (S Σ)^½) (Dowson and Landau, "The Fréchet distance between
    multivariate normal distributions", 1982), which for diagonal ones is |m - μ|² + |s - σ|².

    Args:
        mean_D: In units of the training's standard deviations, from its mean.
        std_D: In units of the training's standard deviations.
    """
    return float(np.mean(np.square(mean_D) + np.square(std_D - 1)))


def population_stability(shares_C: np.ndarray, expected_C: np.ndarray) -> float:
    """Population stability index: Σ (p - q) ln(p / q), 0 for the same shares.

    The symmetrised Kullback-Leibler divergence (Siddiqi, "Credit Risk Scorecards", 2006, who calls
    less than 0.1 no change, and more than 0.25 a significant one).
    """
    p, q = (np.maximum(shares, SMALLEST_SHARE) for shares in (shares_C, expected_C))
    return float(np.sum((p - q) * np.log(p / q)))


def phase_entropy(logits_NP: np.ndarray, *, temperature: float) -> np.ndarray:
    """Shannon entropy of each frame's distribution over the phases, nats (N,)."""
    scaled = logits_NP / temperature
    scaled = scaled - scaled.max(axis=1, keepdims=True)
    weights = np.exp(scaled)
    total_N = weights.sum(axis=1)
    # -Σ p ln p, with ln p = scaled - ln total.
    return np.asarray(np.log(total_N) - (weights * scaled).sum(axis=1) / total_N)


def action_entropy(logits_NA: np.ndarray, *, temperature: float) -> np.ndarray:
    """Shannon entropy of each frame's yes-or-no decisions, mean over the actions, nats (N,)."""
    scaled = np.abs(logits_NA / temperature)
    # Of sigmoid(x): ln(1 + e^-|x|) + |x| / (1 + e^|x|), without overflow.
    small = np.exp(-scaled)
    return np.asarray((np.log1p(small) + scaled * small / (1 + small)).mean(axis=1))


def predicted_counts(logits_NC: np.ndarray, *, num_phases: int, num_actions: int) -> np.ndarray:
    """Of how many frames each phase is the most probable, and each action more likely than not.

    Args:
        logits_NC: Phases, then actions; what follows is not looked at.
        num_phases: How many phases.
        num_actions: How many actions.

    Returns:
        float64 (num_phases + num_actions,).
    """
    phases, actions = np.split(logits_NC[:, : num_phases + num_actions], [num_phases], axis=1)
    held = (actions > 0).sum(axis=0)
    if num_phases:
        held = np.concatenate([np.bincount(phases.argmax(axis=1), minlength=num_phases), held])
    return np.asarray(held, np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftReference:
    """What a bundle remembers of its training.

    Attributes:
        model_id: Whose.
        mean_D: Mean of each feature.
        scale_D: Inverse of its standard deviation.
        known_D: Features whose spread is known. Those that hardly varied in training share one
            scale, which only keeps them from amplifying noise.
        num_phases: How many phases.
        num_actions: How many actions.
        phase_temperature: Of the decoder.
        action_temperature: Of the decoder.
        shares_C: Shares of the predictions on the validation part; None if nobody wrote them down.
    """

    model_id: str
    mean_D: np.ndarray
    scale_D: np.ndarray
    known_D: np.ndarray
    num_phases: int
    num_actions: int
    phase_temperature: float
    action_temperature: float
    shares_C: np.ndarray | None

    @classmethod
    def of(cls, bundle: Bundle) -> DriftReference:
        """Read it.

        Raises:
            ModelError: The weights can't be read.
        """
        config, decoder = bundle.config, bundle.decoder
        mean_D, scale_D = bundle.normalisation()
        known_D = scale_D < scale_D.max()
        validation = bundle.metrics.get("validation", {})
        return cls(
            model_id=bundle.model_id,
            mean_D=mean_D,
            scale_D=scale_D,
            known_D=known_D if known_D.any() else np.ones_like(known_D),
            num_phases=len(config.phases),
            num_actions=len(config.actions),
            phase_temperature=decoder.phase_temperature,
            action_temperature=decoder.action_temperature,
            shares_C=_shares(validation, labels=(*config.phases, *config.actions)),
        )


def _shares(
    validation: Mapping[str, Mapping[str, float]], *, labels: tuple[str, ...]
) -> np.ndarray | None:
    by_label = validation.get("predicted_shares", {})
    if any(label not in by_label for label in labels):
        return None
    return np.array([by_label[label] for label in labels], np.float64)
