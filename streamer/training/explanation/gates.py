"""What the gates and the cells of a network do over time, told by the cells themselves."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from streamer.core.errors import ConfigError, ModelError
from streamer.models.temporal.cells import as_loop, gate_names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from streamer.models.temporal.cells import State
    from streamer.models.temporal.network import RecurrentNetwork

CHUNK_FRAMES = 128
"""After so many frames the loop goes on from the network's own state: rounding can't grow."""
TOLERANCE = 1e-3
"""Largest difference of a hidden, which is from -1 to 1, between the loop and torch's kernels."""


@dataclass(frozen=True, slots=True)
class LayerTrace:
    """What happened in a recurrent layer.

    Attributes:
        gates: By name, see `gate_names`: float32 (T, H), from 0 to 1.
        hidden_TH: float32, after each frame.
        cell_TH: float32, after each frame; of a GRU, which has none, the hidden.
    """

    gates: Mapping[str, np.ndarray]
    hidden_TH: np.ndarray
    cell_TH: np.ndarray

    @property
    def norm_T(self) -> np.ndarray:
        """Euclidean norm of the cell over √H, so that widths can be compared: float64 (T,)."""
        return np.asarray(np.sqrt(np.square(self.cell_TH.astype(np.float64)).mean(axis=1)))


@torch.inference_mode()
def record_gates(network: RecurrentNetwork, features_TD: np.ndarray) -> tuple[LayerTrace, ...]:
    """The layers of a network while it watches a video from a fresh state.

    Layers of torch's own kernels are converted to the loop of `RecurrentCells`, which can be
    observed; what it puts out is compared with what the network puts out.

    Args:
        network: Of one direction, ready to serve.
        features_TD: Of the analysed frames; at least one.

    Raises:
        ConfigError: The network has two directions, and so no one state at a time.
        ModelError: The loop puts out something else.
    """
    config = network.config
    if config.directions == 2:
        raise ConfigError(
            f"bundle {config.name}: expected a model of one direction to record gates of, found "
            "two; train one with directions=1"
        )
    twin = copy.deepcopy(network).eval()
    twin.add_module(config.cell_family, as_loop(network.cells, config))
    recorder = _Recorder()
    assert hasattr(twin.cells, "observer")
    twin.cells.observer = recorder
    state = network.initial_state(1)
    features_T1D = torch.from_numpy(features_TD.astype(np.float32))[:, None]
    for chunk_T1D in torch.split(features_T1D, CHUNK_FRAMES):
        found_T1H, _ = twin.hiddens(chunk_T1D, state)
        own_T1H, state = network.hiddens(chunk_T1D, state)
        difference = float((found_T1H - own_T1H).abs().max())
        if not difference <= TOLERANCE:
            raise ModelError(
                f"bundle {config.name}: expected the observed cells to put out what the network "
                f"does, found a difference of {difference:.2g}"
            )
    names = gate_names(config.architecture)
    return tuple(recorder.trace(f"l{layer}", names) for layer in range(config.num_layers))


class _Recorder:
    """Keeps what it is told of the one row. Satisfies `StepObserver`."""

    def __init__(self) -> None:
        self._steps: dict[tuple[str, str], list[Tensor]] = {}

    def __call__(self, suffix: str, gates: Mapping[str, Tensor], state: State) -> None:
        """One step of one layer."""
        for name, values_BH in {**gates, "hidden": state[0], "cell": state[1]}.items():
            self._steps.setdefault((suffix, name), []).append(values_BH[0])

    def trace(self, suffix: str, names: tuple[str, ...]) -> LayerTrace:
        """What it was told of a layer."""

        def over_time(name: str) -> np.ndarray:
            return torch.stack(self._steps[suffix, name]).numpy()

        hidden_TH = over_time("hidden")
        cell_TH = hidden_TH if "update" in names else over_time("cell")
        return LayerTrace({name: over_time(name) for name in names}, hidden_TH, cell_TH)
