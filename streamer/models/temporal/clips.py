"""Heads with pooling by onnxruntime: `model.onnx` reads a whole clip."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from streamer.core.errors import ModelError
from streamer.models.temporal.onnx import open_session, run_session

if TYPE_CHECKING:
    from streamer.models.bundle import Bundle

CLIP_INPUTS = ("features", "mask")
CLIP_OUTPUTS = ("outputs", "weights")


class OnnxClipModel:
    """Reads whole clips, on the CPU.

    Args:
        bundle: Of the head `sequence`, or `regression` with pooling.
        num_threads: Of one call.

    Raises:
        ModelError: It has another head, or the graph can't be run here.
    """

    def __init__(self, bundle: Bundle, *, num_threads: int = 1) -> None:
        config = bundle.config
        if config.pooling == "none":
            raise ModelError(
                f"bundle {config.name}: expected a head with pooling, found {config.head} without"
            )
        self._feature_dim = config.feature_dim
        self._session = open_session(bundle.path / "model.onnx", num_threads=num_threads)

    def read(self, features_TD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """One clip.

        Args:
            features_TD: Of at least one frame.

        Returns:
            Logits or values float32 (C,), and the weights over time (T,).

        Raises:
            ModelError: The features are of another width, or no frame.
        """
        found = features_TD.shape
        if len(found) != 2 or found[1] != self._feature_dim or not len(features_TD):
            raise ModelError(
                f"clip: expected features (T, {self._feature_dim}) of at least one frame, "
                f"found {found}"
            )
        features_T1D = features_TD.astype(np.float32)[:, None]
        mask_T1 = np.ones(features_T1D.shape[:2], np.float32)
        inputs = dict(zip(CLIP_INPUTS, (features_T1D, mask_T1), strict=True))
        outputs_1C, weights_T1 = run_session(self._session, CLIP_OUTPUTS, inputs)
        return outputs_1C[0], weights_T1[:, 0]
