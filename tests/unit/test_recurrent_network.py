from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from streamer.models.bundle import Bundle
from streamer.models.temporal.cells import RecurrentCells
from streamer.models.temporal.directions import walk_ahead, walk_whole
from streamer.models.temporal.network import RecurrentNetwork
from streamer.models.temporal.torch import load_network
from tests.networks import ARCHITECTURES, make_config, make_network

T, B, WIDTH, HIDDEN = 60, 3, 10, 12
# ONNX: input, output, forget, candidate of an LSTM; update, reset, candidate of a GRU.
ORDER = {"lstm": (0, 3, 1, 2), "lstm_peephole": (0, 3, 1, 2), "gru": (1, 0, 2)}


@pytest.fixture(autouse=True)
def one_thread():
    """Steps so small are slower with two."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make_cells(architecture, layers=1, **options) -> RecurrentCells:
    torch.manual_seed(0)
    cells = RecurrentCells(architecture, WIDTH, HIDDEN, layers, **options)
    with torch.no_grad():
        for weight in cells.parameters():
            weight.mul_(2)
    return cells


def draw_state(layers=1):
    return torch.randn(layers, B, HIDDEN), torch.randn(layers, B, HIDDEN)


def by_operator(cells: RecurrentCells, inputs_TBI, state):
    """What onnxruntime's LSTM or GRU operator makes of it: hidden of each step, state after."""
    weights = {name: w.detach().numpy() for name, w in cells.named_parameters()}
    architecture = cells.architecture
    attributes = {"hidden_size": HIDDEN}

    def ordered(name):
        gates = np.split(weights[name], len(weights[name]) // HIDDEN)
        if architecture == "lstm_coupled":  # input, candidate, output; a forget gate is expected
            return np.concatenate([gates[0], gates[2], np.zeros_like(gates[0]), gates[1]])
        return np.concatenate([gates[i] for i in ORDER[architecture]])

    constants = {
        "W": ordered("weight_ih_l0")[None],
        "R": ordered("weight_hh_l0")[None],
        "b": np.concatenate([ordered("bias_ih_l0"), ordered("bias_hh_l0")])[None],
    }
    inputs, outputs = ["x", "W", "R", "b", "", "hidden"], ["y", "hidden_after"]
    feeds = {"x": inputs_TBI.numpy(), "hidden": state[0].numpy()}
    if architecture == "gru":
        attributes["linear_before_reset"] = 1
    else:
        inputs, outputs = [*inputs, "cell"], [*outputs, "cell_after"]
        feeds["cell"] = state[1].numpy()
    if architecture == "lstm_peephole":
        peep_in, peep_forget, peep_out = np.split(weights["peephole_l0"], 3)
        constants["P"] = np.concatenate([peep_in, peep_out, peep_forget])[None]
        inputs = [*inputs, "P"]
    if architecture == "lstm_coupled":
        attributes["input_forget"] = 1
    operator = cells.architecture.partition("_")[0].upper()
    graph = helper.make_graph(
        [helper.make_node(operator, inputs, outputs, **attributes)],
        "operator",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, v.shape) for n, v in feeds.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    hidden_T1BH, *after = session.run(outputs, feeds)
    return hidden_T1BH[:, 0], after


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_cell_is_what_the_onnx_operator_says_it_is(architecture):
    cells, inputs, state = make_cells(architecture), torch.randn(T, B, WIDTH), draw_state()
    with torch.inference_mode():
        outputs, after = cells(inputs, state)
    expected, expected_after = by_operator(cells, inputs, state)
    np.testing.assert_allclose(outputs.numpy(), expected, atol=2e-5)
    for ours, theirs in zip(after, expected_after, strict=False):
        np.testing.assert_allclose(ours.numpy(), theirs, atol=2e-5)
    if architecture == "gru":
        assert torch.equal(after[1], state[1])


@pytest.mark.parametrize(("architecture", "kernel"), [("lstm", nn.LSTM), ("gru", nn.GRU)])
@pytest.mark.parametrize("directions", [1, 2])
def test_the_loop_computes_what_torch_computes(architecture, kernel, directions):
    cells = make_cells(architecture, 2, directions=directions)
    reference = kernel(WIDTH, HIDDEN, 2, bidirectional=directions == 2)
    reference.load_state_dict(cells.state_dict())  # the same names, shapes and order
    inputs = torch.randn(T, B, WIDTH)
    zeros = torch.zeros(2, B, HIDDEN)
    with torch.inference_mode():
        walk = cells if directions == 1 else lambda x, s: walk_whole(cells, x, s)
        outputs, after = walk(inputs, (zeros, zeros))
        expected, expected_after = reference(inputs)
    hidden = expected_after[0] if architecture == "lstm" else expected_after
    torch.testing.assert_close(outputs, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(after[0], hidden[::directions], atol=1e-5, rtol=0)


def logistic(x):
    return 1 / (1 + np.exp(-x))


def normalised(x):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_layer_normalisation_is_where_the_paper_puts_it(architecture):
    cells = make_cells(architecture, layer_norm=True)
    for name, weight in cells.named_parameters():
        if "gain" in name or "bias" in name:
            nn.init.uniform_(weight.detach(), 0.5, 1.5)
    inputs, (hidden, cell) = torch.randn(1, B, WIDTH), draw_state()
    with torch.inference_mode():
        outputs, after = cells(inputs, (hidden, cell))
    w = {name[:-3]: value.detach().double().numpy() for name, value in cells.named_parameters()}
    x, h, c = (array.double().numpy()[0] for array in (inputs, hidden, cell))
    from_input = normalised(x @ w["weight_ih"].T) * w["gain_ih"] + w["bias_ih"]
    from_hidden = normalised(h @ w["weight_hh"].T) * w["gain_hh"] + w["bias_hh"]
    if architecture == "gru":
        (r, z, n), (r_h, z_h, n_h) = np.split(from_input, 3, 1), np.split(from_hidden, 3, 1)
        z = logistic(z + z_h)
        expected_cell = c
        expected = (1 - z) * np.tanh(n + logistic(r + r_h) * n_h) + z * h
    else:
        gates = np.split(from_input + from_hidden, len(w["bias_ih"]) // HIDDEN, 1)
        peep = np.split(w.get("peephole", np.zeros(3 * HIDDEN)), 3)
        i = logistic(gates[0] + peep[0] * c)
        f = 1 - i if architecture == "lstm_coupled" else logistic(gates[1] + peep[1] * c)
        expected_cell = f * c + i * np.tanh(gates[-2])
        o = logistic(gates[-1] + peep[2] * expected_cell)
        expected = o * np.tanh(normalised(expected_cell) * w["gain_c"] + w["bias_c"])
    np.testing.assert_allclose(outputs[0].numpy(), expected, atol=1e-5)
    np.testing.assert_allclose(after[1][0].numpy(), expected_cell, atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize(("directions", "lookahead"), [(1, 0), (2, 0), (2, 3)])
def test_a_network_of_any_kind_has_its_shapes_and_learns_in_all_its_weights(
    architecture, layer_norm, directions, lookahead
):
    config = make_config(
        architecture=architecture,
        layer_norm=layer_norm,
        directions=directions,
        lookahead_frames=lookahead,
    )
    network = RecurrentNetwork(config)
    state = network.initial_state(B)
    logits, after = network(torch.randn(8, B, config.feature_dim), state)
    assert logits.shape == (8, B, config.num_classes)
    assert after[0].shape == after[1].shape == state[0].shape == (2, B, config.hidden_dim)
    logits.square().sum().backward()
    for name, weight in network.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().sum() > 0, name


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("layer_norm", [False, True])
def test_a_new_cell_remembers(architecture, layer_norm):
    config = make_config(architecture=architecture, layer_norm=layer_norm, num_layers=1)
    torch.manual_seed(0)
    cells = RecurrentNetwork(config).cells
    gates = {}
    for name, bias in cells.named_parameters():
        if name == "bias_ih_l0":
            gates = dict(enumerate(bias.detach().chunk(len(bias) // config.hidden_dim)))
    memory = gates[0] if architecture == "lstm_coupled" else gates[1]
    assert set(memory.tolist()) == ({-1.0} if architecture == "lstm_coupled" else {1.0})
    assert abs(gates[2].mean()) < 0.2


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("layer_norm", [False, True])
def test_any_split_in_time_gives_the_outputs_of_one_pass(architecture, layer_norm):
    network = make_network(make_config(architecture=architecture, layer_norm=layer_norm))
    features, state = torch.randn(T, B, 24), network.initial_state(B)
    with torch.inference_mode():
        expected, expected_state = network(features, state)
        outputs = []
        for chunk in features.split([1, 7, 20, 32]):
            logits, state = network(chunk, state)
            outputs.append(logits)
    torch.testing.assert_close(torch.cat(outputs), expected, atol=1e-5, rtol=0)
    for ours, theirs in zip(state, expected_state, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def by_windows(cells: RecurrentCells, inputs_TBI, state, lookahead: int):
    """The definition, frame by frame: all layers over t … t + R, only t's forward state kept."""
    outputs, carried = [], [(state[0][layer], state[1][layer]) for layer in range(cells.num_layers)]
    for t in range(len(inputs_TBI)):
        window = inputs_TBI[t : t + lookahead + 1]
        for layer in range(cells.num_layers):
            forward, forward_cells = cells.walk(f"l{layer}", window, carried[layer])
            zeros = torch.zeros_like(carried[layer][0])
            backward, _ = cells.walk(f"l{layer}_reverse", window.flip(0), (zeros, zeros))
            window = torch.cat((forward, backward.flip(0)), dim=-1)
            carried[layer] = (forward[0], forward_cells[0])
        outputs.append(window[0])
    return torch.stack(outputs), tuple(torch.stack(part) for part in zip(*carried, strict=True))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("lookahead", [1, 4, T + 3])
def test_a_bounded_look_ahead_is_a_window_for_each_frame(architecture, layer_norm, lookahead):
    cells = make_cells(architecture, 3, layer_norm=layer_norm, directions=2)
    inputs, state = torch.randn(20, B, WIDTH), draw_state(3)
    with torch.inference_mode():
        outputs, after = walk_ahead(cells, inputs, state, lookahead_frames=lookahead)
        expected, expected_after = by_windows(cells, inputs, state, lookahead)
    torch.testing.assert_close(outputs, expected, atol=1e-4, rtol=0)
    for ours, theirs in zip(after, expected_after, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


def test_a_look_ahead_sees_so_far_and_no_farther():
    network = make_network(make_config(directions=2, lookahead_frames=3))
    features = torch.randn(20, 1, 24)
    changed = features.clone()
    changed[10] += 1
    with torch.inference_mode():
        before, _ = network(features, network.initial_state(1))
        after, _ = network(changed, network.initial_state(1))
    differs = ((before - after).abs().amax((1, 2)) > 0).tolist()
    assert differs == [False] * 7 + [True] * 13


def test_the_shipped_bundle_has_the_weights_of_a_plain_lstm():
    bundle = Bundle.load("workcell")
    network = load_network(bundle)
    assert isinstance(network.cells, nn.LSTM)
    assert not bundle.config.layer_norm
    assert (bundle.config.directions, bundle.config.lookahead_frames) == (1, 0)
