"""One step of a recurrent cell as ONNX nodes: the formulas of `streamer.models.temporal.cells`.

All by plain arithmetic, although ONNX has operators for LSTM and GRU: those know no layer
normalisation, so that half of the cells would need this beside them. It costs little: at 32 rows of
width 96, onnxruntime 1.31 took 68 µs for a step of its LSTM operator alone and 77 µs for all nodes
of this graph, head and projection of width 64 included (GRU: 64 and 62 µs). Each node works on its
rows one by one or in one product of fixed shape, so that a row's result is the same whatever the
other rows hold. The operators serve as an independent reference in the tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from streamer.models.temporal.cells import NORM_EPSILON

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streamer.models.config import ModelConfig
    from streamer.training.graph_nodes import Graph

GATES = {
    "lstm": ("input", "forget", "candidate", "output"),
    "lstm_peephole": ("input", "forget", "candidate", "output"),
    "lstm_coupled": ("input", "candidate", "output"),
    "gru": ("reset", "update", "candidate"),
}
"""In the order of the weights' rows."""


@dataclass(frozen=True, slots=True)
class CellNodes:
    """Makes the nodes of one layer's steps, in one direction.

    Attributes:
        config: Which cell.
        weights: Of the network, by the names of its `state_dict`.
        layer: Which.
        reverse: Whether it is the layer's backward direction.
    """

    config: ModelConfig
    weights: Mapping[str, np.ndarray]
    layer: int
    reverse: bool = False

    @property
    def name(self) -> str:
        """What the names of its weights in the graph begin with."""
        return f"{self.config.cell_family}.{self.layer}{'.reverse' if self.reverse else ''}"

    def step(
        self, graph: Graph, inputs: str, hidden: str, cell: str, *, place: str = ""
    ) -> tuple[str, str]:
        """Add one step.

        Args:
            graph: Gets the nodes.
            inputs: Name of the input, (B, I).
            hidden: Name of the hidden before, (B, H).
            cell: Name of the cell before, (B, H).
            place: Tells the names of this step's nodes from those of another one's.

        Returns:
            Names of hidden and cell after it.
        """
        nodes = _Step(self, graph, f"{self.name}{place}")
        if self.config.architecture == "gru":
            return nodes.gru(inputs, hidden), cell
        return nodes.lstm(inputs, hidden, cell)

    def weight(self, name: str) -> np.ndarray:
        """A weight of the layer and direction, such as `bias_ih`."""
        suffix = f"l{self.layer}{'_reverse' if self.reverse else ''}"
        return self.weights[f"{self.config.cell_family}.{name}_{suffix}"]


@dataclass(frozen=True, slots=True)
class _Step:
    """One step's nodes, whose names begin with `name`."""

    cell: CellNodes
    graph: Graph
    name: str

    def lstm(self, inputs: str, hidden: str, cell: str) -> tuple[str, str]:
        add, own, config = self.graph.node, self._own, self.cell.config
        gates = self._split(self._gates(inputs, hidden), "")
        peephole = config.architecture == "lstm_peephole"
        if peephole:
            gates["input"] = self._peep(gates["input"], cell, 0)
            gates["forget"] = self._peep(gates["forget"], cell, 1)
        opened = {}
        for gate, raw in gates.items():
            if not (peephole and gate == "output"):
                op = "Tanh" if gate == "candidate" else "Sigmoid"
                opened[gate] = add(op, (raw,), own(f"{gate}_gate"))
        if config.architecture == "lstm_coupled":
            one = self.graph.weight("one", np.array(1, np.float32))
            opened["forget"] = add("Sub", (one, opened["input"]), own("forget_gate"))
        added = add("Mul", (opened["input"], opened["candidate"]), own("added"))
        kept = add("Mul", (opened["forget"], cell), own("kept"))
        shown = cell_after = add("Add", (added, kept), own("cell_after"))
        if peephole:
            output = self._peep(gates["output"], cell_after, 2)
            opened["output"] = add("Sigmoid", (output,), own("output_gate"))
        if config.layer_norm:
            shown = self._norm(cell_after, "c")
        squashed = add("Tanh", (shown,), own("squashed"))
        return add("Mul", (opened["output"], squashed), own("hidden_after")), cell_after

    def gru(self, inputs: str, hidden: str) -> str:
        add, own = self.graph.node, self._own
        projected = self._split(self._affine(inputs, "ih"), "_in")
        recurrent = self._split(self._affine(hidden, "hh"), "_hidden")
        opened = {
            gate: add(
                "Sigmoid",
                (add("Add", (projected[gate], recurrent[gate]), own(gate)),),
                own(f"{gate}_gate"),
            )
            for gate in ("reset", "update")
        }
        seen = add("Mul", (opened["reset"], recurrent["candidate"]), own("seen"))
        raw = add("Add", (projected["candidate"], seen), own("candidate"))
        candidate = add("Tanh", (raw,), own("candidate_gate"))
        one = self.graph.weight("one", np.array(1, np.float32))
        fresh = add("Sub", (one, opened["update"]), own("fresh"))
        added = add("Mul", (fresh, candidate), own("added"))
        kept = add("Mul", (opened["update"], hidden), own("kept"))
        return add("Add", (added, kept), own("hidden_after"))

    def _gates(self, inputs: str, hidden: str) -> str:
        """W x + R h + b, (B, gates), in one product where nothing comes between."""
        add, own = self.graph.node, self._own
        if self.cell.config.layer_norm:
            projected, recurrent = self._affine(inputs, "ih"), self._affine(hidden, "hh")
            return add("Add", (projected, recurrent), own("gates"))
        both = add("Concat", (inputs, hidden), own("both"), axis=1)
        parts = (self.cell.weight("weight_ih"), self.cell.weight("weight_hh"))
        weight = self._weight("weight", np.concatenate(parts, axis=1).T)
        bias = self._weight("bias", self.cell.weight("bias_ih") + self.cell.weight("bias_hh"))
        return add("Gemm", (both, weight, bias), own("gates"))

    def _affine(self, inputs: str, name: str) -> str:
        """The part of the gates that comes from the input (`ih`) or from the hidden (`hh`)."""
        own = self._own
        weight = self._weight(f"weight_{name}", self.cell.weight(f"weight_{name}").T)
        if not self.cell.config.layer_norm:
            bias = self._weight(f"bias_{name}", self.cell.weight(f"bias_{name}"))
            return self.graph.node("Gemm", (inputs, weight, bias), own(f"gates_{name}"))
        product = self.graph.node("MatMul", (inputs, weight), own(f"product_{name}"))
        return self._norm(product, name)

    def _norm(self, inputs: str, name: str) -> str:
        gain = self._weight(f"gain_{name}", self.cell.weight(f"gain_{name}"))
        bias = self._weight(f"bias_{name}", self.cell.weight(f"bias_{name}"))
        return self.graph.node(
            "LayerNormalization",
            (inputs, gain, bias),
            self._own(f"normed_{name}"),
            axis=-1,
            epsilon=NORM_EPSILON,
        )

    def _peep(self, gate: str, cell: str, index: int) -> str:
        """What a gate is once it has looked at the cell."""
        weight_H = np.split(self.cell.weight("peephole"), 3)[index]
        peephole = self._weight(f"peephole_{index}", weight_H)
        looked = self.graph.node("Mul", (peephole, cell), self._own(f"looked_{index}"))
        return self.graph.node("Add", (gate, looked), self._own(f"peeped_{index}"))

    def _split(self, gates: str, ending: str) -> dict[str, str]:
        names = GATES[self.cell.config.architecture]
        outputs = [self._own(f"{gate}{ending}") for gate in names]
        self.graph.nodes(
            "Split", (gates,), outputs, self._own(f"split{ending}"), axis=1, num_outputs=len(names)
        )
        return dict(zip(names, outputs, strict=True))

    def _weight(self, name: str, value: np.ndarray) -> str:
        return self.graph.weight(f"{self.cell.name}.{name}", value)

    def _own(self, name: str) -> str:
        return f"{self.name}.{name}"
