from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.models.bundle import Bundle
from streamer.models.temporal.registry import open_temporal_model
from streamer.models.temporal.torch import load_network
from streamer.training.graph import make_graph
from tests.networks import ARCHITECTURES, make_bundle, make_config, make_network

STEPS, ROWS = 10_000, 3
KINDS = [(kind, norm) for kind in ARCHITECTURES for norm in (False, True)]


@pytest.fixture(autouse=True)
def one_thread():
    """Steps so small are slower with two."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make_features(config, steps: int) -> np.ndarray:
    """A slow signal under noise."""
    random = np.random.default_rng(1)
    shape = (steps, ROWS, config.feature_dim)
    slow = np.sin(np.arange(steps)[:, None, None] / random.uniform(3, 300, shape[1:]))
    return (slow + 0.5 * random.normal(size=shape)).astype(np.float32)


def zeros(model) -> np.ndarray:
    return np.zeros((model.num_layers, model.rows, model.hidden_dim), np.float32)


def test_the_graph_of_the_shipped_bundle_is_made_again_byte_for_byte():
    bundle = Bundle.load("workcell")
    assert make_graph(load_network(bundle)) == (bundle.path / "model.onnx").read_bytes()


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize(("architecture", "layer_norm"), KINDS)
def test_torch_and_onnx_agree_over_ten_thousand_steps(tmp_path, architecture, layer_norm, layers):
    config = make_config(architecture=architecture, layer_norm=layer_norm, num_layers=layers)
    network = make_network(config)
    features_TBD = make_features(config, STEPS)
    with torch.inference_mode():
        expected, (hidden_after, cell_after) = network(
            torch.from_numpy(features_TBD), network.initial_state(ROWS)
        )
    model = open_temporal_model(make_bundle(tmp_path, network), rows=ROWS)
    hidden = cell = zeros(model)
    logits = np.empty(expected.shape, np.float32)
    for t, features_BD in enumerate(features_TBD):
        logits[t], hidden, cell = model.step(features_BD, hidden, cell)
    np.testing.assert_allclose(logits, expected.numpy(), atol=1e-4, rtol=0)
    np.testing.assert_allclose(hidden, hidden_after.numpy(), atol=1e-4, rtol=0)
    # A cell that never forgets grows to thousands, and sums the roundings of all steps.
    np.testing.assert_allclose(cell, cell_after.numpy(), atol=1e-4, rtol=1e-4)
    # It does not stand still: else agreement would mean nothing.
    assert logits[-1000:].std(axis=0).mean() > 0.01


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: f"{kind[0]}-{kind[1]}")
def model(request, tmp_path_factory):
    architecture, layer_norm = request.param
    network = make_network(make_config(architecture=architecture, layer_norm=layer_norm))
    return open_temporal_model(make_bundle(tmp_path_factory.mktemp("model"), network), rows=ROWS)


@settings(deadline=None, max_examples=15)
@given(
    row=st.integers(0, ROWS - 1),
    steps=st.integers(1, 12),
    seed=st.integers(0, 2**32 - 1),
    scale=st.sampled_from([0.0, 1.0, 1e3, 6e4, np.nan, np.inf]),
)
def test_a_row_is_the_same_bits_whatever_its_batchmates(model, row, steps, seed, scale):
    random = np.random.default_rng(seed)

    def noise(shape):
        return (random.normal(size=shape) * scale).astype(np.float32)

    features_TD = random.normal(size=(steps, model.feature_dim)).astype(np.float32)
    states, outputs = [], []
    for beside in (False, True):
        hidden_LH, cell_LH = zeros(model)[:, row], zeros(model)[:, row]
        logits = []
        for features_D in features_TD:
            # At each step the state leaves the batch and comes back among others.
            features, hidden, cell = (
                noise(shape) if beside else np.zeros(shape, np.float32)
                for shape in ((model.rows, model.feature_dim), *(zeros(model).shape,) * 2)
            )
            features[row], hidden[:, row], cell[:, row] = features_D, hidden_LH, cell_LH
            result, hidden, cell = model.step(features, hidden, cell)
            logits.append(result[row].tobytes())
            hidden_LH, cell_LH = hidden[:, row].copy(), cell[:, row].copy()
        outputs.append(logits)
        states.append((hidden_LH.tobytes(), cell_LH.tobytes()))
    assert outputs[0] == outputs[1]
    assert states[0] == states[1]
    assert len(set(outputs[0])) == steps


@pytest.mark.parametrize(("architecture", "layer_norm"), KINDS)
def test_two_directions_over_a_recording_agree_with_torch(architecture, layer_norm):
    steps = 200
    config = make_config(architecture=architecture, layer_norm=layer_norm, directions=2)
    network = make_network(config)
    features_TBD = make_features(config, steps)
    state = torch.randn(2, ROWS, config.hidden_dim), torch.randn(2, ROWS, config.hidden_dim)
    with torch.inference_mode():
        expected, expected_after = network(torch.from_numpy(features_TBD), state)
    session = onnxruntime.InferenceSession(make_graph(network), providers=["CPUExecutionProvider"])
    hidden, cell = (part.numpy() for part in state)
    inputs = {"features": features_TBD, "hidden": hidden, "cell": cell}
    logits, hidden, cell = session.run(None, inputs)
    np.testing.assert_allclose(logits, expected.numpy(), atol=1e-4)
    np.testing.assert_allclose(hidden, expected_after[0].numpy(), atol=1e-4)
    np.testing.assert_allclose(cell, expected_after[1].numpy(), atol=1e-4, rtol=1e-4)
