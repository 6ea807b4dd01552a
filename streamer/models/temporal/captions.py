"""Captions by onnxruntime: `model.onnx` reads a clip, `caption_step.onnx` says a word more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from streamer.core.errors import ModelError
from streamer.models.temporal.heads.beam import beam_search
from streamer.models.temporal.onnx import open_session, run_session

if TYPE_CHECKING:
    from typing import Any

    from streamer.models.bundle import Bundle
    from streamer.models.temporal.heads.beam import Caption, SpeakerState

READ_INPUTS = ("features", "mask")
READ_OUTPUTS = ("outputs", "keys", "hidden")
STEP_INPUTS = ("outputs", "keys", "hidden", "cell", "words")
STEP_OUTPUTS = ("logits", "weights", "hidden_after", "cell_after")


class OnnxCaptioner:
    """Captions whole clips, on the CPU.

    Args:
        bundle: Of the head `caption`.
        num_threads: Of one call.

    Raises:
        ModelError: It has another head, or a graph can't be run here.
    """

    def __init__(self, bundle: Bundle, *, num_threads: int = 1) -> None:
        config = bundle.config
        if config.head != "caption":
            raise ModelError(
                f"bundle {config.name}: expected the head caption, found {config.head}"
            )
        self._feature_dim, self._end = config.feature_dim, len(config.targets)
        self._reader = open_session(bundle.path / "model.onnx", num_threads=num_threads)
        self._stepper = open_session(bundle.path / "caption_step.onnx", num_threads=num_threads)

    def captions(
        self, features_TD: np.ndarray, *, width: int = 4, max_words: int = 40
    ) -> list[Caption]:
        """Captions of a clip, best first. See `beam_search`.

        Raises:
            ModelError: The features are of another width, or no frame.
        """
        found = features_TD.shape
        if len(found) != 2 or found[1] != self._feature_dim or not len(features_TD):
            raise ModelError(
                f"caption: expected features (T, {self._feature_dim}) of at least one frame, "
                f"found {found}"
            )
        features_T1D = features_TD.astype(np.float32)[:, None]
        mask_T1 = np.ones(features_T1D.shape[:2], np.float32)
        inputs = dict(zip(READ_INPUTS, (features_T1D, mask_T1), strict=True))
        outputs_T1I, keys_T1H, hidden_1H = run_session(self._reader, READ_OUTPUTS, inputs)
        speaker = _OnnxSpeaker(self._stepper, self._end, outputs_T1I, keys_T1H, hidden_1H)
        return beam_search(speaker, width=width, max_words=max_words)


class _OnnxSpeaker:
    """Satisfies `Speaker`."""

    def __init__(
        self,
        session: Any,
        end: int,
        outputs_T1I: np.ndarray,
        keys_T1H: np.ndarray,
        hidden_1H: np.ndarray,
    ) -> None:
        self.end, self.num_frames = end, len(outputs_T1I)
        self._session = session
        self._memory = (outputs_T1I, keys_T1H)
        self._hidden_1H = hidden_1H

    def start(self) -> SpeakerState:
        """See `Speaker.start`."""
        return self._hidden_1H, np.zeros_like(self._hidden_1H)

    def step(
        self, state: SpeakerState, words_N: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, SpeakerState]:
        """See `Speaker.step`."""
        inputs = dict(zip(STEP_INPUTS, (*self._memory, *state, words_N), strict=True))
        logits_NV, weights_TN, hidden_NH, cell_NH = run_session(self._session, STEP_OUTPUTS, inputs)
        return logits_NV, weights_TN, (hidden_NH, cell_NH)
