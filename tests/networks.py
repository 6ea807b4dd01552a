"""Networks of every kind, with random weights as large as after training, and their bundles."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, get_args

import msgspec
import torch

from streamer.models.bundle import Bundle
from streamer.models.config import Architecture
from streamer.models.temporal.network import RecurrentNetwork

if TYPE_CHECKING:
    from pathlib import Path

    from streamer.models.config import ModelConfig

ARCHITECTURES: tuple[Architecture, ...] = get_args(Architecture)
GROWTH = {"weight_ih": 2.0, "weight_hh": 2.0, "gain_hh": 5.0, "head.weight": 3.5}
"""How much larger weights are after training than before: in the bundle that ships, and of gains a
guess."""
PEEPHOLE_SPREAD = 0.01
"""They start at zero. Training makes them ten times as large, but not at random: drawn so large
and each by itself, some would hold their own gates open, and their cells would grow for ever."""


def make_config(**changes) -> ModelConfig:
    """Of a small network."""
    small = {"feature_dim": 24, "projection_dim": 16, "hidden_dim": 32, "num_layers": 2}
    return msgspec.structs.replace(Bundle.load("workcell").config, **(small | changes))


def make_network(config: ModelConfig, *, seed: int = 0) -> RecurrentNetwork:
    """Ready to serve."""
    torch.manual_seed(seed)
    network = RecurrentNetwork(config).eval()
    with torch.no_grad():
        for name, weight in network.named_parameters():
            for part, growth in GROWTH.items():
                if part in name:
                    weight.mul_(growth)
            if "peephole" in name:
                weight.normal_(std=PEEPHOLE_SPREAD)
    return network


def make_bundle(folder: Path, network: RecurrentNetwork) -> Bundle:
    """As much of one as opening its model needs."""
    from safetensors.torch import save_file

    from streamer.training.graph import make_graph

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(make_graph(network))
    save_file(
        {k: v.contiguous() for k, v in network.state_dict().items()}, folder / "model.safetensors"
    )
    return replace(Bundle.load("workcell"), config=network.config, path=folder)
