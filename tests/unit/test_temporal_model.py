from __future__ import annotations

import shutil
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.core.errors import ConfigError, ModelError
from streamer.models.bundle import Bundle
from streamer.models.temporal.registry import BACKENDS, open_temporal_model

ROWS = 4


@pytest.fixture(scope="module")
def bundle():
    return Bundle.load("workcell")


@pytest.fixture(scope="module")
def onnx_model(bundle):
    return open_temporal_model(bundle, rows=ROWS)


def make_features(model, steps: int, *, seed: int = 0) -> np.ndarray:
    """As the encoder makes them: float16 values, most of them small."""
    random = np.random.default_rng(seed)
    shape = (steps, model.rows, model.feature_dim)
    return (random.gamma(0.5, 0.5, shape)).astype(np.float16).astype(np.float32)


def zeros(model) -> np.ndarray:
    return np.zeros((model.num_layers, model.rows, model.hidden_dim), np.float32)


def walk(model, features_TBD):
    """All logits (T, B, C), and the state after the last step."""
    hidden, cell = zeros(model), zeros(model)
    logits = []
    for features_BD in features_TBD:
        outputs, hidden, cell = model.step(features_BD, hidden, cell)
        logits.append(outputs)
    return np.stack(logits), hidden, cell


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_step_has_the_shapes_of_the_bundle(bundle, backend):
    model = open_temporal_model(bundle, rows=3, backend=backend)
    assert (model.rows, model.num_classes) == (3, bundle.config.num_classes)
    logits, hidden, cell = walk(model, make_features(model, 2))
    assert logits.shape == (2, 3, bundle.config.num_classes)
    assert hidden.shape == cell.shape == (model.num_layers, 3, model.hidden_dim)
    assert logits.dtype == hidden.dtype == cell.dtype == np.float32
    assert np.isfinite(logits).all()
    model.close()
    model.close()
    with pytest.raises(ModelError, match="closed"):
        walk(model, make_features(model, 1))


def test_torch_and_onnx_agree_over_a_thousand_steps(bundle, onnx_model):
    torch_model = open_temporal_model(bundle, rows=ROWS, backend="torch")
    features = make_features(onnx_model, 1000)
    by_onnx, by_torch = walk(onnx_model, features), walk(torch_model, features)
    for ours, theirs in zip(by_onnx, by_torch, strict=True):
        # Cells grow to hundreds on such features, hence a relative part.
        np.testing.assert_allclose(ours, theirs, atol=1e-4, rtol=1e-5)
    assert np.abs(by_onnx[0]).max() > 0.1


# Lengths of the chunks that a stream's features come in, and what happens beside it.
@settings(deadline=None, max_examples=25)
@given(
    row=st.integers(0, ROWS - 1),
    chunks=st.lists(st.integers(1, 7), min_size=1, max_size=8),
    seed=st.integers(0, 2**32 - 1),
    scale=st.sampled_from([0.0, 1.0, 1e3, 6e4, np.nan, np.inf]),
)
def test_a_row_is_the_same_bits_whatever_the_chunks_and_batchmates(
    onnx_model, row, chunks, seed, scale
):
    random = np.random.default_rng(seed)
    model, steps = onnx_model, sum(chunks)
    features_TD = make_features(model, steps, seed=seed)[:, row]
    alone = np.zeros((steps, model.rows, model.feature_dim), np.float32)
    alone[:, row] = features_TD
    expected_logits, expected_hidden, expected_cell = walk(model, alone)

    hidden_LH, cell_LH = zeros(model)[:, row], zeros(model)[:, row]
    logits, at = [], 0
    for length in chunks:
        # Between chunks the state leaves the batch and comes back among others.
        for features_D in features_TD[at : at + length]:
            features = (random.normal(size=(model.rows, model.feature_dim)) * scale).astype(
                np.float32
            )
            hidden = (random.normal(size=zeros(model).shape) * scale).astype(np.float32)
            cell = (random.normal(size=zeros(model).shape) * scale).astype(np.float32)
            features[row], hidden[:, row], cell[:, row] = features_D, hidden_LH, cell_LH
            outputs, hidden, cell = model.step(features, hidden, cell)
            logits.append(outputs[row].copy())
            hidden_LH, cell_LH = hidden[:, row].copy(), cell[:, row].copy()
        at += length
    assert np.stack(logits).tobytes() == expected_logits[:, row].tobytes()
    assert hidden_LH.tobytes() == expected_hidden[:, row].tobytes()
    assert cell_LH.tobytes() == expected_cell[:, row].tobytes()


def test_inputs_are_left_as_they_are_and_outputs_are_the_callers(onnx_model):
    features, (hidden, cell) = make_features(onnx_model, 1)[0], (zeros(onnx_model),) * 2
    before = features.copy()
    first = onnx_model.step(features, hidden, cell)
    kept = [array.copy() for array in first]
    onnx_model.step(2 * features, *first[1:])
    assert (features == before).all()
    assert not hidden.any()
    for array, copy in zip(first, kept, strict=True):
        assert (array == copy).all()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("wrong", ["rows", "width", "type", "state"])
def test_inputs_that_do_not_fit_are_refused(bundle, backend, wrong):
    model = open_temporal_model(bundle, rows=2, backend=backend)
    features, state = np.zeros((2, model.feature_dim), np.float32), zeros(model)
    if wrong == "rows":
        features = features[:1]
    if wrong == "width":
        features = features[:, 1:]
    if wrong == "type":
        features = features.astype(np.float16)
    if wrong == "state":
        state = state[:, :1]
    with pytest.raises(ModelError, match="expected float32"):
        model.step(features, state, state)


def test_a_graph_of_another_shape_is_refused(bundle, tmp_path):
    from dataclasses import replace

    import msgspec

    other = msgspec.structs.replace(bundle.config, hidden_dim=bundle.config.hidden_dim + 1)
    with pytest.raises(ModelError, match=r"model\.onnx: hidden: config\.json says"):
        open_temporal_model(replace(bundle, config=other))
    with pytest.raises(ModelError, match=r"model\.safetensors: the weights do not fit"):
        open_temporal_model(replace(bundle, config=other), backend="torch")
    shutil.copytree(bundle.path, tmp_path / "b")
    (tmp_path / "b" / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(ModelError, match="not an ONNX file"):
        open_temporal_model(replace(bundle, path=tmp_path / "b"))


@pytest.mark.parametrize("wrong", [{"backend": "tensorflow"}, {"rows": 0}, {"num_threads": 0}])
def test_wrong_options_are_refused(bundle, wrong):
    with pytest.raises(ConfigError, match="expected"):
        open_temporal_model(bundle, **wrong)


def test_serving_needs_no_torch():
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from streamer.models.bundle import Bundle\n"
        "from streamer.models.temporal.registry import open_temporal_model\n"
        "bundle = Bundle.load('workcell')\n"
        "open_temporal_model(bundle).close()\n"
        "from streamer.core.errors import ModelError\n"
        "try:\n"
        "    open_temporal_model(bundle, backend='torch')\n"
        "except ModelError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "'.[gpu]'" in done.stdout
