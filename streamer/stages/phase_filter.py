"""The forward filter over phases, and what later frames make of each one: fixed-lag smoothing.

Rabiner, "A Tutorial on Hidden Markov Models" (Proceedings of the IEEE, 1989), equations 18–27, with
normalised forward variables; the backward pass runs over the last frames only (Moore, "Discrete-
time fixed-lag smoothing algorithms", Automatica 1973).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from streamer.core.state import FilterState
from streamer.stages.sojourn import PhaseChain

if TYPE_CHECKING:
    from streamer.models.phase_filter import PhaseFilterConfig
    from streamer.stages.decision import Moment

PROBABILITY_FLOOR = 1e-9
"""No output rules a phase out for good."""


class PhaseFilter:
    """Filters any number of streams; holds nothing of any of them.

    Legend: P phases, S stages of all phases, W frames of the window, the last one newest.
    """

    def __init__(self, config: PhaseFilterConfig, *, analysis_fps: float) -> None:
        self._chain = PhaseChain(config, period_seconds=1 / analysis_fps)
        self._weight = config.evidence_weight
        self._log_prior_P = config.prior_exponent * np.log(config.prior_P)
        self._window = config.lag_frames + 1
        allowed_PP = np.array(config.transition_PP) > 0
        np.fill_diagonal(allowed_PP, True)
        self._allowed_PS = allowed_PP[:, self._chain.phase_S] if config.forbids else None

    def initial(self) -> FilterState:
        """The state before the first frame."""
        return FilterState.initial(
            num_stages=len(self._chain.phase_S), num_phases=len(self._chain.first_P)
        )

    def is_full(self, state: FilterState) -> bool:
        """Whether the oldest frame of the window has had the frames it waits for."""
        return len(state.seq_W) == self._window

    def misfit(self, state: FilterState | None) -> str:
        """Why a state can't be this filter's; empty if it can."""
        if state is None:
            return "expected the state of a phase filter, found none"
        expected = (len(self._chain.phase_S), len(self._chain.first_P))
        found = (len(state.forward_S), state.evidence_WP.shape[1])
        if found != expected:
            return f"phase filter: expected (stages, phases) {expected}, found {found}"
        lengths = {len(state.evidence_WP), len(state.seq_W), len(state.ns_W), len(state.pts_W)}
        if len(lengths) > 1 or max(lengths) > self._window:
            return f"phase filter: expected at most {self._window} frames, found {sorted(lengths)}"
        return ""

    def evidence(self, probabilities_P: np.ndarray) -> np.ndarray:
        """Weighted log-likelihoods of a frame, float32 (P,), the greatest 0.

        A classifier's output divided by the prior is a likelihood up to a factor: Bourlard and
        Morgan, "Connectionist Speech Recognition" (1994), chapter 7.
        """
        floored_P = np.maximum(probabilities_P.astype(np.float64), PROBABILITY_FLOOR)
        scaled_P = self._weight * (np.log(floored_P) - self._log_prior_P)
        relative_P: np.ndarray = (scaled_P - scaled_P.max()).astype(np.float32)
        return relative_P

    def advance(
        self,
        state: FilterState,
        probabilities_P: np.ndarray,
        *,
        at: Moment,
        confirmed: int | None = None,
    ) -> tuple[FilterState, np.ndarray]:
        """Take in a frame.

        The most probable phases of two frames that follow each other need not be a transition that
        is allowed: the marginals of both are sums over other paths too. So if the chain forbids
        any, what was confirmed is certain from then on, and the frame to be confirmed next has a
        phase that may follow it.

        Args:
            state: The state before it.
            probabilities_P: float32, calibrated.
            at: The frame. The step to it is the difference of presentation times.
            confirmed: The phase that the oldest frame of a full window was said to have.

        Returns:
            The state after it, and float64 (W, P): probabilities of each phase at each frame of
            the window, given all frames up to this one. The last row is the filter's.
        """
        grown = replace(
            state,
            evidence_WP=np.vstack((state.evidence_WP, self.evidence(probabilities_P))),
            seq_W=np.append(state.seq_W, at[0]),
            ns_W=np.append(state.ns_W, at[1]),
            pts_W=np.append(state.pts_W, at[2]),
        )
        likelihood_WS = np.exp(grown.evidence_WP.astype(np.float64))[:, self._chain.phase_S]
        steps = [self._chain.step(seconds) for seconds in np.diff(grown.pts_W).tolist()]
        certain = confirmed if self.is_full(state) else None
        forward_WS = self._forward(grown, likelihood_WS, steps, certain)
        if len(forward_WS) > self._window:
            forward_WS, likelihood_WS, steps = forward_WS[1:], likelihood_WS[1:], steps[1:]
            grown = replace(
                grown,
                evidence_WP=grown.evidence_WP[1:],
                seq_W=grown.seq_W[1:],
                ns_W=grown.ns_W[1:],
                pts_W=grown.pts_W[1:],
            )
        smoothed_WS = _smoothed(forward_WS, likelihood_WS, steps)
        smoothed_WP = np.add.reduceat(smoothed_WS, self._chain.first_P, axis=1)
        return replace(grown, forward_S=forward_WS[0]), smoothed_WP

    def _forward(
        self,
        state: FilterState,
        likelihood_WS: np.ndarray,
        steps: list[np.ndarray],
        certain: int | None,
    ) -> np.ndarray:
        """Filtered distributions of the stages. `forward_S` has the first frame in it already."""
        forward_WS = np.empty_like(likelihood_WS)
        if len(likelihood_WS) == 1:
            forward_WS[0] = _normalised(self._chain.initial_S * likelihood_WS[0])
            return forward_WS
        forward_WS[0] = state.forward_S
        allowed_PS = None if certain is None else self._allowed_PS
        if allowed_PS is not None:
            forward_WS[0] = _normalised(state.forward_S * (self._chain.phase_S == certain))
        for frame, step_SS in enumerate(steps, start=1):
            forward_S = (forward_WS[frame - 1] @ step_SS) * likelihood_WS[frame]
            if frame == 1 and allowed_PS is not None:
                forward_S *= allowed_PS[certain]
                if not forward_S.any():
                    # A pause so long that each way on leads further than one transition: the phase
                    # is taken to have stood still.
                    forward_S = forward_WS[0] * likelihood_WS[frame]
            forward_WS[frame] = _normalised(forward_S)
        return forward_WS


def _smoothed(
    forward_WS: np.ndarray, likelihood_WS: np.ndarray, steps: list[np.ndarray]
) -> np.ndarray:
    """Distributions of the stages given the frames after them too."""
    smoothed_WS = forward_WS.copy()
    backward_S = np.ones(forward_WS.shape[1])
    for frame in range(len(steps) - 1, -1, -1):
        backward_S = _normalised(steps[frame] @ (likelihood_WS[frame + 1] * backward_S))
        smoothed_WS[frame] = _normalised(forward_WS[frame] * backward_S)
    return smoothed_WS


def _normalised(weights_S: np.ndarray) -> np.ndarray:
    normalised_S: np.ndarray = weights_S / weights_S.sum()
    return normalised_S
