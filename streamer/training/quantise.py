"""The temporal model's weights as int8, and how far that moves its outputs.

Dynamic quantisation: weights are rounded to int8 once, with one scale each; what they are
multiplied with is rounded to uint8 in every step, with one scale for the whole batch
(onnxruntime, "Quantize ONNX models", dynamic quantization). One scale for all rows means that a
row's outputs depend on its batchmates: a quantised model gives reproducible events only with one
row per batch, `rows=1`. That is also how the drift is measured.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic

from streamer.core.errors import ModelError
from streamer.models.temporal.registry import open_temporal_model
from streamer.stages.decode import Decoder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.models.bundle import Bundle

ACTION_THRESHOLD = 0.5
_PREPARED = {"onnx.quant.pre_process": "onnxruntime.quant"}
"""Says to onnxruntime that shapes are known and nothing is left to be folded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """How far quantisation moved the calibrated probabilities.

    Attributes:
        num_frames: How many were compared, each clip from a fresh state.
        max_difference: Largest absolute difference of a probability.
        mean_difference: Mean absolute difference over frames and classes.
        changed_phases: Frames whose most probable phase is another.
        changed_actions: Frame-wise decisions (a probability of at least 0.5) that are others, over
            all actions.
    """

    num_frames: int
    max_difference: float
    mean_difference: float
    changed_phases: int
    changed_actions: int


@dataclass(frozen=True, slots=True)
class Quantised:
    """A quantised model.

    Attributes:
        model: The content of a `model.onnx`.
        drift: Against the model it was made of.
    """

    model: bytes
    drift: Drift


def quantise(bundle: Bundle, features: Sequence[np.ndarray]) -> Quantised:
    """Quantise a bundle's model, and measure what that does.

    Args:
        bundle: With the model in float32.
        features: Per clip (T, D), of the encoder the bundle was trained with: best those of the
            test part.

    Raises:
        ModelError: There is no frame to compare, or the bundle's model can't serve online.
    """
    if not sum(map(len, features)):
        raise ModelError("quantisation: expected frames to measure the drift on, found none")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        graph = onnx.load(bundle.path / "model.onnx")
        onnx.helper.set_model_props(graph, _PREPARED)
        quantize_dynamic(graph, path, weight_type=QuantType.QInt8)
        data = path.read_bytes()
        exact = [_probabilities(bundle, features_TD) for features_TD in features]
        rounded = [
            _probabilities(replace(bundle, path=path.parent), features_TD)
            for features_TD in features
        ]
    num_phases = len(bundle.config.phases)
    return Quantised(data, _drift(np.concatenate(exact), np.concatenate(rounded), num_phases))


def _probabilities(bundle: Bundle, features_TD: np.ndarray) -> np.ndarray:
    """Calibrated probabilities (T, C) of a clip, from a fresh state."""
    config = bundle.config
    decoder = Decoder(
        bundle.decoder,
        num_phases=len(config.phases),
        num_actions=len(config.actions),
        analysis_fps=config.analysis_fps,
    )
    model = open_temporal_model(bundle, rows=1)
    hidden = cell = np.zeros((model.num_layers, 1, model.hidden_dim), np.float32)
    outputs = []
    for features_D in features_TD.astype(np.float32):
        logits_1C, hidden, cell = model.step(features_D[None], hidden, cell)
        outputs.append(decoder.probabilities(logits_1C[0]))
    model.close()
    return np.stack(outputs)


def _drift(exact_TC: np.ndarray, rounded_TC: np.ndarray, num_phases: int) -> Drift:
    difference_TC = np.abs(exact_TC - rounded_TC)
    (phases, actions), (phases_after, actions_after) = (
        np.split(probabilities_TC, [num_phases], axis=1)
        for probabilities_TC in (exact_TC, rounded_TC)
    )
    changed = phases.argmax(axis=1) != phases_after.argmax(axis=1) if num_phases else np.zeros(1)
    switched = (actions >= ACTION_THRESHOLD) != (actions_after >= ACTION_THRESHOLD)
    return Drift(
        num_frames=len(exact_TC),
        max_difference=float(difference_TC.max()),
        mean_difference=float(difference_TC.mean()),
        changed_phases=int(changed.sum()),
        changed_actions=int(switched.sum()),
    )
