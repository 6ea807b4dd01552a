"""A model for fault tests: tiny, seeded, and restless, so that any wrong bit shows in events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from streamer.core.preprocess import Preprocess
from streamer.models.config import DecoderConfig, GapConfig, ModelConfig
from streamer.models.encoders.registry import open_encoder
from streamer.models.temporal.network import RecurrentNetwork
from streamer.training.export import write_bundle

if TYPE_CHECKING:
    from pathlib import Path

    from streamer.models.bundle import Bundle

SIZE, CELLS, FEATURE_DIM = 32, 4, 32
PHASES = ("alpha", "beta", "gamma")
ACTIONS = ("blink", "nod", "wave")
NUM_CLASSES = len(PHASES) + len(ACTIONS)
FPS = 10.0
RECURRENT_GAIN = 6.0
"""Above the edge of chaos: two states that differ in one bit soon say different things."""

LOGIT_SPREAD = 2.5
_OPSET, _IR_VERSION = 18, 10


@dataclass(frozen=True, slots=True)
class FaultModel:
    """A bundle and its encoder.

    Attributes:
        bundle: Loaded. It does not know where its encoder lies, so that its id is the same
            wherever it is written.
        encoder_path: The `.onnx` file, for the setting `encoder.name`.
    """

    bundle: Bundle
    encoder_path: Path


def write_model(folder: Path, *, seed: int = 0) -> FaultModel:
    """Write encoder and bundle into a folder.

    Args:
        folder: It is made.
        seed: Of all weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    encoder_path = folder / "encoder.onnx"
    encoder_path.write_bytes(_encoder_graph(random))
    preprocess = Preprocess(width=SIZE, height=SIZE)
    encoder = open_encoder(str(encoder_path), preprocess=preprocess)
    encoder_id = encoder.encoder_id
    encoder.close()
    config = ModelConfig(
        name="faults",
        architecture="lstm",
        feature_dim=FEATURE_DIM,
        projection_dim=16,
        hidden_dim=16,
        num_layers=2,
        phases=PHASES,
        actions=ACTIONS,
        analysis_fps=FPS,
        encoder="faults.onnx",
        encoder_id=encoder_id,
        gap=GapConfig(hold_seconds=1.0),
    )
    bundle = write_bundle(
        folder / "bundle",
        model=_restless(config, random, seed=seed),
        config=config,
        preprocess=preprocess,
        decoder=_decoder(),
        metrics={"origin": f"nothing: its weights are random, seed {seed}"},
    )
    return FaultModel(bundle, encoder_path)


def _decoder() -> DecoderConfig:
    num = NUM_CLASSES
    return DecoderConfig(
        phase_temperature=1.0,
        action_temperature=1.0,
        smoothing_seconds=0.1,
        enter_C=(0.5,) * len(PHASES) + (0.6,) * len(ACTIONS),
        exit_C=(0.35,) * len(PHASES) + (0.4,) * len(ACTIONS),
        min_on_seconds_C=(0.2,) * num,
        min_off_seconds_C=(0.1,) * num,
    )


def _restless(config: ModelConfig, random: np.random.Generator, *, seed: int) -> RecurrentNetwork:
    """Random weights; the head is scaled so that its outputs go back and forth over zero."""
    torch.manual_seed(seed)
    model = RecurrentNetwork(config)
    with torch.no_grad():
        for layer in range(config.num_layers):
            recurrent = getattr(model.lstm, f"weight_hh_l{layer}")
            recurrent.normal_(std=RECURRENT_GAIN / config.hidden_dim**0.5)
            # Forget gates near a half: it does not settle.
            getattr(model.lstm, f"bias_ih_l{layer}").zero_()
        model.mean_D.fill_(0.0)
        drifting = torch.tensor(random.normal(size=(600, 1, FEATURE_DIM)), dtype=torch.float32)
        features_TBD = drifting.cumsum(0) / 20
        outputs, _ = model(features_TBD, model.initial_state(1))
        weight = model.head.weight
        spread_C = outputs[:, 0].std(dim=0)
        weight.mul_((LOGIT_SPREAD / spread_C)[:, None])
        model.head.bias.zero_()
        outputs, _ = model(features_TBD, model.initial_state(1))
        model.head.bias.copy_(-outputs[:, 0].mean(dim=0))
    return model.eval()


def _encoder_graph(random: np.random.Generator) -> bytes:
    """uint8 (N, 32, 32, 3) → means of 4 x 4 cells → a random projection, float32 (N, D)."""
    inner = CELLS * CELLS * 3
    projection = random.normal(size=(inner, FEATURE_DIM)) / inner**0.5
    weights = {
        "centre": np.array(128.0, np.float32),
        "scale": np.array(1 / 32, np.float32),
        "projection": projection.astype(np.float32),
        "bias": np.zeros(FEATURE_DIM, np.float32),
    }
    side = SIZE // CELLS
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["pixels"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node(
            "AveragePool", ["planes"], ["cells"], kernel_shape=[side, side], strides=[side, side]
        ),
        helper.make_node("Flatten", ["cells"], ["flat"]),
        helper.make_node("Sub", ["flat", "centre"], ["centred"]),
        helper.make_node("Mul", ["centred", "scale"], ["scaled"]),
        helper.make_node("Gemm", ["scaled", "projection", "bias"], ["features"]),
    ]
    graph = helper.make_graph(
        nodes,
        "fault_encoder",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", SIZE, SIZE, 3])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["N", FEATURE_DIM])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    made = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="streamer",
    )
    onnx.checker.check_model(made, full_check=True)
    return made.SerializeToString(deterministic=True)
