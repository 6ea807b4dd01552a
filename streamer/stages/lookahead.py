"""Frames that wait for a look ahead: how they join a stream's state, and which state has them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from streamer.core.state import WaitingFrame
from streamer.models.temporal.model import LookaheadModel

if TYPE_CHECKING:
    import numpy as np

    from streamer.core.clock import Mark
    from streamer.core.state import StreamState
    from streamer.models.temporal.model import OnlineModel
    from streamer.stages.occasion import Occasion


def joined(
    state: StreamState, occasion: Occasion, inputs_P: np.ndarray, *, ready: Mark
) -> StreamState:
    """The state with one frame more that waits.

    Args:
        state: Of a model that looks ahead.
        occasion: The frame.
        inputs_P: float32 (P,), what the network's projection made of its features.
        ready: When those were ready.
    """
    assert state.lookahead is not None, "no model looks ahead here"
    latency = occasion.latency
    frame = WaitingFrame(
        captured_at_ns=occasion.captured_at_ns,
        received_at_ns=occasion.received_at_ns,
        pts_seconds=occasion.pts_seconds,
        clock=occasion.clock,
        decode_seconds=latency.decode_seconds,
        frame_wait_seconds=latency.frame_wait_seconds,
        encode_seconds=latency.encode_seconds,
        ready=ready,
    )
    lookahead = state.lookahead.joined(frame, inputs_P)
    return replace(state, lookahead=lookahead, next_seq=occasion.seq + 1)


def misfit_lookahead(state: StreamState, model: OnlineModel) -> str:
    """Why the frames that wait in a state can't be this model's; empty if they can."""
    if not isinstance(model, LookaheadModel):
        return "" if state.lookahead is None else "expected no look ahead, found frames that wait"
    if state.lookahead is None:
        return f"expected a look ahead of {model.lookahead_frames} frames, found none"
    found = state.lookahead.inputs_WP.shape
    if found[0] > model.lookahead_frames or found[1] != model.projection_dim:
        return (
            f"expected at most {model.lookahead_frames} frames that wait, of width "
            f"{model.projection_dim}, found {found[0]} of width {found[1]}"
        )
    return ""
