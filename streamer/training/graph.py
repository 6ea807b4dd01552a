"""The recurrent network as an ONNX graph, made node by node.

Written by hand, and not by torch's exporter, so that the file depends on the weights alone, byte
for byte, whatever the version of torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from streamer.models.temporal.onnx import INPUTS, OUTPUTS, WINDOW_INPUTS, WINDOW_OUTPUTS
from streamer.training.graph_anomaly import score_nodes
from streamer.training.graph_caption import make_reading_graph
from streamer.training.graph_cells import CellNodes
from streamer.training.graph_clip import make_clip_graph
from streamer.training.graph_directions import walk_both, walk_window
from streamer.training.graph_nodes import Graph, serialise

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx

    from streamer.models.config import ModelConfig
    from streamer.models.temporal.network import RecurrentNetwork


def make_graph(model: RecurrentNetwork) -> bytes:
    """The content of `model.onnx`.

    Inputs: features, hidden (L, B, H), cell (L, B, H). Outputs: logits and the two after a frame.
    B is free. What features and logits are, depends on the directions:

    - One: features (B, D) of one frame, its logits (B, C), with a column more for the
      score of an anomaly head.
    - Two: features (T, B, D) and logits (T, B, C) of a whole recording; the state after its end.
    - Two with a look-ahead of R frames: features (B, D) of the frame that comes; logits (B, C) and
      state of the frame R before it. Further inputs: window (R, B, P), mask (R + 1, B); further
      output: inputs (B, P). See `LookaheadModel.step_window`.

    With a head of values per frame these are in the place of logits. A head with pooling reads
    whole clips; see `make_clip_graph`, and `make_reading_graph` for captions.

    Raises:
        ModelError: A model that reads whole clips looks ahead by a bounded number of frames.
    """
    config = model.config
    if config.head == "caption":
        return make_reading_graph(model)
    if config.reads_whole_clips:
        return make_clip_graph(model)
    weights = {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
    graph = Graph()
    normed = _normalise(graph, weights)
    inputs = _project(graph, config, weights, normed, epsilon=model.norm.eps)
    logits, hidden, cell = OUTPUTS
    if config.directions == 1:
        outputs, hiddens, cells = _step(graph, config, weights, inputs)
    else:
        before = dict(zip(("hidden", "cell"), INPUTS[1:], strict=True))
        if config.lookahead_frames:
            _, waiting, mask, *_ = WINDOW_INPUTS
            axis = graph.weight("axis_0", np.array([0], np.int64))
            newest = graph.node("Unsqueeze", (inputs, axis), "newest_1BP")
            window = graph.node("Concat", (waiting, newest), "window_SBP", axis=0)
            walked = walk_window(graph, config, weights, inputs=window, mask=mask, **before)
        else:
            walked = walk_both(graph, config, weights, inputs=inputs, **before)
        outputs, hiddens, cells = walked.outputs, walked.hiddens, walked.cells
    if model.anomaly is None:
        _head(graph, config, weights, outputs, logits)
    else:
        last = CellNodes(config, weights, config.num_layers - 1).name
        parts = [score_nodes(graph, weights, before=f"{last}.{INPUTS[1]}_before", normed=normed)]
        if model.head is not None:
            parts.insert(0, _linear(graph, config, weights, "head", outputs, "classes"))
        graph.node("Concat", parts, logits, axis=1)
    graph.node("Concat", hiddens, hidden, axis=0)
    graph.node("Concat", cells, cell, axis=0)
    return serialise(_with_ports(graph, config))


def _step(
    graph: Graph, config: ModelConfig, weights: Mapping[str, np.ndarray], inputs: str
) -> tuple[str, list[str], list[str]]:
    """One frame, one direction; the names of the outputs, and of each layer's hidden and cell."""
    outputs, hiddens, cells = inputs, [], []
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
    return outputs, hiddens, cells


def _normalise(graph: Graph, weights: Mapping[str, np.ndarray]) -> str:
    centred = graph.node("Sub", (INPUTS[0], graph.weight("mean_D", weights["mean_D"])), "centred")
    return graph.node("Mul", (centred, graph.weight("scale_D", weights["scale_D"])), "scaled")


def _project(
    graph: Graph,
    config: ModelConfig,
    weights: Mapping[str, np.ndarray],
    normed: str,
    *,
    epsilon: float,
) -> str:
    projected = _linear(graph, config, weights, "projection", normed, "projected")
    gain = graph.weight("norm.weight", weights["norm.weight"])
    bias = graph.weight("norm.bias", weights["norm.bias"])
    evened = graph.node(
        "LayerNormalization", (projected, gain, bias), "normed", axis=-1, epsilon=epsilon
    )
    return graph.node("Relu", (evened,), WINDOW_OUTPUTS[-1])


def _head(
    graph: Graph,
    config: ModelConfig,
    weights: Mapping[str, np.ndarray],
    outputs: str,
    name: str,
) -> None:
    """Logits; or values, in the units of the targets."""
    if "head.linear.weight" not in weights:
        _linear(graph, config, weights, "head", outputs, name)
        return
    normalised = _linear(graph, config, weights, "head.linear", outputs, "normalised")
    scales = [graph.weight(n, weights[n]) for n in ("head.spread_K", "head.mean_K")]
    spread = graph.node("Mul", (normalised, scales[0]), "spread")
    graph.node("Add", (spread, scales[1]), name)


def _linear(
    graph: Graph,
    config: ModelConfig,
    weights: Mapping[str, np.ndarray],
    layer: str,
    inputs: str,
    name: str,
) -> str:
    weight = graph.weight(f"{layer}.weight", weights[f"{layer}.weight"].T)
    bias = graph.weight(f"{layer}.bias", weights[f"{layer}.bias"])
    if config.directions == 1 or config.lookahead_frames:
        return graph.node("Gemm", (inputs, weight, bias), name)
    # Gemm knows no time.
    product = graph.node("MatMul", (inputs, weight), f"{layer}.product")
    return graph.node("Add", (product, bias), name)


def _with_ports(graph: Graph, config: ModelConfig) -> onnx.GraphProto:
    state: list[int | str] = [config.num_layers, "B", config.hidden_dim]
    features: list[int | str] = ["B", config.feature_dim]
    logits: list[int | str] = ["B", config.num_outputs]
    if config.lookahead_frames:
        ahead = config.lookahead_frames
        inputs: list[int | str] = ["B", config.projection_dim]
        window: list[int | str] = [ahead, *inputs]
        mask: list[int | str] = [ahead + 1, "B"]
        shapes = (features, window, mask, state, state)
        return graph.proto(
            f"{config.cell_family}_look",
            list(zip(WINDOW_INPUTS, shapes, strict=True)),
            list(zip(WINDOW_OUTPUTS, (logits, state, state, inputs), strict=True)),
        )
    if config.directions == 2:
        features, logits = ["T", *features], ["T", *logits]
    return graph.proto(
        f"{config.cell_family}_{'step' if config.directions == 1 else 'walk'}",
        list(zip(INPUTS, (features, state, state), strict=True)),
        list(zip(OUTPUTS, (logits, state, state), strict=True)),
    )
