from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from safetensors.numpy import load_file

from streamer.core.errors import ModelError
from streamer.models.bundle import Bundle
from streamer.models.temporal.registry import open_temporal_model
from streamer.training.quantise import quantise
from tests.networks import ARCHITECTURES, make_bundle, make_config, make_network


def draw_features(dim: int, steps: int = 300, clips: int = 2) -> list[np.ndarray]:
    """As the encoder makes them: none below zero, most of them small."""
    random = np.random.default_rng(0)
    return [random.gamma(0.5, 0.5, (steps, dim)).astype(np.float16) for _ in range(clips)]


@pytest.fixture(scope="module")
def features() -> list[np.ndarray]:
    """Of the spread that the shipped bundle was trained on, holding for a second each."""
    weights = load_file(Bundle.load("workcell").path / "model.safetensors")
    random = np.random.default_rng(0)
    clips = []
    for _ in range(2):
        held = random.normal(size=(30, 1280)).repeat(10, axis=0)
        normalised = 0.9 * held + 0.3 * random.normal(size=held.shape)
        drawn = weights["mean_D"] + normalised / weights["scale_D"]
        clips.append(drawn.clip(0).astype(np.float16))
    return clips


@pytest.fixture(scope="module")
def shipped(features):
    bundle = Bundle.load("workcell")
    return bundle, quantise(bundle, features)


def test_the_shipped_bundle_gets_a_quarter_of_the_size_and_hardly_moves(shipped):
    bundle, quantised = shipped
    assert len(quantised.model) < 0.3 * (bundle.path / "model.onnx").stat().st_size
    drift = quantised.drift
    assert drift.num_frames == 600
    # Seen: 0.004 in the mean, 0.30 at most, 18 decisions of 2400.
    assert 0 < drift.mean_difference < 0.01
    assert drift.mean_difference < drift.max_difference < 0.5
    assert drift.changed_phases + drift.changed_actions < 0.05 * drift.num_frames


def test_the_same_model_gives_the_same_bytes(shipped, features):
    bundle, quantised = shipped
    assert quantise(bundle, [features[0][:1]]).model == quantised.model


def test_what_is_said_of_the_drift_is_what_the_quantised_model_does(shipped, features, tmp_path):
    bundle, quantised = shipped
    (tmp_path / "model.onnx").write_bytes(quantised.model)
    walks = []
    for path in (bundle.path, tmp_path):
        model = open_temporal_model(replace(bundle, path=path), rows=1)
        phases, actions = [], []
        for features_TD in features:
            hidden = cell = np.zeros((1, 1, 96), np.float32)
            for features_D in features_TD.astype(np.float32):
                logits, hidden, cell = model.step(features_D[None], hidden, cell)
                phases.append(logits[0, :6].argmax())
                actions.append(logits[0, 6:] >= 0)
        walks.append((np.array(phases), np.array(actions)))
    (phases, actions), (phases_after, actions_after) = walks
    assert quantised.drift.changed_phases == (phases != phases_after).sum()
    assert quantised.drift.changed_actions == (actions != actions_after).sum()


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_cell_is_quantised_in_all_its_matrices(tmp_path, architecture, layer_norm):
    config = make_config(architecture=architecture, layer_norm=layer_norm)
    bundle = make_bundle(tmp_path, make_network(config))
    quantised = quantise(bundle, draw_features(config.feature_dim, 100))
    assert 0 < quantised.drift.mean_difference < 0.05
    assert quantised.drift.max_difference < 0.5
    operators = {node.op_type for node in onnx.load_from_string(quantised.model).graph.node}
    assert "MatMulInteger" in operators
    assert not operators & {"MatMul", "Gemm"}
    onnxruntime.InferenceSession(quantised.model, providers=["CPUExecutionProvider"])


def test_no_frames_no_drift():
    bundle = Bundle.load("workcell")
    with pytest.raises(ModelError, match="expected frames"):
        quantise(bundle, [np.zeros((0, 1280), np.float16)])
