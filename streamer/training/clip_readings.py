"""What a model says of clips: by its torch weights, or as a bundle serves it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from streamer.core.errors import ModelError
from streamer.models.temporal.captions import OnnxCaptioner
from streamer.models.temporal.clips import OnnxClipModel
from streamer.models.temporal.registry import open_temporal_model
from streamer.models.temporal.torch import load_network
from streamer.training.clip_predict import predict_captions, predict_clips, predict_frames
from streamer.training.clips import ClipExample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.models.bundle import Bundle
    from streamer.models.temporal.network import RecurrentNetwork
    from streamer.training.clip_dataset import LabelledClip

BEAM_WIDTH = 8
"""Of a CTC's prefixes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What was said of a clip.

    Attributes:
        outputs: `sequence`: probabilities (C,). `ctc`: log probabilities (T, C). `regression`:
            values (K,), or (T, K) without pooling. `caption`: empty.
        weights: How much each frame counted (T,); of a caption for each word (S, T); None of a head
            per frame.
        words: Of a caption.
    """

    outputs: np.ndarray
    weights: np.ndarray | None = None
    words: tuple[int, ...] = ()


def read_with_network(
    model: RecurrentNetwork, clips: Sequence[LabelledClip]
) -> tuple[Reading, ...]:
    """By a trained network."""
    examples = [clip.example for clip in clips]
    config = model.config
    if config.head == "caption":
        return tuple(
            Reading(outputs=np.zeros(0), weights=found.weights_ST, words=found.words)
            for found in predict_captions(model, examples)
        )
    if not config.reads_whole_clips:
        return tuple(Reading(outputs=outputs) for outputs in predict_frames(model, examples))
    if not examples:
        return ()
    outputs_NC, weights = predict_clips(model, examples)
    return tuple(
        Reading(outputs=outputs_C, weights=weights_T)
        for outputs_C, weights_T in zip(outputs_NC, weights, strict=True)
    )


def read_with_bundle(bundle: Bundle, tracks: Sequence[np.ndarray]) -> tuple[Reading, ...]:
    """As it is served: by the graphs, and heads per frame step by step.

    Heads per frame that walk backwards too are read by their float32 weights.

    Args:
        bundle: Of any head but `frames`.
        tracks: Features (T, D) of each clip.

    Raises:
        ModelError: The model can't be opened.
    """
    config = bundle.config
    if config.head == "caption":
        captioner = OnnxCaptioner(bundle)
        best = [captioner.captions(track_TD)[0] for track_TD in tracks]
        return tuple(
            Reading(outputs=np.zeros(0), weights=one.weights_ST, words=one.words) for one in best
        )
    if config.reads_whole_clips:
        clip_model = OnnxClipModel(bundle)
        readings = []
        for track_TD in tracks:
            outputs_C, weights_T = clip_model.read(track_TD)
            if config.head == "sequence":
                outputs_C = np.exp(_log_softmax(outputs_C))
            readings.append(Reading(outputs=outputs_C, weights=weights_T))
        return tuple(readings)
    if config.head == "frames":
        raise ModelError(f"bundle {config.name}: expected a head beyond frames, found frames")
    return tuple(Reading(outputs=outputs) for outputs in _per_frame(bundle, tracks))


def _per_frame(bundle: Bundle, tracks: Sequence[np.ndarray]) -> list[np.ndarray]:
    if bundle.config.directions == 1:
        return _stepped(bundle, tracks)
    # A step has frames behind it alone: what also walks backwards reads the recording by torch.
    examples = [
        ClipExample(name=str(k), views=(track_TD,), target=np.zeros(0))
        for k, track_TD in enumerate(tracks)
    ]
    return predict_frames(load_network(bundle), examples)


def _stepped(bundle: Bundle, tracks: Sequence[np.ndarray]) -> list[np.ndarray]:
    outputs = []
    with closing(open_temporal_model(bundle, rows=1)) as model:
        for track_TD in tracks:
            hidden = cell = np.zeros((model.num_layers, 1, model.hidden_dim), np.float32)
            rows = []
            for features_D in track_TD.astype(np.float32):
                row_1C, hidden, cell = model.step(features_D[None], hidden, cell)
                rows.append(row_1C[0].copy())
            outputs_TC = np.stack(rows)
            if bundle.config.head == "ctc":
                outputs_TC = _log_softmax(outputs_TC / bundle.decoder.phase_temperature)
            outputs.append(outputs_TC)
    return outputs


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))
