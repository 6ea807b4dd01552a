"""The online decoder of a CTC head: its best path, frame by frame, as transitions of phases.

Where the most probable symbol is a phase and was not in the frame before, that phase begins
(`streamer.models.temporal.heads.ctc.greedy_step`); between such frames the phase goes on, whatever
blanks say. A transition is confirmed at once: the best path takes nothing back.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from streamer.core.errors import ModelError
from streamer.core.event import EndReason, EventType, Status
from streamer.core.state import DecoderState, OpenSegment
from streamer.models.temporal.heads.ctc import GreedyState, greedy_step
from streamer.stages.decision import Decision
from streamer.stages.decode import Decoder

if TYPE_CHECKING:
    from streamer.models.bundle import DecoderConfig
    from streamer.stages.decision import Moment


class CtcDecoder:
    """Decides for any number of streams; holds nothing of any of them.

    It uses a `DecoderState` of P + 1 classes, the blank last: `smoothed_C` has the probabilities of
    the last frame, as they were.

    Args:
        config: Its `phase_temperature` makes the probabilities; thresholds it has none.
        num_phases: P.
        analysis_fps: Frames per second.
    """

    def __init__(self, config: DecoderConfig, *, num_phases: int, analysis_fps: float) -> None:
        self._num_symbols = num_phases + 1
        # One softmax over phases and blank; and what is open ends as with any decoder.
        self._symbols = Decoder(
            config, num_phases=self._num_symbols, num_actions=0, analysis_fps=analysis_fps
        )

    def initial(self) -> DecoderState:
        """The state of a stream before its first frame."""
        return DecoderState.initial(self._num_symbols)

    def misfit(self, state: DecoderState) -> str:
        """Why a state can't be this decoder's beside its lengths; empty if it can."""
        return self._symbols.misfit(state)

    def probabilities(self, logits_C: np.ndarray) -> np.ndarray:
        """Of phases and blank, float32 (P + 1,)."""
        return self._symbols.probabilities(logits_C)

    def decode(
        self, state: DecoderState, logits_C: np.ndarray, *, at: Moment, step_seconds: float
    ) -> tuple[DecoderState, list[Decision]]:
        """Fold in one frame. See `Decoder.decode`."""
        before_C, raw_C = state.smoothed_C, self._symbols.probabilities(logits_C)
        symbol = -1 if np.isnan(before_C[0]) else int(before_C.argmax())
        with np.errstate(divide="ignore"):
            _, emissions = greedy_step(GreedyState(symbol), np.log(raw_C)[None])
        state = replace(state, smoothed_C=raw_C)
        if not emissions:
            return state, []
        seq, captured_ns, pts_seconds = at
        phase = OpenSegment(
            label=emissions[0].label,
            start_seq=seq,
            start_ns=captured_ns,
            start_pts_seconds=pts_seconds,
            confirmed=True,
            confidence=float(raw_C[emissions[0].label]),
        )
        decision = Decision(
            type=EventType.PHASE_TRANSITION,
            label=phase.label,
            segment=phase,
            confidence=phase.confidence,
            status=Status.CONFIRMED,
            previous=None if state.phase is None else (state.phase, at, EndReason.NEXT_PHASE),
            decision_delay_seconds=0.0,
        )
        return replace(state, phase=phase), [decision]

    def close(
        self, state: DecoderState, *, at: Moment, reason: EndReason
    ) -> tuple[DecoderState, list[Decision]]:
        """End the phase at frame `at`, the last one seen. See `Decoder.close`."""
        _, decisions = self._symbols.close(state, at=at, reason=reason)
        return self.initial(), decisions


StreamDecoder = Decoder | CtcDecoder
"""What turns a model's outputs into decisions."""


def make_decoder(
    config: DecoderConfig, *, head: str, num_phases: int, num_actions: int, analysis_fps: float
) -> StreamDecoder:
    """The decoder of a model.

    Raises:
        ModelError: Its head is neither `frames` nor `ctc`, so that its outputs are no events.
    """
    if head not in ("frames", "ctc"):
        raise ModelError(
            f"head: expected frames or ctc to make events, found {head}; for its values, step the "
            f"model of streamer.models.temporal.registry.open_temporal_model yourself"
        )
    if head == "ctc":
        return CtcDecoder(config, num_phases=num_phases, analysis_fps=analysis_fps)
    return Decoder(
        config, num_phases=num_phases, num_actions=num_actions, analysis_fps=analysis_fps
    )
