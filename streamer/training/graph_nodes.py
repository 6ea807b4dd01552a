"""Collects the nodes and weights of an ONNX graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

OPSET, IR_VERSION = 18, 10
"""Both are read by onnxruntime 1.18 and later."""
Port = tuple[str, "Sequence[int | str]"]
"""Name and shape of an input or output, float32. A size that is free has a name."""


class Graph:
    """Nodes and weights, in the order in which they were added.

    Args:
        outer: The graph whose node has this one as its body, and whose weights it uses.
    """

    def __init__(self, outer: Graph | None = None) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._weights: dict[str, onnx.TensorProto] = {} if outer is None else outer._weights
        self._is_body = outer is not None

    def weight(self, name: str, value: np.ndarray) -> str:
        """Add a constant, unless it is there; returns its name."""
        if name not in self._weights:
            self._weights[name] = numpy_helper.from_array(np.array(value, order="C"), name)
        return name

    def node(self, op: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """Add a node with one output, which has its name; returns it."""
        self._nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def nodes(
        self, op: str, inputs: Sequence[str], outputs: Sequence[str], name: str, **attributes: Any
    ) -> Sequence[str]:
        """Add a node with several outputs; returns their names."""
        self._nodes.append(helper.make_node(op, inputs, outputs, name=name, **attributes))
        return outputs

    def proto(
        self,
        name: str,
        inputs: Sequence[Port],
        outputs: Sequence[Port],
        *,
        integers: Collection[str] = (),
    ) -> onnx.GraphProto:
        """The graph. A body leaves the weights to the graph around it.

        Args:
            name: Of the graph.
            inputs: float32.
            outputs: float32.
            integers: Names of inputs that are int64 instead.
        """
        kinds = {n: TensorProto.INT64 if n in integers else TensorProto.FLOAT for n, _ in inputs}
        return helper.make_graph(
            self._nodes,
            name,
            [helper.make_tensor_value_info(n, kinds[n], shape) for n, shape in inputs],
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in outputs],
            [] if self._is_body else list(self._weights.values()),
        )


def serialise(graph: onnx.GraphProto) -> bytes:
    """A checked model file: the same graph, the same bytes."""
    proto = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="streamer",
    )
    onnx.checker.check_model(proto, full_check=True)
    data: bytes = proto.SerializeToString(deterministic=True)
    return data
