"""Which input entries can be folded into a stream's state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from streamer.core.feature import StatusNote

if TYPE_CHECKING:
    from streamer.core.feature import InputEntry
    from streamer.core.state import StreamState
    from streamer.models.config import ModelConfig


def misfit(item: InputEntry, state: StreamState, config: ModelConfig) -> str:
    """Why an entry can't be folded into a state; empty if it can.

    Args:
        item: The entry.
        state: What is before it.
        config: Of the model.
    """
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
