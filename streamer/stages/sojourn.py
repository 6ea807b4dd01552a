"""How phases last and follow each other: a Markov chain in continuous time.

Each phase is a row of stages, left one after the other at a constant rate, so that its duration has
an Erlang distribution: the method of stages (Cox, "A use of complex probabilities in the theory of
stochastic processes", 1955), which makes a hidden semi-Markov model an ordinary hidden Markov one.
Rates are per second of video, so that a step may have any length.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from streamer.models.phase_filter import PhaseFilterConfig

GRID = 32
"""Lengths of steps are rounded to this many per factor of e, 1.6 % at most."""
CACHED_STEPS = 64
NUM_TERMS = 20
"""Of the series: the next one is below 1/20!, less than a float's last bit."""


class PhaseChain:
    """Transition probabilities between stages. S counts the stages of all phases.

    Args:
        config: See `PhaseFilterConfig`.
        period_seconds: The usual step, which the grid of lengths holds exactly.

    Attributes:
        first_P: int64, each phase's first stage.
        phase_S: int64, the phase of each stage.
        initial_S: float64, distribution at the first frame.
        rates_SS: float64, per second, from row to column; rows add up to 0.
    """

    def __init__(self, config: PhaseFilterConfig, *, period_seconds: float) -> None:
        stages_P = np.array(config.stages_P, np.int64)
        self.first_P = np.cumsum(stages_P) - stages_P
        self.phase_S = np.repeat(np.arange(len(stages_P)), stages_P)
        self.initial_S = np.zeros(int(stages_P.sum()))
        self.initial_S[self.first_P] = config.initial_P
        self.rates_SS = self._rates(config)
        self._period_seconds = period_seconds
        self._steps: dict[int, np.ndarray] = {}

    def step(self, seconds: float) -> np.ndarray:
        """float64 (S, S): probabilities of the stage after a step of so long, by stage before it.

        A pure function of `seconds`; what it remembers only saves time.
        """
        if seconds <= 0:
            return np.eye(len(self.phase_S))
        key = round(GRID * float(np.log(seconds / self._period_seconds)))
        found = self._steps.get(key)
        if found is None:
            if len(self._steps) >= CACHED_STEPS:
                self._steps.pop(next(iter(self._steps)), None)
            found = stochastic_exponential(
                self.rates_SS * (self._period_seconds * float(np.exp(key / GRID)))
            )
            self._steps[key] = found
        return found

    def _rates(self, config: PhaseFilterConfig) -> np.ndarray:
        num_stages = len(self.phase_S)
        rates_SS = np.zeros((num_stages, num_stages))
        for phase, first in enumerate(self.first_P):
            follows_P = np.array(config.transition_PP[phase])
            if not follows_P.any():
                continue  # never left, so its stages say nothing
            last = first + config.stages_P[phase] - 1
            rate = config.stages_P[phase] / config.mean_seconds_P[phase]
            for stage in range(first, last):
                rates_SS[stage, stage + 1] = rate
            rates_SS[last, self.first_P] = rate * follows_P
        np.fill_diagonal(rates_SS, -rates_SS.sum(axis=1))
        return rates_SS


def stochastic_exponential(rates_SS: np.ndarray) -> np.ndarray:
    """Exponential of rates times time: non-negative, rows adding up to 1.

    By uniformisation, whose terms are all positive, after halving the time until fewer than one
    jump is expected; then squared as often (Moler and Van Loan, "Nineteen Dubious Ways to Compute
    the Exponential of a Matrix", SIAM Review 2003).
    """
    jumps = float(-rates_SS.diagonal().min())
    eye_SS = np.eye(len(rates_SS))
    if jumps <= 0:
        return eye_SS
    halvings = max(0, int(np.ceil(np.log2(jumps))))
    expected = jumps / 2**halvings
    jump_SS = np.maximum(eye_SS + rates_SS / jumps, 0)
    term_SS = eye_SS * np.exp(-expected)
    total_SS: np.ndarray = term_SS.copy()
    for n in range(1, NUM_TERMS):
        term_SS = term_SS @ jump_SS * (expected / n)
        total_SS += term_SS
    for _ in range(halvings):
        total_SS = total_SS @ total_SS
        total_SS /= total_SS.sum(axis=1, keepdims=True)
    return total_SS
