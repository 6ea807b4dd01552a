"""A model's way through one video: what it said, and what went on inside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from streamer.stages.ctc import make_decoder
from streamer.training.clip_predict import predict_clips, predict_frames
from streamer.training.clips import ClipExample
from streamer.training.explanation.gates import record_gates
from streamer.training.fit import predict

if TYPE_CHECKING:
    from streamer.models.bundle import Bundle
    from streamer.models.config import ModelConfig
    from streamer.models.temporal.network import RecurrentNetwork
    from streamer.training.dataset import Example
    from streamer.training.explanation.gates import LayerTrace


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a model did with a video.

    Attributes:
        example: The video.
        outputs_TC: Of a head per frame, float32: calibrated probabilities, or values.
        outputs_C: Of a head that reads whole clips, float32: probabilities, or values.
        weights_T: Of a head that reads whole clips, float32: how much each frame counts; sum 1.
        layers: What happened inside; empty with two directions.
        truth: Of a regression, the true values: float32 (K,), or (T, K) with NaN where nobody
            knows.
    """

    example: Example
    outputs_TC: np.ndarray | None
    outputs_C: np.ndarray | None
    weights_T: np.ndarray | None
    layers: tuple[LayerTrace, ...]
    truth: np.ndarray | None = None

    @property
    def peak_seconds(self) -> float:
        """When the frame was that counts most."""
        assert self.weights_T is not None, "a head per frame has no weights"
        return float(self.example.pts_T[self.weights_T.argmax()])

    @property
    def effective_frames(self) -> float:
        """How many frames count: exp of the weights' entropy; T where all count alike."""
        assert self.weights_T is not None, "a head per frame has no weights"
        held_K = self.weights_T[self.weights_T > 0].astype(np.float64)
        return float(np.exp(-(held_K * np.log(held_K)).sum()))


def output_names(config: ModelConfig) -> tuple[str, ...]:
    """Of a head's outputs, in order; a CTC's last one is the blank."""
    blank = ("blank",) if config.head == "ctc" else ()
    return (*config.phases, *config.actions, *config.targets, *blank)


def look_at(
    bundle: Bundle,
    network: RecurrentNetwork,
    example: Example,
    *,
    truth: np.ndarray | None = None,
) -> Look:
    """Let a model watch a video from a fresh state.

    Args:
        bundle: Whose probabilities are calibrated.
        network: Of the bundle; its head says phases, actions or values.
        example: The video.
        truth: See `Look`.

    Raises:
        ModelError: The observed cells put out something else than the network.
    """
    config = bundle.config
    outputs_TC = outputs_C = weights_T = None
    clip = ClipExample(
        name=example.name, views=(example.features_TD,), target=np.zeros(1, np.int64)
    )
    if config.reads_whole_clips:
        outputs_NC, weights = predict_clips(network, [clip])
        outputs_C, weights_T = outputs_NC[0], weights[0]
    elif config.head == "regression":
        outputs_TC = predict_frames(network, [clip])[0]
    else:
        decoder = make_decoder(
            bundle.decoder,
            head=config.head,
            num_phases=len(config.phases),
            num_actions=len(config.actions),
            analysis_fps=config.analysis_fps,
        )
        outputs_TC = np.stack(
            [decoder.probabilities(row_C) for row_C in predict(network, [example])[0]]
        )
    return Look(
        example=example,
        outputs_TC=outputs_TC,
        outputs_C=outputs_C,
        weights_T=weights_T,
        layers=record_gates(network, example.features_TD) if config.directions == 1 else (),
        truth=truth,
    )
