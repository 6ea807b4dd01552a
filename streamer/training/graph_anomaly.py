"""The anomaly head as ONNX nodes: the formulas of `streamer.models.temporal.anomaly`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from streamer.models.temporal.anomaly import ENERGY_FLOOR, LOG_STD_RANGE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streamer.training.graph_nodes import Graph


def score_nodes(
    graph: Graph, weights: Mapping[str, np.ndarray], *, before: str, normed: str
) -> str:
    """Add the head.

    Args:
        graph: Gets the nodes.
        weights: Of the network, by the names of its `state_dict`.
        before: Name of the last layer's hidden before the step, (B, H).
        normed: Name of the normalised features, (B, D).

    Returns:
        Name of the scores, (B, 1).
    """

    def add(op: str, inputs: tuple[str, ...], name: str, **attributes: int) -> str:
        return graph.node(op, inputs, f"anomaly.{name}", **attributes)

    def weight(name: str, value: np.ndarray) -> str:
        return graph.weight(f"anomaly.{name}", np.asarray(value, np.float32))

    def linear(layer: int, inputs: str) -> str:
        name = f"predict.{layer}"
        matrix = weight(f"{name}.weight", weights[f"anomaly.{name}.weight"].T)
        bias = weight(f"{name}.bias", weights[f"anomaly.{name}.bias"])
        return add("Gemm", (inputs, matrix, bias), name)

    last = graph.weight("axis_last", np.array([-1], np.int64))
    # What was predicted.
    predicted = linear(2, add("Relu", (linear(0, before),), "looked"))
    mean, raw_log_std = graph.nodes(
        "Split",
        (predicted,),
        ("anomaly.mean", "anomaly.raw_log_std"),
        "anomaly.split",
        axis=1,
        num_outputs=2,
    )
    low, high = (
        weight(f"log_std_{end}", np.array(value))
        for end, value in zip(("low", "high"), LOG_STD_RANGE, strict=True)
    )
    log_std = add("Clip", (raw_log_std, low, high), "log_std")
    # What has come.
    basis_DJ = weights["anomaly.basis_DJ"]
    components = add("MatMul", (normed, weight("basis", basis_DJ)), "components")
    seen = add("MatMul", (components, weight("basis_transposed", basis_DJ.T)), "seen")
    rest = add("Sub", (normed, seen), "rest")
    square = add("ReduceMean", (add("Mul", (rest, rest), "rest_square"), last), "rest_mean")
    floored = add("Add", (square, weight("energy_floor", np.array(ENERGY_FLOOR))), "rest_floored")
    energy_mean, energy_spread = weights["anomaly.energy"]
    centred = add(
        "Sub",
        (add("Log", (floored,), "energy"), weight("energy_mean", energy_mean)),
        "energy_centred",
    )
    energy = add("Mul", (centred, weight("energy_spread", energy_spread)), "energy_scaled")
    scaled = add("Mul", (components, weight("spread", weights["anomaly.spread_J"])), "scaled")
    target = add("Concat", (scaled, energy), "target", axis=1)
    # How far apart they are.
    error = add("Sub", (target, mean), "error")
    precision = add("Exp", (add("Neg", (log_std,), "log_precision"),), "precision")
    normal = add("Mul", (error, precision), "normal")
    half = weight("half", np.array(0.5))
    distance = add("Mul", (add("Mul", (normal, normal), "normal_square"), half), "distance")
    nats = add("ReduceMean", (add("Add", (distance, log_std), "nats"), last), "nats_mean")
    return add("Add", (nats, weight("constant", np.array(0.5 * math.log(2 * math.pi)))), "score")
