"""Bundles on disk, made of the shipped one."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import msgspec

from streamer.models.bundle import Bundle
from streamer.models.manifest import make_manifest

if TYPE_CHECKING:
    from pathlib import Path


def copy_bundle(path: Path, **changes: dict[str, Any]) -> Bundle:
    """A copy of the shipped bundle, another one by its id if anything is changed.

    Args:
        path: Where.
        **changes: By JSON file without its ending, the values that are others.
    """
    shutil.copytree(Bundle.load("workcell").path, path)
    for name, values in changes.items():
        file = path / f"{name}.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | values))
    (path / "manifest.json").write_bytes(make_manifest(path))
    return Bundle.load(path)


def ahead_bundle(path: Path, *, lookahead_frames: int = 4) -> Bundle:
    """The shipped bundle with a backward direction of random weights that has a little to say."""
    import torch

    from streamer.models.temporal.network import RecurrentNetwork
    from streamer.models.temporal.torch import load_network
    from streamer.training.export import write_bundle

    old = Bundle.load("workcell")
    config = msgspec.structs.replace(old.config, directions=2, lookahead_frames=lookahead_frames)
    torch.manual_seed(lookahead_frames)
    network = RecurrentNetwork(config).eval()
    known = load_network(old).state_dict()
    weights = network.state_dict() | known
    backward_CH = 0.3 * torch.randn_like(known["head.weight"])
    weights["head.weight"] = torch.cat((known["head.weight"], backward_CH), dim=1)
    network.load_state_dict(weights)
    return write_bundle(
        path,
        model=network,
        config=config,
        preprocess=old.preprocess,
        decoder=old.decoder,
        metrics=old.metrics,
    )
