"""Which input entries can be folded into a stream's state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from streamer.core.feature import StatusNote
from streamer.transport.transport import Refusal, Unreadable

if TYPE_CHECKING:
    from streamer.core.feature import InputEntry
    from streamer.core.state import StreamState
    from streamer.models.config import ModelConfig
    from streamer.transport.transport import LogEntry


def admit(
    entry: LogEntry | Unreadable, state: StreamState, config: ModelConfig
) -> InputEntry | Unreadable:
    """What an entry means; itself as refused, if it can't be folded in.

    Args:
        entry: As it was read.
        state: What is before it.
        config: Of the model.
    """
    if isinstance(entry, Unreadable):
        return entry
    why = _misfit(entry.entry, state, config)
    if not why:
        return entry.entry
    return Unreadable(state.stream_id, entry.position, entry.payload, why, Refusal.MISFIT)


def _misfit(item: InputEntry, state: StreamState, config: ModelConfig) -> str:
    """Why it can't be folded in; empty if it can."""
    if item.stream_id != state.stream_id:
        return f"expected an entry of stream {state.stream_id}, found {item.stream_id}"
    if isinstance(item, StatusNote):
        return ""
    if item.encoder_id != config.encoder_id:
        return (
            f"bundle {config.name} expects features of encoder {config.encoder_id} "
            f"({config.encoder}), found {item.encoder_id}; run the encoder the bundle was "
            "trained with, or a bundle trained with this encoder"
        )
    if item.features.shape[1] != config.feature_dim:
        return (
            f"bundle {config.name} expects features of width {config.feature_dim}, found "
            f"{item.features.shape[1]}"
        )
    if (item.epoch, item.first_seq) < (state.epoch, state.next_seq):
        return (
            f"expected seq {state.next_seq} of epoch {state.epoch} or later, found seq "
            f"{item.first_seq} of epoch {item.epoch}"
        )
    if not np.isfinite(item.features).all():
        return "expected finite features, found infinity or NaN"
    return ""
