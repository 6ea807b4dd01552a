"""How phases last and follow each other in labelled clips: the filter's chain."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from streamer.models.phase_filter import PhaseFilterConfig
from streamer.training.metrics import stretches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.training.dataset import Example

PSEUDO_COUNT = 0.5
"""Added to each transition that is allowed: Jeffreys' prior."""
MAX_STAGES = 4
MIN_RUNS = 3
"""With fewer whole runs a phase's duration has one stage."""


def fit_chain(
    examples: Sequence[Example], *, num_phases: int, graph_PP: np.ndarray | None = None
) -> PhaseFilterConfig:
    """The chain that labelled clips follow, with neutral exponents and no lag.

    A run at the end of a clip was cut off: its time counts, its end does not, which is the
    likeliest rate of leaving if durations are exponential (Cox and Oakes, "Analysis of Survival
    Data", 1984, chapter 3). The number of stages is mean² / variance of whole runs.

    Args:
        examples: With at least one known phase.
        num_phases: P.
        graph_PP: bool, per phase which may follow; None: any.
    """
    counts_PP, durations, ended = np.zeros((num_phases, num_phases)), [0.0] * num_phases, []
    first_P, frames_P = np.zeros(num_phases), np.ones(num_phases)
    for example in examples:
        runs = stretches(example.phases_T, example.pts_T)
        if len(example) and example.phases_T[0] >= 0:
            first_P[example.phases_T[0]] += 1
        known_T = example.phases_T[example.phases_T >= 0]
        frames_P += np.bincount(known_T, minlength=num_phases)
        for run in runs:
            durations[run.label] += run.end_seconds - run.start_seconds
        for run, following in pairwise(runs):
            if run.end_seconds == following.start_seconds:
                counts_PP[run.label, following.label] += 1
                ended.append((run.label, run.end_seconds - run.start_seconds))
    prior_P = frames_P / frames_P.sum()
    initial_P = (first_P + prior_P) / (first_P.sum() + 1)
    return PhaseFilterConfig(
        initial_P=_rounded(initial_P),
        transition_PP=_transitions(counts_PP, graph_PP),
        mean_seconds_P=_means(durations, ended),
        stages_P=tuple(
            _stages([seconds for label, seconds in ended if label == phase])
            for phase in range(num_phases)
        ),
        prior_P=_rounded(prior_P),
    )


def _transitions(
    counts_PP: np.ndarray, graph_PP: np.ndarray | None
) -> tuple[tuple[float, ...], ...]:
    allowed_PP = ~np.eye(len(counts_PP), dtype=bool)
    if graph_PP is not None:
        allowed_PP &= graph_PP.astype(bool)
    weights_PP = np.where(allowed_PP, counts_PP + PSEUDO_COUNT, 0.0)
    return tuple(
        _rounded(row / row.sum()) if row.any() else (0.0,) * len(row) for row in weights_PP
    )


def _means(durations: Sequence[float], ended: Sequence[tuple[int, float]]) -> tuple[float, ...]:
    """Seconds per end that was seen, with one more run as long as any phase is on average."""
    pooled = max(sum(durations), 1e-3) / (len(ended) + 1)
    return tuple(
        round((total + pooled) / (1 + sum(label == phase for label, _ in ended)), 6)
        for phase, total in enumerate(durations)
    )


def _stages(seconds: Sequence[float]) -> int:
    if len(seconds) < MIN_RUNS:
        return 1
    variance = float(np.var(seconds))
    if variance == 0:
        return MAX_STAGES
    return int(np.clip(round(float(np.mean(seconds)) ** 2 / variance), 1, MAX_STAGES))


def _rounded(chances: np.ndarray) -> tuple[float, ...]:
    """To eight decimals: enough to add up to 1."""
    return tuple(round(float(chance), 8) for chance in chances)
