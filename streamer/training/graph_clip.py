"""A network that reads whole clips as an ONNX graph: layers by Scan, then pooling and the head.

As `streamer.training.graph`, made node by node, so that the file depends on the weights alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from streamer.core.errors import ModelError
from streamer.models.temporal.clips import CLIP_INPUTS, CLIP_OUTPUTS
from streamer.training.graph_cells import CellNodes
from streamer.training.graph_nodes import Graph, serialise

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streamer.models.config import ModelConfig
    from streamer.models.temporal.network import RecurrentNetwork

_OUTSIDE = -1e9
"""Added to the scores of frames after a clip's end: their weight is then 0 in float32."""


def make_clip_graph(model: RecurrentNetwork) -> bytes:
    """The content of `model.onnx` for a head with pooling.

    Inputs: features (T, B, D) and mask (T, B), 1 for a clip's frames and then 0. Outputs: logits or
    values (B, C), and the weights over time (T, B). T and B are free.

    Raises:
        ModelError: The model looks ahead by a bounded number of frames.
    """
    config = model.config
    check_whole(config)
    weights = {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
    nodes = ClipNodes(model, weights)
    frames = nodes.project()
    for layer in range(config.num_layers):
        frames = nodes.layer(frames, layer)
    pooled = nodes.pool(frames)
    nodes.head(pooled)
    t_b: list[int | str] = ["T", "B"]
    return serialise(
        nodes.graph.proto(
            f"{config.cell_family}_clip",
            [(CLIP_INPUTS[0], [*t_b, config.feature_dim]), (CLIP_INPUTS[1], t_b)],
            [(CLIP_OUTPUTS[0], ["B", config.num_classes]), (CLIP_OUTPUTS[1], t_b)],
        )
    )


def check_whole(config: ModelConfig) -> None:
    """Raise ModelError for a model that looks ahead by a bounded number of frames."""
    if config.lookahead_frames:
        raise ModelError(
            f"{config.name}: lookahead_frames: expected 0 for a head that reads whole clips, found "
            f"{config.lookahead_frames}; with 0 the backward direction sees all of a clip"
        )


class ClipNodes:
    """Adds the nodes, part by part.

    Attributes:
        graph: That they are added to.
    """

    def __init__(self, model: RecurrentNetwork, weights: Mapping[str, np.ndarray]) -> None:
        self._config = model.config
        self._epsilon = model.norm.eps
        self._weights = weights
        self.graph = Graph()

    def project(self) -> str:
        """Features → normalised → projected, (T, B, P)."""
        add = self.graph.node
        centred = add("Sub", (CLIP_INPUTS[0], self._weight("mean_D")), "centred")
        scaled = add("Mul", (centred, self._weight("scale_D")), "scaled")
        projected = self.linear("projection", scaled, "projected")
        parts = (projected, self._weight("norm.weight"), self._weight("norm.bias"))
        normed = add("LayerNormalization", parts, "normed", axis=-1, epsilon=self._epsilon)
        return add("Relu", (normed,), "inputs")

    def layer(self, frames: str, layer: int) -> str:
        """All directions of one layer, (T, B, directions · H)."""
        outputs = [
            self._scan(frames, CellNodes(self._config, self._weights, layer, reverse=reverse))
            for reverse in (False, True)[: self._config.directions]
        ]
        if len(outputs) == 1:
            return outputs[0]
        return self.graph.node("Concat", outputs, f"layer_{layer}", axis=2)

    def _scan(self, frames: str, cells: CellNodes) -> str:
        """Steps over time. After a clip's end the state is zero, so that backwards it begins there.

        The state before the first step is zero.
        """
        add, name, hidden_dim = self.graph.node, cells.name, self._config.hidden_dim
        body = Graph(self.graph)
        before = (f"{name}.hidden_before", f"{name}.cell_before")
        here, there = f"{name}.frame", f"{name}.there"
        hidden, cell = cells.step(body, here, *before)
        column = body.node("Unsqueeze", (there, self._number("axis_1", [1])), f"{name}.keep")
        kept = [
            body.node("Mul", (part, column), f"{name}.{kind}_kept")
            for kind, part in (("hidden", hidden), ("cell", cell))
        ]
        shown = body.node("Identity", (kept[0],), f"{name}.shown")
        state: list[int | str] = ["B", hidden_dim]
        width = self._weights[f"{self._config.cell_family}.weight_ih_l{cells.layer}"].shape[1]
        proto = body.proto(
            f"{name}.step",
            [(before[0], state), (before[1], state), (here, ["B", width]), (there, ["B"])],
            [(kept[0], state), (kept[1], state), (shown, state)],
        )
        rows = add("Shape", (frames,), f"{name}.rows", start=1, end=2)
        shape = add(
            "Concat", (rows, self._number("hidden_dim", [hidden_dim])), f"{name}.shape", axis=0
        )
        zeros = add("ConstantOfShape", (shape,), f"{name}.zeros")
        way = int(cells.reverse)
        _, _, outputs = self.graph.nodes(
            "Scan",
            (zeros, zeros, frames, CLIP_INPUTS[1]),
            (f"{name}.hidden_last", f"{name}.cell_last", f"{name}.outputs"),
            f"{name}.scan",
            body=proto,
            num_scan_inputs=2,
            scan_input_directions=[way, way],
            scan_output_directions=[way],
        )
        return outputs

    def pool(self, frames: str) -> str:
        """Weights over time, an output, and what they make of the frames, (B, directions · H)."""
        add, mask, weights = self.graph.node, CLIP_INPUTS[1], CLIP_OUTPUTS[1]
        first = self._number("axis_0", [0])
        if self._config.pooling == "last":
            bounds = (self._number("second", [1]), self._number("end", [np.iinfo(np.int64).max]))
            later = add("Slice", (mask, *bounds, first), "later")
            after = add("Pad", (later, self._number("pads", [0, 0, 1, 0])), "after")
            add("Sub", (mask, after), weights)
        elif self._config.pooling == "mean":
            lengths = add("ReduceSum", (mask, first), "lengths", keepdims=1)
            add("Div", (mask, lengths), weights)
        else:
            looked = add("Tanh", (self.linear("head.pooling.query", frames, "queried"),), "looked")
            vector = self._weight("head.pooling.score.weight", transposed=True)
            column = add("MatMul", (looked, vector), "score_column")
            scores = add("Squeeze", (column, self._number("axis_2", [2])), "scores")
            one = self.graph.weight("one_float", np.array(1, np.float32))
            far = self.graph.weight("outside", np.array(_OUTSIDE, np.float32))
            outside = add("Mul", (add("Sub", (one, mask), "gone"), far), "penalty")
            add("Softmax", (add("Add", (scores, outside), "masked"),), weights, axis=0)
        column = add("Unsqueeze", (weights, self._number("axis_2", [2])), "weights_column")
        weighted = add("Mul", (column, frames), "weighted")
        return add("ReduceSum", (weighted, first), "pooled", keepdims=0)

    def head(self, pooled: str) -> None:
        """Logits, or values in the units of the targets."""
        name = CLIP_OUTPUTS[0]
        if self._config.head != "regression":
            self.linear("head.linear", pooled, name)
            return
        normalised = self.linear("head.linear", pooled, "normalised")
        spread = self.graph.node("Mul", (normalised, self._weight("head.spread_K")), "spread")
        self.graph.node("Add", (spread, self._weight("head.mean_K")), name)

    def linear(self, layer: str, inputs: str, name: str) -> str:
        """A linear layer by its name in the `state_dict`, over the last axis."""
        product = self.graph.node(
            "MatMul", (inputs, self._weight(f"{layer}.weight", transposed=True)), f"{name}.product"
        )
        return self.graph.node("Add", (product, self._weight(f"{layer}.bias")), name)

    def _weight(self, name: str, *, transposed: bool = False) -> str:
        value = self._weights[name]
        return self.graph.weight(name, value.T if transposed else value)

    def _number(self, name: str, value: list[int]) -> str:
        return self.graph.weight(name, np.array(value, np.int64))
