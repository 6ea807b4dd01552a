"""Getting a network's weights: from torchvision's cache, from a file, or random ones."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors
import safetensors.torch
import torch
from torch import nn
from torchvision import models

from streamer.core.errors import ConfigError, ModelError
from streamer.models.encoders.reference import NamedWeights

if TYPE_CHECKING:
    from collections.abc import Collection

    from streamer.models.encoders.reference import TorchvisionReference

StateDict = dict[str, torch.Tensor]


def load_weights(
    network: nn.Module, reference: TorchvisionReference, *, ignoring: Collection[str], name: str
) -> None:
    """Put weights into a network, in place. Random ones are there already.

    Args:
        network: A backbone, its classifier removed.
        reference: Which weights.
        ignoring: Modules that a file has and the backbone has not: the classifier and such.
        name: The encoder, for messages.

    Raises:
        ModelError: The weights are not there, damaged, or of another network.
    """
    if reference.weights is NamedWeights.RANDOM:
        return
    if isinstance(reference.weights, Path):
        found = _read_file(reference.weights)
    else:
        found = _fetch_default(reference.architecture, name=name)
    prefixes = tuple(f"{module}." for module in ignoring)
    state = {key: value for key, value in found.items() if not key.startswith(prefixes)}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        first = " ".join(str(error).split())[:300]
        raise ModelError(
            f"encoder {name}: expected weights of {reference.architecture}, "
            f"found those of another network ({first} …); name the file that fits"
        ) from error


def weights_digest(network: nn.Module) -> str:
    """sha256 over the names, types, shapes and bytes of all tensors, in order of their names."""
    digest = hashlib.sha256()
    for key, tensor in sorted(network.state_dict().items()):
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _fetch_default(architecture: str, *, name: str) -> StateDict:
    weights = models.get_model_weights(architecture).DEFAULT
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    file = weights.url.rsplit("/", 1)[-1]
    try:
        state: StateDict = weights.get_state_dict(
            progress=False, check_hash=True, weights_only=True
        )
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ModelError(
            f"encoder {name}: can't get {file} ({error}); put it into {folder}, or give "
            f"?weights=FILE, or ?weights=random to try without"
        ) from error
    return state


def _read_file(path: Path) -> StateDict:
    loaded: Any
    try:
        if path.suffix == ".safetensors":
            loaded = safetensors.torch.load_file(path)
        elif path.suffix in (".pth", ".pt"):
            # weights_only: a pickle that can run code is refused.
            loaded = torch.load(path, map_location="cpu", weights_only=True)
        else:
            raise ConfigError(f"{path}: expected weights as .pth, .pt or .safetensors")
    except FileNotFoundError as error:
        raise ModelError(f"{path}: no such file of weights") from error
    except (
        OSError,
        RuntimeError,
        EOFError,
        pickle.UnpicklingError,
        safetensors.SafetensorError,
    ) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(
            f"{path}: can't read the weights ({reason}); get the file again"
        ) from error
    if not isinstance(loaded, dict) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in loaded.items()
    ):
        raise ModelError(
            f"{path}: expected a state dict of tensors, found other things in it; "
            f"save model.state_dict() alone"
        )
    return loaded
