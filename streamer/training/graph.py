"""The LSTM as an ONNX graph of one time step, made node by node.

Written by hand, and not by torch's exporter, so that the file depends on the weights alone, byte
for byte, whatever the version of torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from streamer.models.temporal.onnx import INPUTS, OUTPUTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.models.temporal.lstm import LstmModel

OPSET, IR_VERSION = 18, 10
"""Both are read by onnxruntime 1.18 and later."""


class _Graph:
    """Collects nodes and weights."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, name: str, value: np.ndarray) -> str:
        """Add a constant; returns its name."""
        self.weights.append(numpy_helper.from_array(np.array(value, order="C"), name))
        return name

    def node(self, op: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """Add a node with one output, which has its name; returns it."""
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name


def make_graph(model: LstmModel) -> bytes:
    """The content of `model.onnx`.

    Inputs: features (B, D), hidden (L, B, H), cell (L, B, H). Outputs: logits (B, C) and the two
    after the frame. B is free.
    """
    weights = {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
    graph = _Graph()
    outputs = _project(graph, weights, epsilon=model.norm.eps)
    hiddens, cells = [], []
    for layer in range(model.lstm.num_layers):
        outputs, cell = _cell(graph, weights, layer, outputs)
        hiddens.append(graph.node("Unsqueeze", (outputs, "axis_0"), f"hidden_{layer}_1BH"))
        cells.append(graph.node("Unsqueeze", (cell, "axis_0"), f"cell_{layer}_1BH"))
    graph.weight("axis_0", np.array([0], np.int64))
    logits, hidden, cell = OUTPUTS
    _linear(graph, weights, "head", outputs, logits)
    graph.node("Concat", hiddens, hidden, axis=0)
    graph.node("Concat", cells, cell, axis=0)
    return _serialise(graph, model)


def _project(graph: _Graph, weights: dict[str, np.ndarray], *, epsilon: float) -> str:
    centred = graph.node("Sub", (INPUTS[0], graph.weight("mean_D", weights["mean_D"])), "centred")
    scale = graph.weight("scale_D", weights["scale_D"])
    scaled = graph.node("Mul", (centred, scale), "scaled")
    projected = _linear(graph, weights, "projection", scaled, "projected")
    gain = graph.weight("norm.weight", weights["norm.weight"])
    bias = graph.weight("norm.bias", weights["norm.bias"])
    normed = graph.node(
        "LayerNormalization", (projected, gain, bias), "normed", axis=-1, epsilon=epsilon
    )
    return graph.node("Relu", (normed,), "inputs")


def _cell(
    graph: _Graph, weights: dict[str, np.ndarray], layer: int, inputs: str
) -> tuple[str, str]:
    """One layer's step; returns the names of hidden and cell after it, (B, H) each."""

    def own(name: str) -> str:
        return f"lstm.{layer}.{name}"

    index = graph.weight(own("index"), np.array(layer, np.int64))
    hidden = graph.node("Gather", (INPUTS[1], index), own("hidden_before"), axis=0)
    cell = graph.node("Gather", (INPUTS[2], index), own("cell_before"), axis=0)
    both = graph.node("Concat", (inputs, hidden), own("both"), axis=1)
    matrix = np.concatenate(
        (weights[f"lstm.weight_ih_l{layer}"], weights[f"lstm.weight_hh_l{layer}"]), axis=1
    )
    bias = weights[f"lstm.bias_ih_l{layer}"] + weights[f"lstm.bias_hh_l{layer}"]
    gates = graph.node(
        "Gemm",
        (both, graph.weight(own("weight"), matrix.T), graph.weight(own("bias"), bias)),
        own("gates"),
    )
    names = [own(gate) for gate in ("input", "forget", "candidate", "output")]
    split = helper.make_node("Split", [gates], names, name=own("split"), axis=1, num_outputs=4)
    graph.nodes.append(split)
    keep_in, keep_old, candidate, keep_out = (
        graph.node("Tanh" if name == names[2] else "Sigmoid", (name,), f"{name}_gate")
        for name in names
    )
    added = graph.node("Mul", (keep_in, candidate), own("added"))
    kept = graph.node("Mul", (keep_old, cell), own("kept"))
    cell_after = graph.node("Add", (added, kept), own("cell_after"))
    squashed = graph.node("Tanh", (cell_after,), own("squashed"))
    return graph.node("Mul", (keep_out, squashed), own("hidden_after")), cell_after


def _linear(
    graph: _Graph, weights: dict[str, np.ndarray], layer: str, inputs: str, name: str
) -> str:
    weight = graph.weight(f"{layer}.weight", weights[f"{layer}.weight"].T)
    bias = graph.weight(f"{layer}.bias", weights[f"{layer}.bias"])
    return graph.node("Gemm", (inputs, weight, bias), name)


def _serialise(graph: _Graph, model: LstmModel) -> bytes:
    state: list[int | str] = [model.lstm.num_layers, "B", model.lstm.hidden_size]
    in_shapes: list[list[int | str]] = [["B", model.projection.in_features], state, state]
    out_shapes: list[list[int | str]] = [["B", model.head.out_features], state, state]
    proto = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "lstm_step",
            [_port(n, s) for n, s in zip(INPUTS, in_shapes, strict=True)],
            [_port(n, s) for n, s in zip(OUTPUTS, out_shapes, strict=True)],
            graph.weights,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="streamer",
    )
    onnx.checker.check_model(proto, full_check=True)
    data: bytes = proto.SerializeToString(deterministic=True)
    return data


def _port(name: str, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
