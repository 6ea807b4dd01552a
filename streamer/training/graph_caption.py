"""A captioner as two ONNX graphs: one reads a clip, the other says one word more.

The search over words stands outside of both, in `streamer.models.temporal.heads.beam`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from streamer.models.temporal.captions import (
    READ_INPUTS,
    READ_OUTPUTS,
    STEP_INPUTS,
    STEP_OUTPUTS,
)
from streamer.training.graph_clip import ClipNodes, check_whole
from streamer.training.graph_nodes import Graph, serialise

if TYPE_CHECKING:
    from streamer.models.temporal.network import RecurrentNetwork


def make_reading_graph(model: RecurrentNetwork) -> bytes:
    """The content of `model.onnx`: from a clip to what the decoder looks back at.

    Inputs: features (T, B, D) and mask (T, B), 1 for a clip's frames and then 0. Outputs: those of
    the recurrent layers (T, B, I), their keys (T, B, H), and the decoder's first hidden (B, H).

    Raises:
        ModelError: The model looks ahead by a bounded number of frames.
    """
    config = model.config
    check_whole(config)
    nodes = ClipNodes(model, _weights(model))
    frames = nodes.project()
    for layer in range(config.num_layers):
        frames = nodes.layer(frames, layer)
    graph, add = nodes.graph, nodes.graph.node
    outputs, keys, hidden = READ_OUTPUTS
    add("Identity", (frames,), outputs)
    nodes.linear("head.key", frames, keys)
    first, last = (graph.weight(f"axis_{k}", np.array([k], np.int64)) for k in (0, 2))
    column = add("Unsqueeze", (READ_INPUTS[1], last), "mask_column")
    total = add("ReduceSum", (add("Mul", (frames, column), "kept"), first), "total", keepdims=0)
    lengths = add("ReduceSum", (column, first), "lengths", keepdims=0)
    mean = add("Div", (total, lengths), "mean")
    add("Tanh", (nodes.linear("head.begin", mean, "begun"),), hidden)
    width, depth = config.directions * config.hidden_dim, config.hidden_dim
    t_b: list[int | str] = ["T", "B"]
    return serialise(
        graph.proto(
            f"{config.cell_family}_reading",
            [(READ_INPUTS[0], [*t_b, config.feature_dim]), (READ_INPUTS[1], t_b)],
            [(outputs, [*t_b, width]), (keys, [*t_b, depth]), (hidden, ["B", depth])],
        )
    )


def make_word_graph(model: RecurrentNetwork) -> bytes:
    """The content of `caption_step.onnx`: `Captioner.step` for N captions of one clip.

    Inputs: outputs (T, 1, I) and keys (T, 1, H) of the clip, hidden and cell (N, H), and the words
    before, int64 (N,). Outputs: logits (N, V + 1), weights over time (T, N), hidden and cell.
    """
    config = model.config
    nodes = ClipNodes(model, _weights(model))
    graph, add = nodes.graph, nodes.graph.node
    outputs, keys, hidden, cell, words = STEP_INPUTS
    logits, weights, hidden_after, cell_after = STEP_OUTPUTS
    first, last = (graph.weight(f"axis_{k}", np.array([k], np.int64)) for k in (0, 2))
    query = _product(graph, model, "head.query.weight", hidden, "query")
    looked = add("Tanh", (add("Add", (query, keys), "compared"),), "looked")
    column = _product(graph, model, "head.score.weight", looked, "score_column")
    add("Softmax", (add("Squeeze", (column, last), "scores"),), weights, axis=0)
    weighted = add(
        "Mul", (add("Unsqueeze", (weights, last), "weights_column"), outputs), "weighted"
    )
    context = add("ReduceSum", (weighted, first), "context", keepdims=0)
    table = graph.weight("head.embedding.weight", _weights(model)["head.embedding.weight"])
    inputs = add("Concat", (add("Gather", (table, words), "embedded"), context), "inputs", axis=1)
    _lstm_step(graph, model, inputs, (hidden, cell), (hidden_after, cell_after))
    nodes.linear("head.linear", add("Concat", (hidden_after, context), "said", axis=1), logits)
    width, depth = config.directions * config.hidden_dim, config.hidden_dim
    state: list[int | str] = ["N", depth]
    shapes: list[list[int | str]] = [["T", 1, width], ["T", 1, depth], state, state, ["N"]]
    results: list[list[int | str]] = [["N", config.num_classes], ["T", "N"], state, state]
    return serialise(
        graph.proto(
            "caption_step",
            list(zip(STEP_INPUTS, shapes, strict=True)),
            list(zip(STEP_OUTPUTS, results, strict=True)),
            integers=(words,),
        )
    )


def _lstm_step(
    graph: Graph,
    model: RecurrentNetwork,
    inputs: str,
    before: tuple[str, str],
    after: tuple[str, str],
) -> None:
    """`torch.nn.LSTMCell`: its gates are input, forget, candidate, output."""
    add, weights, cell = graph.node, _weights(model), "head.cell"
    bias = graph.weight(f"{cell}.bias", weights[f"{cell}.bias_ih"] + weights[f"{cell}.bias_hh"])
    new = _product(graph, model, f"{cell}.weight_ih", inputs, "cell_new")
    old = _product(graph, model, f"{cell}.weight_hh", before[0], "cell_old")
    gates = add("Add", (add("Add", (new, old), "cell_sum"), bias), "cell_gates")
    names = ("gate_input", "gate_forget", "gate_candidate", "gate_output")
    graph.nodes("Split", (gates,), names, "cell_split", axis=1, num_outputs=4)
    write, keep, show = (add("Sigmoid", (names[k],), f"{names[k]}_open") for k in (0, 1, 3))
    candidate = add("Tanh", (names[2],), "candidate")
    kept = add("Mul", (keep, before[1]), "kept")
    add("Add", (kept, add("Mul", (write, candidate), "written")), after[1])
    add("Mul", (show, add("Tanh", (after[1],), "cell_shown")), after[0])


def _product(graph: Graph, model: RecurrentNetwork, weight: str, inputs: str, name: str) -> str:
    """Of rows with a weight matrix of torch, (out, in)."""
    return graph.node("MatMul", (inputs, graph.weight(weight, _weights(model)[weight].T)), name)


def _weights(model: RecurrentNetwork) -> dict[str, np.ndarray]:
    return {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
