"""The recurrent cells in torch, each over T steps of B rows, from explicit states to explicit ones.

Hidden and cell have the same shape for all of them, (L, B, H), so that what stores and commits them
need not know which cell it is; a GRU has no cell and passes it through.

With x the input, h the hidden before, c the cell before, σ the logistic function and ⊙ the product
per element; biases are left out here:

- `lstm`: Hochreiter and Schmidhuber (1997) with the forget gate of Gers, Schmidhuber and Cummins
  (2000). i, f, o = σ(W x + R h), g = tanh(W x + R h), c' = f ⊙ c + i ⊙ g, h' = o ⊙ tanh(c').
- `lstm_peephole`: Gers and Schmidhuber (2000). i and f also see p ⊙ c, and o sees p ⊙ c'.
- `lstm_coupled`: Greff et al. (2017), "CIFG". f = 1 - i.
- `gru`: Cho et al. (2014), with the reset gate behind the product, as in cuDNN.
  r, z = σ(W x + R h), n = tanh(W x + r ⊙ R h), h' = (1 - z) ⊙ n + z ⊙ h.

Layer normalisation is that of Ba, Kiros and Hinton (2016), equations 20 to 22: W x and R h are each
normalised over all gates together, c' before its tanh. (For the GRU the paper normalises the gates
apart from the candidate; here all three together.)

What a cell remembers by is biased by +1 at the start, so that it remembers before it has learnt
what to forget (Jozefowicz, Zaremba and Sutskever, 2015): the forget gate; the input gate by -1,
where they are coupled; the update gate z of a GRU. Peepholes start at zero: at random, some cells
would hold their own gates open from the start and grow without bound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from streamer.models.config import NUM_GATES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streamer.models.config import Architecture, ModelConfig

State = tuple[Tensor, Tensor]
"""(hidden, cell): (L, B, H) each of a whole network, (B, H) of a layer."""
NORM_EPSILON = 1e-5
"""Added to variances, as `torch.nn.LayerNorm` does."""
_RECURRENT_GAIN = 0.1
"""What the gain on R h starts at, as in Cooijmans et al. (2017). At 1, normalisation makes the
loop through h so strong that two layers are at the edge of chaos: rounding grows step by step."""
_MEMORY_GATE: dict[Architecture, tuple[int, float]] = {
    "lstm": (1, 1.0),
    "lstm_peephole": (1, 1.0),
    "lstm_coupled": (0, -1.0),
    "gru": (1, 1.0),
}
"""Which gate decides how much is remembered, and the bias it starts with."""


class StepObserver(Protocol):
    """Is told what happens inside the cells, step by step."""

    def __call__(self, suffix: str, gates: Mapping[str, Tensor], state: State) -> None:
        """One step of one layer.

        Args:
            suffix: Which layer and direction: `l0`, `l0_reverse`.
            gates: What was multiplied with, (B, H) each, from 0 to 1, by the names of
                `gate_names`.
            state: After the step, (B, H) each.
        """
        ...


def gate_names(architecture: Architecture) -> tuple[str, ...]:
    """What a `StepObserver` is told of: `update` is z, the part of the hidden that is kept."""
    return ("reset", "update") if architecture == "gru" else ("input", "forget", "output")


class RecurrentCells(nn.Module):
    """L layers of one kind of cell, by a loop over time.

    Names, shapes and order of the weights are those of `torch.nn.LSTM` and `torch.nn.GRU` (gates
    input, forget, candidate, output; reset, update, candidate), without `forget` where it is
    coupled. Beside them: `peephole_l0` (3 H; input, forget, output), and with layer normalisation
    `gain_ih_l0` and `gain_hh_l0` (gates), `gain_c_l0` and `bias_c_l0` (H; not for a GRU).

    Args:
        architecture: Which cell.
        input_dim: Of the first layer.
        hidden_dim: H.
        num_layers: L.
        layer_norm: See the module.
        directions: 2: the layers have weights for the backward direction too, `_reverse`.

    Attributes:
        observer: Is told of every step, if there is one.
    """

    def __init__(
        self,
        architecture: Architecture,
        input_dim: int,
        hidden_dim: int,
        num_layers: int,
        *,
        layer_norm: bool = False,
        directions: int = 1,
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.hidden_dim, self.num_layers = hidden_dim, num_layers
        self.layer_norm, self.directions = layer_norm, directions
        self.observer: StepObserver | None = None
        bound = hidden_dim**-0.5
        for layer in range(num_layers):
            for suffix in _suffixes(layer, directions):
                width = input_dim if layer == 0 else directions * hidden_dim
                for name, shape in self._shapes(width).items():
                    weight = torch.empty(shape)
                    if name.startswith("gain"):
                        nn.init.constant_(weight, _RECURRENT_GAIN if name == "gain_hh" else 1.0)
                    elif name == "peephole":
                        nn.init.zeros_(weight)
                    else:
                        nn.init.uniform_(weight, -bound, bound)
                    self.register_parameter(f"{name}_{suffix}", nn.Parameter(weight))

    def _shapes(self, input_dim: int) -> dict[str, tuple[int, ...]]:
        hidden_dim = self.hidden_dim
        gates_dim = NUM_GATES[self.architecture] * hidden_dim
        shapes: dict[str, tuple[int, ...]] = {
            "weight_ih": (gates_dim, input_dim),
            "weight_hh": (gates_dim, hidden_dim),
            "bias_ih": (gates_dim,),
            "bias_hh": (gates_dim,),
        }
        if self.architecture == "lstm_peephole":
            shapes["peephole"] = (3 * hidden_dim,)
        if self.layer_norm:
            shapes |= {"gain_ih": (gates_dim,), "gain_hh": (gates_dim,)}
            if self.architecture != "gru":
                shapes |= {"gain_c": (hidden_dim,), "bias_c": (hidden_dim,)}
        return shapes

    def forward(self, inputs_TBI: Tensor, state: State) -> tuple[Tensor, State]:
        """T steps of all layers, forwards in time.

        Args:
            inputs_TBI: float32 (T, B, I).
            state: Before the first step, (L, B, H) each.

        Returns:
            The last layer's hidden after each step (T, B, H), and the state after the last.
        """
        outputs_TBI, after = inputs_TBI, []
        for layer in range(self.num_layers):
            hidden, cell = state[0][layer], state[1][layer]
            outputs_TBI, cells_TBH = self.walk(f"l{layer}", outputs_TBI, (hidden, cell))
            after.append((outputs_TBI[-1], cells_TBH[-1]))
        hiddens, cells = zip(*after, strict=True)
        return outputs_TBI, (torch.stack(hiddens), torch.stack(cells))

    def walk(
        self, suffix: str, inputs_TBI: Tensor, state: State, *, mask_TB: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """T steps of one layer in one direction.

        Args:
            suffix: Of its weights: `l0`, `l0_reverse`.
            inputs_TBI: In the order of the walk.
            state: Before the first step, (B, H) each.
            mask_TB: float32; where 0, the state after that step is zero.

        Returns:
            Hidden and cell after each step, (T, B, H) each.
        """
        weights = {
            name: cast("Tensor", getattr(self, f"{name}_{suffix}")) for name in self._shapes(1)
        }
        # All inputs in one product: only what depends on the step before has to wait for it.
        projected_TBG = self._affine(inputs_TBI, weights, "ih")
        hidden, cell = state
        hiddens, cells = [], []
        for t, projected_BG in enumerate(projected_TBG.unbind(0)):
            recurrent_BG = self._affine(hidden, weights, "hh")
            gates, (hidden, cell) = self._step(projected_BG, recurrent_BG, (hidden, cell), weights)
            if mask_TB is not None:
                keep_B1 = mask_TB[t, :, None]
                hidden, cell = hidden * keep_B1, cell * keep_B1
            if self.observer is not None:
                self.observer(suffix, gates, (hidden, cell))
            hiddens.append(hidden)
            cells.append(cell)
        return torch.stack(hiddens), torch.stack(cells)

    def _affine(self, inputs: Tensor, weights: dict[str, Tensor], name: str) -> Tensor:
        """The part of the gates that comes from the input (`ih`) or from the hidden (`hh`)."""
        weight, bias = weights[f"weight_{name}"], weights[f"bias_{name}"]
        if not self.layer_norm:
            return functional.linear(inputs, weight, bias)
        product = functional.linear(inputs, weight)
        return functional.layer_norm(
            product, bias.shape, weights[f"gain_{name}"], bias, NORM_EPSILON
        )

    def _step(
        self, projected_BG: Tensor, recurrent_BG: Tensor, state: State, weights: dict[str, Tensor]
    ) -> tuple[dict[str, Tensor], State]:
        hidden, cell = state
        if self.architecture == "gru":
            reset, update, candidate = projected_BG.chunk(3, dim=1)
            reset_h, update_h, candidate_h = recurrent_BG.chunk(3, dim=1)
            reset, update = torch.sigmoid(reset + reset_h), torch.sigmoid(update + update_h)
            candidate = torch.tanh(candidate + reset * candidate_h)
            hidden = (1 - update) * candidate + update * hidden
            return {"reset": reset, "update": update}, (hidden, cell)
        gates_BG = projected_BG + recurrent_BG
        if self.architecture == "lstm_coupled":
            take, candidate, show = gates_BG.chunk(3, dim=1)
            take = torch.sigmoid(take)
            keep = 1 - take
        else:
            take, keep, candidate, show = gates_BG.chunk(4, dim=1)
            if self.architecture == "lstm_peephole":
                peep_take, peep_keep, peep_show = weights["peephole"].chunk(3)
                take, keep = take + peep_take * cell, keep + peep_keep * cell
            take, keep = torch.sigmoid(take), torch.sigmoid(keep)
        cell = keep * cell + take * torch.tanh(candidate)
        if self.architecture == "lstm_peephole":
            show = show + peep_show * cell
        shown = cell
        if self.layer_norm:
            gain, bias = weights["gain_c"], weights["bias_c"]
            shown = functional.layer_norm(cell, bias.shape, gain, bias, NORM_EPSILON)
        show = torch.sigmoid(show)
        return {"input": take, "forget": keep, "output": show}, (show * torch.tanh(shown), cell)


def make_cells(config: ModelConfig) -> nn.LSTM | nn.GRU | RecurrentCells:
    """The recurrent layers of a network, with random weights.

    torch's own kernels where they can do it; the loop else.
    """
    sizes = (config.projection_dim, config.hidden_dim, config.num_layers)
    cells: nn.LSTM | nn.GRU | RecurrentCells
    if config.architecture == "lstm" and not _needs_loop(config):
        cells = nn.LSTM(*sizes, bidirectional=config.directions == 2)
    elif config.architecture == "gru" and not _needs_loop(config):
        cells = nn.GRU(*sizes, bidirectional=config.directions == 2)
    else:
        cells = RecurrentCells(
            config.architecture,
            *sizes,
            layer_norm=config.layer_norm,
            directions=config.directions,
        )
    bias_memory_gates(cells, config)
    return cells


def as_loop(cells: nn.LSTM | nn.GRU | RecurrentCells, config: ModelConfig) -> RecurrentCells:
    """The same layers, with copies of the weights, by the loop over time: it can be observed.

    Args:
        cells: Of a network of this configuration.
        config: Its configuration.
    """
    loop = RecurrentCells(
        config.architecture,
        config.projection_dim,
        config.hidden_dim,
        config.num_layers,
        layer_norm=config.layer_norm,
        directions=config.directions,
    )
    loop.load_state_dict(cells.state_dict())
    return loop


def bias_memory_gates(cells: nn.Module, config: ModelConfig) -> None:
    """Set the gates that decide how much is remembered to what they start with."""
    gate, value = _MEMORY_GATE[config.architecture]
    hidden_dim = config.hidden_dim
    for layer in range(config.num_layers):
        for suffix in _suffixes(layer, config.directions):
            bias = cast("Tensor", getattr(cells, f"bias_ih_{suffix}"))
            nn.init.constant_(bias.detach()[gate * hidden_dim : (gate + 1) * hidden_dim], value)


def _needs_loop(config: ModelConfig) -> bool:
    return config.layer_norm or config.lookahead_frames > 0


def _suffixes(layer: int, directions: int) -> tuple[str, ...]:
    return (f"l{layer}", f"l{layer}_reverse")[:directions]
