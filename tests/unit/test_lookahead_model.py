"""Models that look ahead, frame by frame, against the network over the whole recording."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.core.errors import ModelError
from streamer.models.temporal.model import LookaheadModel
from streamer.models.temporal.registry import BACKENDS, open_online_model, open_temporal_model
from tests.networks import ARCHITECTURES, make_bundle, make_config, make_network

ROWS, AHEAD = 3, 3
KINDS = [(kind, norm) for kind in ARCHITECTURES for norm in (False, True)]


@pytest.fixture(autouse=True)
def one_thread():
    """Steps so small are slower with two."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def ahead_network(**changes):
    return make_network(make_config(directions=2, lookahead_frames=AHEAD, **changes))


def make_features(steps: int, width: int, *, seed: int = 1) -> np.ndarray:
    random = np.random.default_rng(seed)
    slow = np.sin(np.arange(steps)[:, None, None] / random.uniform(3, 30, (ROWS, width)))
    return (slow + 0.5 * random.normal(size=slow.shape)).astype(np.float32)


def zeros(model) -> np.ndarray:
    return np.zeros((model.num_layers, model.rows, model.hidden_dim), np.float32)


def watch(model: LookaheadModel, features_TBD: np.ndarray):
    """Outputs (T, B, C) and the last state, of recordings that end: as serving steps through."""
    hidden, cell = zeros(model), zeros(model)
    outputs, waiting = [], []
    nothing_BD = np.zeros_like(features_TBD[0])
    for t in range(len(features_TBD) + model.lookahead_frames):
        mask_SB = np.zeros((model.lookahead_frames + 1, model.rows), np.float32)
        window_RBP = np.zeros(
            (model.lookahead_frames, model.rows, model.projection_dim), np.float32
        )
        if waiting:
            window_RBP[: len(waiting)] = waiting
        comes = t < len(features_TBD)
        decides = t >= model.lookahead_frames
        if decides:
            mask_SB[: len(waiting) + comes] = 1
        features_BD = features_TBD[t] if comes else nothing_BD
        logits, after, cell_after, inputs = model.step_window(
            features_BD, window_RBP, mask_SB, hidden, cell
        )
        waiting += [inputs] * comes
        if decides:
            outputs.append(logits)
            hidden, cell = after, cell_after
            waiting.pop(0)
    return np.stack(outputs), hidden, cell


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize(("architecture", "layer_norm"), KINDS)
def test_both_backends_serve_what_the_network_says_of_the_recording(
    tmp_path, architecture, layer_norm, layers
):
    network = ahead_network(architecture=architecture, layer_norm=layer_norm, num_layers=layers)
    features_TBD = make_features(200, network.config.feature_dim)
    with torch.inference_mode():
        expected, after = network(torch.from_numpy(features_TBD), network.initial_state(ROWS))
    bundle = make_bundle(tmp_path, network)
    for backend in BACKENDS:
        with closing(open_online_model(bundle, rows=ROWS, backend=backend)) as model:
            assert isinstance(model, LookaheadModel)
            outputs, hidden, cell = watch(model, features_TBD)
        np.testing.assert_allclose(outputs, expected.numpy(), atol=1e-4, rtol=0)
        np.testing.assert_allclose(hidden, after[0].numpy(), atol=1e-4, rtol=0)
        np.testing.assert_allclose(cell, after[1].numpy(), atol=1e-4, rtol=1e-4)
    # What is ahead matters: else agreement would mean nothing.
    short = make_features(200, network.config.feature_dim)
    short[100:] = 0
    with torch.inference_mode():
        blind, _ = network(torch.from_numpy(short), network.initial_state(ROWS))
    changed_T = np.abs(blind.numpy() - expected.numpy()).max(axis=(1, 2)) > 1e-3
    assert not changed_T[: 100 - AHEAD].any()
    assert changed_T[100 - AHEAD : 100].any()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return open_online_model(
        make_bundle(tmp_path_factory.mktemp("model"), ahead_network()), rows=ROWS
    )


@settings(deadline=None, max_examples=40)
@given(
    row=st.integers(0, ROWS - 1),
    filled=st.integers(0, AHEAD + 1),
    seed=st.integers(0, 2**32 - 1),
    scale=st.sampled_from([0.0, 1.0, 1e3, 6e4, np.nan, np.inf]),
)
def test_a_row_is_the_same_bits_whatever_its_batchmates_and_their_masks(
    model, row, filled, seed, scale
):
    random = np.random.default_rng(seed)
    shapes = [
        (ROWS, model.feature_dim),
        (AHEAD, ROWS, model.projection_dim),
        (AHEAD + 1, ROWS),
        zeros(model).shape,
        zeros(model).shape,
    ]
    mine = [random.normal(size=shape).astype(np.float32) for shape in shapes]
    mine[2] = (np.arange(AHEAD + 1)[:, None] < filled).astype(np.float32) * np.ones(ROWS, "f4")
    places = [(row,), *[(slice(None), row)] * 4]
    results = []
    for beside in (False, True):
        arrays = []
        for number, (own, shape, place) in enumerate(zip(mine, shapes, places, strict=True)):
            noise = random.normal(size=shape) * scale if beside else np.zeros(shape)
            if number == 2 and beside:
                noise = np.arange(AHEAD + 1)[:, None] < random.integers(0, AHEAD + 2, ROWS)
            array = noise.astype(np.float32)
            array[place] = own[place]
            arrays.append(array)
        logits, hidden, cell, inputs = model.step_window(*arrays)
        results.append(
            [part.tobytes() for part in (logits[row], hidden[:, row], cell[:, row], inputs[row])]
        )
    assert results[0] == results[1]


def test_what_is_masked_is_not_seen(model):
    random = np.random.default_rng(0)
    features = random.normal(size=(ROWS, model.feature_dim)).astype(np.float32)
    window = random.normal(size=(AHEAD, ROWS, model.projection_dim)).astype(np.float32)
    mask = (np.arange(AHEAD + 1)[:, None] < 2).astype(np.float32) * np.ones(ROWS, "f4")
    state = zeros(model)
    one = model.step_window(features, window, mask, state, state)[0]
    window[2:] = 7
    assert (model.step_window(-features, window, mask, state, state)[0] == one).all()
    window[1] = 7
    assert (model.step_window(features, window, mask, state, state)[0] != one).any()


@pytest.mark.parametrize("wrong", ["features", "window", "mask", "hidden", "closed"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_inputs_that_do_not_fit_are_refused(tmp_path, backend, wrong):
    model = open_online_model(make_bundle(tmp_path, ahead_network()), rows=2, backend=backend)
    state = zeros(model)
    arrays = {
        "features": np.zeros((2, model.feature_dim), np.float32),
        "window": np.zeros((AHEAD, 2, model.projection_dim), np.float32),
        "mask": np.ones((AHEAD + 1, 2), np.float32),
        "hidden": state,
        "cell": state,
    }
    model.step_window(*arrays.values())
    expected = "closed"
    if wrong == "closed":
        model.close()
    else:
        arrays[wrong] = arrays[wrong][1:]
        expected = f"{wrong}: expected float32"
    with pytest.raises(ModelError, match=expected):
        model.step_window(*arrays.values())


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_model_of_whole_recordings_does_not_serve_and_says_what_to_do(tmp_path, backend):
    bundle = make_bundle(tmp_path, make_network(make_config(directions=2)))
    for opened in (open_online_model, open_temporal_model):
        with pytest.raises(ModelError, match=r"--directions 2 --lookahead R.*--directions 1"):
            opened(bundle, backend=backend)


def test_who_needs_one_direction_is_told_of_two(tmp_path):
    bundle = make_bundle(tmp_path, ahead_network())
    with pytest.raises(ModelError, match="one direction, found one that looks ahead at 3 frames"):
        open_temporal_model(bundle)
