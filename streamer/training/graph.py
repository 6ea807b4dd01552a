"""The recurrent network as an ONNX graph of one time step, made node by node.

Written by hand, and not by torch's exporter, so that the file depends on the weights alone, byte
for byte, whatever the version of torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from streamer.core.errors import ModelError
from streamer.models.temporal.onnx import INPUTS, OUTPUTS
from streamer.training.graph_cells import CellNodes
from streamer.training.graph_clip import make_clip_graph
from streamer.training.graph_nodes import Graph, serialise

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streamer.models.temporal.network import RecurrentNetwork


def make_graph(model: RecurrentNetwork) -> bytes:
    """The content of `model.onnx`.

    Inputs: features (B, D), hidden (L, B, H), cell (L, B, H). Outputs: logits (B, C), of a
    regression values, and the two after the frame. B is free. A head with pooling reads whole
    clips; see `make_clip_graph`.

    Raises:
        ModelError: The head makes captions, whose search is no graph.
    """
    config = model.config
    if config.head == "caption":
        raise ModelError(
            f"{config.name}: expected a head of numbers to export, found caption; keep its weights "
            f"as safetensors, and caption with streamer.training.clip_predict"
        )
    if config.reads_whole_clips:
        return make_clip_graph(model)
    weights = {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
    graph = Graph()
    outputs = _project(graph, weights, epsilon=model.norm.eps)
    hiddens, cells = [], []
    for layer in range(config.num_layers):
        nodes = CellNodes(config, weights, layer)
        index = graph.weight(f"{nodes.name}.index", np.array(layer, np.int64))
        before = [
            graph.node("Gather", (name, index), f"{nodes.name}.{name}_before", axis=0)
            for name in INPUTS[1:]
        ]
        outputs, cell = nodes.step(graph, outputs, *before)
        hiddens.append(graph.node("Unsqueeze", (outputs, "axis_0"), f"hidden_{layer}_1BH"))
        cells.append(graph.node("Unsqueeze", (cell, "axis_0"), f"cell_{layer}_1BH"))
    graph.weight("axis_0", np.array([0], np.int64))
    logits, hidden, cell = OUTPUTS
    _head(graph, weights, outputs, logits)
    graph.node("Concat", hiddens, hidden, axis=0)
    graph.node("Concat", cells, cell, axis=0)
    state: list[int | str] = [config.num_layers, "B", config.hidden_dim]
    in_shapes: list[list[int | str]] = [["B", config.feature_dim], state, state]
    out_shapes: list[list[int | str]] = [["B", config.num_classes], state, state]
    return serialise(
        graph.proto(
            f"{config.cell_family}_step",
            list(zip(INPUTS, in_shapes, strict=True)),
            list(zip(OUTPUTS, out_shapes, strict=True)),
        )
    )


def _project(graph: Graph, weights: Mapping[str, np.ndarray], *, epsilon: float) -> str:
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


def _head(graph: Graph, weights: Mapping[str, np.ndarray], outputs: str, name: str) -> None:
    """Logits; or values, in the units of the targets."""
    if "head.linear.weight" not in weights:
        _linear(graph, weights, "head", outputs, name)
        return
    normalised = _linear(graph, weights, "head.linear", outputs, "normalised")
    scales = [graph.weight(n, weights[n]) for n in ("head.spread_K", "head.mean_K")]
    spread = graph.node("Mul", (normalised, scales[0]), "spread")
    graph.node("Add", (spread, scales[1]), name)


def _linear(
    graph: Graph, weights: Mapping[str, np.ndarray], layer: str, inputs: str, name: str
) -> str:
    weight = graph.weight(f"{layer}.weight", weights[f"{layer}.weight"].T)
    bias = graph.weight(f"{layer}.bias", weights[f"{layer}.bias"])
    return graph.node("Gemm", (inputs, weight, bias), name)
