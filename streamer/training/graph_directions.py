"""Two directions as an ONNX graph: over a whole recording, or over the window of one frame.

Each layer is two `Scan` nodes whose bodies are one step of the cell, so that the length stays free.
See `streamer.models.temporal.directions` for what is computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from streamer.training.graph_cells import CellNodes
from streamer.training.graph_nodes import Graph

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streamer.models.config import ModelConfig


@dataclass(frozen=True, slots=True)
class Walked:
    """Names of what the layers made of a stretch of T frames.

    Attributes:
        outputs: Both directions' hidden of each frame, (T, B, 2 H).
        hiddens: Per layer, the forward hidden (1, B, H) that is carried on.
        cells: Per layer, the cell (1, B, H) that is carried on.
    """

    outputs: str
    hiddens: list[str]
    cells: list[str]


def walk_both(
    graph: Graph,
    config: ModelConfig,
    weights: Mapping[str, np.ndarray],
    *,
    inputs: str,
    hidden: str,
    cell: str,
) -> Walked:
    """Add all layers, in both directions.

    Args:
        graph: Gets the nodes.
        config: With a look-ahead, the state after the first frame is carried on; else that after
            the last.
        weights: Of the network, by the names of its `state_dict`.
        inputs: Name of the projected inputs (T, B, P).
        hidden: Name of the hidden before the first frame, (L, B, H).
        cell: Name of the cell before the first frame, (L, B, H).
    """
    place = 0 if config.lookahead_frames else -1
    kept = graph.weight("kept", np.array([place], np.int64))
    walked = Walked(inputs, [], [])
    for layer in range(config.num_layers):
        nodes = CellNodes(config, weights, layer)
        index = graph.weight(f"{nodes.name}.index", np.array(layer, np.int64))
        start = [
            graph.node("Gather", (name, index), f"{nodes.name}.{name}_before", axis=0)
            for name in (hidden, cell)
        ]
        shape = graph.node("Shape", (start[0],), f"{nodes.name}.shape")
        zeros = graph.node("ConstantOfShape", (shape,), f"{nodes.name}.zeros")
        forward, cells = _scan(graph, nodes, walked.outputs, *start)
        backwards = CellNodes(config, weights, layer, reverse=True)
        backward, _ = _scan(graph, backwards, walked.outputs, zeros, zeros)
        both = graph.node("Concat", (forward, backward), f"{nodes.name}.both_directions", axis=2)
        for carried, states in ((walked.hiddens, forward), (walked.cells, cells)):
            carried.append(graph.node("Gather", (states, kept), f"{states}_kept", axis=0))
        walked = Walked(both, walked.hiddens, walked.cells)
    return walked


def _scan(graph: Graph, nodes: CellNodes, inputs: str, hidden: str, cell: str) -> tuple[str, str]:
    """One layer in one direction; returns the names of hidden and cell of each frame, (T, B, H)."""
    config = nodes.config
    width = config.projection_dim if nodes.layer == 0 else 2 * config.hidden_dim
    state: list[int | str] = ["B", config.hidden_dim]
    x, h, c = (f"{nodes.name}.{name}" for name in ("input_t", "hidden_t", "cell_t"))
    body = Graph(outer=graph)
    after = nodes.step(body, x, h, c)
    outputs = [
        body.node("Identity", (name,), f"{nodes.name}.{kind}")
        for kind in ("carried", "said")
        for name, kind in ((after[0], f"hidden_{kind}"), (after[1], f"cell_{kind}"))
    ]
    proto = body.proto(
        f"{nodes.name}.body",
        [(h, state), (c, state), (x, ["B", width])],
        [(name, state) for name in outputs],
    )
    direction = [int(nodes.reverse)]
    names = [f"{nodes.name}.{name}" for name in ("last_hidden", "last_cell", "hiddens", "cells")]
    graph.nodes(
        "Scan",
        (hidden, cell, inputs),
        names,
        f"{nodes.name}.scan",
        body=proto,
        num_scan_inputs=1,
        scan_input_directions=direction,
        scan_output_directions=direction * 2,
    )
    return names[2], names[3]
