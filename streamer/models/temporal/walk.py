"""A model over many frames in one go, the state carried: to warm it up, or to compare it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from streamer.models.temporal.model import LookaheadModel

if TYPE_CHECKING:
    from streamer.models.temporal.model import OnlineModel


def walk(model: OnlineModel, features_TBD: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Step through T frames of each row, from a state of zeros.

    A model that looks ahead begins with a window of zeros, as if frames waited already.

    Returns:
        Outputs float32 (T, B, C), and hidden and cell after the last step (L, B, H).

    Raises:
        ModelError: The features do not fit the model.
    """
    hidden = cell = np.zeros((model.num_layers, model.rows, model.hidden_dim), np.float32)
    outputs = []
    if not isinstance(model, LookaheadModel):
        for features_BD in features_TBD:
            outputs_BC, hidden, cell = model.step(features_BD, hidden, cell)
            outputs.append(outputs_BC)
        return np.stack(outputs), hidden, cell
    shape = (model.lookahead_frames, model.rows, model.projection_dim)
    window_RBP = np.zeros(shape, np.float32)
    mask_SB = np.ones((model.lookahead_frames + 1, model.rows), np.float32)
    for features_BD in features_TBD:
        outputs_BC, hidden, cell, inputs_BP = model.step_window(
            features_BD, window_RBP, mask_SB, hidden, cell
        )
        window_RBP = np.concatenate((window_RBP[1:], inputs_BP[None]))
        outputs.append(outputs_BC)
    return np.stack(outputs), hidden, cell
