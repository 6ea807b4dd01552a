"""Two directions as an ONNX graph: over a whole recording, or over the window of one frame.

A layer's walk is a `Scan` node whose body is one step of the cell.
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
    """Names of what the layers made of a stretch of frames.

    Attributes:
        outputs: Both directions' hidden, of each frame (T, B, 2 H) or of a window's first (B, 2 H).
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
    """Add all layers, in both directions, over a whole recording.

    Args:
        graph: Gets the nodes.
        config: Of the network.
        weights: Of the network, by the names of its `state_dict`.
        inputs: Name of the projected inputs (T, B, P).
        hidden: Name of the hidden before the first frame, (L, B, H).
        cell: Name of the cell before the first frame, (L, B, H).
    """
    last = graph.weight("last", np.array([-1], np.int64))
    walked = Walked(inputs, [], [])
    for layer in range(config.num_layers):
        nodes = CellNodes(config, weights, layer)
        start, zeros = _starts(graph, nodes, hidden, cell)
        forward = _scan(graph, nodes, walked.outputs, start)
        backwards = CellNodes(config, weights, layer, reverse=True)
        backward = _scan(graph, backwards, walked.outputs, zeros)
        _carry(graph, walked, (forward.hiddens, forward.cells), last)
        both = (forward.hiddens, backward.hiddens)
        outputs = graph.node("Concat", both, f"{nodes.name}.both_directions", axis=2)
        walked = Walked(outputs, walked.hiddens, walked.cells)
    return walked


def walk_window(
    graph: Graph,
    config: ModelConfig,
    weights: Mapping[str, np.ndarray],
    *,
    inputs: str,
    mask: str,
    hidden: str,
    cell: str,
) -> Walked:
    """Add all layers, in both directions, over the window of its first frame.

    The state after that frame is carried on. The last layer walks backwards only, beside the step
    of that frame: nothing needs its forward outputs for the others.

    Args:
        graph: Gets the nodes.
        config: Of the network.
        weights: Of the network, by the names of its `state_dict`.
        inputs: Name of the projected inputs (S, B, P).
        mask: Name of the mask (S, B): 1 for frames that there are and then 0.
        hidden: Name of the hidden before the first frame, (L, B, H).
        cell: Name of the cell before the first frame, (L, B, H).
    """
    first = graph.weight("first", np.array(0, np.int64))
    kept = graph.weight("kept", np.array([0], np.int64))
    axis = graph.weight("axis_2", np.array([2], np.int64))
    mask = graph.node("Unsqueeze", (mask, axis), "mask_SB1")
    walked = Walked(inputs, [], [])
    for layer in range(config.num_layers):
        nodes = CellNodes(config, weights, layer)
        start, zeros = _starts(graph, nodes, hidden, cell)
        backwards = CellNodes(config, weights, layer, reverse=True)
        backward = _scan(graph, backwards, walked.outputs, zeros, mask=mask)
        name = f"{nodes.name}.both_directions"
        if layer < config.num_layers - 1:
            forward = _scan(graph, nodes, walked.outputs, start)
            _carry(graph, walked, (forward.hiddens, forward.cells), kept)
            both = (forward.hiddens, backward.hiddens)
            outputs = graph.node("Concat", both, name, axis=2)
        else:
            frame = graph.node("Gather", (walked.outputs, first), f"{nodes.name}.frame", axis=0)
            after = nodes.step(graph, frame, *start)
            axis_0 = graph.weight("axis_0", np.array([0], np.int64))
            for carried, state in zip((walked.hiddens, walked.cells), after, strict=True):
                carried.append(graph.node("Unsqueeze", (state, axis_0), f"{state}_1BH"))
            outputs = graph.node("Concat", (after[0], backward.last_hidden), name, axis=1)
        walked = Walked(outputs, walked.hiddens, walked.cells)
    return walked


def _starts(
    graph: Graph, nodes: CellNodes, hidden: str, cell: str
) -> tuple[tuple[str, str], tuple[str, str]]:
    """Names of what a layer's forward walk begins with, and its backward walk: (B, H) each."""
    index = graph.weight(f"{nodes.name}.index", np.array(nodes.layer, np.int64))
    before = [
        graph.node("Gather", (name, index), f"{nodes.name}.{name}_before", axis=0)
        for name in (hidden, cell)
    ]
    shape = graph.node("Shape", (before[0],), f"{nodes.name}.shape")
    zeros = graph.node("ConstantOfShape", (shape,), f"{nodes.name}.zeros")
    return (before[0], before[1]), (zeros, zeros)


def _carry(graph: Graph, walked: Walked, states: tuple[str, str], place: str) -> None:
    """Note which of a layer's states (T, B, H) is carried on."""
    for carried, name in zip((walked.hiddens, walked.cells), states, strict=True):
        carried.append(graph.node("Gather", (name, place), f"{name}_kept", axis=0))


@dataclass(frozen=True, slots=True)
class _Scanned:
    """Names of hidden and cell of each frame (T, B, H), and of the last hidden (B, H)."""

    hiddens: str
    cells: str
    last_hidden: str


def _scan(
    graph: Graph, nodes: CellNodes, inputs: str, start: tuple[str, str], *, mask: str = ""
) -> _Scanned:
    """One layer in one direction. Where `mask` (T, B, 1) is 0, the state after a step is zero."""
    config = nodes.config
    width = config.projection_dim if nodes.layer == 0 else 2 * config.hidden_dim
    state: list[int | str] = ["B", config.hidden_dim]
    x, h, c, m = (f"{nodes.name}.{name}" for name in ("input_t", "hidden_t", "cell_t", "mask_t"))
    ports: list[tuple[str, list[int | str]]] = [(h, state), (c, state), (x, ["B", width])]
    body = Graph(outer=graph)
    after = list(nodes.step(body, x, h, c))
    if mask:
        ports.append((m, ["B", 1]))
        after = [
            body.node("Mul", (name, m), f"{nodes.name}.{kind}_masked")
            for name, kind in zip(after, ("hidden", "cell"), strict=True)
        ]
    outputs = [
        body.node("Identity", (name,), f"{nodes.name}.{kind}")
        for kind in ("carried", "said")
        for name, kind in ((after[0], f"hidden_{kind}"), (after[1], f"cell_{kind}"))
    ]
    proto = body.proto(f"{nodes.name}.body", ports, [(name, state) for name in outputs])
    direction = [int(nodes.reverse)]
    names = [f"{nodes.name}.{name}" for name in ("last_hidden", "last_cell", "hiddens", "cells")]
    scanned = (inputs, mask) if mask else (inputs,)
    graph.nodes(
        "Scan",
        (*start, *scanned),
        names,
        f"{nodes.name}.scan",
        body=proto,
        num_scan_inputs=len(scanned),
        scan_input_directions=direction * len(scanned),
        scan_output_directions=direction * 2,
    )
    return _Scanned(names[2], names[3], names[0])
