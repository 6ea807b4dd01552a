"""Whether one model can take the place of another while the rest of the pipeline goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamer.core.errors import ModelError

if TYPE_CHECKING:
    from streamer.models.config import ModelConfig


def check_replacement(running: ModelConfig, new: ModelConfig) -> None:
    """Raise ModelError unless `new` reads the features that `running` reads.

    Cameras go on being sampled and encoded as they are: only the temporal model changes.
    """
    if new.encoder_id != running.encoder_id:
        raise ModelError(
            f"bundle {new.name} expects features of encoder {new.encoder_id} ({new.encoder}), "
            f"and encoder {running.encoder_id} ({running.encoder}) is running; start the pipeline "
            "anew with this bundle, or take one trained with the running encoder"
        )
    if new.analysis_fps != running.analysis_fps:
        raise ModelError(
            f"bundle {new.name} was trained at {new.analysis_fps:g} frames per second, and "
            f"bundle {running.name}, which is running, at {running.analysis_fps:g}; start the "
            "pipeline anew with this bundle, or take one trained at the same rate"
        )
