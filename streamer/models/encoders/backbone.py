"""torchvision's classifiers with the classifier taken off."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torchvision import models

from streamer.core.errors import ConfigError
from streamer.core.preprocess import Preprocess
from streamer.models.encoders.weights import load_weights

if TYPE_CHECKING:
    from streamer.models.encoders.reference import TorchvisionReference

_NUM_CLASSES = 1000
# They train with side branches, and turn ImageNet's normalisation into their own in `forward`;
# torchvision sets both only when it loads the weights itself.
_WITH_BRANCHES: dict[str, tuple[str, ...]] = {
    "googlenet": ("aux1", "aux2"),
    "inception_v3": ("AuxLogits",),
}


@dataclass(frozen=True, slots=True)
class Backbone:
    """A network from normalised pictures to features.

    Attributes:
        network: float32 (N, 3, H, W) → (N, D): the input of the last layer of the classifier.
        default_preprocess: Stretched to the size its weights were made for.
    """

    network: nn.Module
    default_preprocess: Preprocess


def build_backbone(reference: TorchvisionReference, *, name: str) -> Backbone:
    """Build a network, take the classifier off and load the weights.

    Args:
        reference: Which network and weights.
        name: The encoder, for messages.

    Raises:
        ConfigError: torchvision has no such classifier.
        ModelError: The weights are not there, damaged, or of another network.
    """
    architecture = reference.architecture
    known = models.list_models(module=models)
    if architecture not in known:
        near = difflib.get_close_matches(architecture, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else f": {', '.join(known)}"
        raise ConfigError(
            f"encoder {name}: expected a classification model of torchvision, "
            f"found {architecture!r}{hint}"
        )
    network, removed = _build(architecture, seed=reference.seed)
    load_weights(network, reference, ignoring=removed, name=name)
    size = int(models.get_model_weights(architecture).DEFAULT.transforms().crop_size[0])
    return Backbone(network.eval().requires_grad_(False), Preprocess(width=size, height=size))


def _build(architecture: str, *, seed: int) -> tuple[nn.Module, tuple[str, ...]]:
    """The network, and the names of the modules taken out of it."""
    branches = _WITH_BRANCHES.get(architecture, ())
    options: dict[str, Any] = {"weights": None}
    if branches:
        options |= {"transform_input": True, "aux_logits": False, "init_weights": False}
    # The process's own random numbers go on as if nothing had happened.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: nn.Module = models.get_model(architecture, **options)
    classifier = _find_classifier(network)
    network.set_submodule(classifier, nn.Identity())
    return network, (classifier, *branches)


def _find_classifier(network: nn.Module) -> str:
    """The last layer with one output per class: a matrix, or SqueezeNet's convolution."""
    found: list[str] = [
        name
        for name, module in network.named_modules()
        if (isinstance(module, nn.Linear) and module.out_features == _NUM_CLASSES)
        or (isinstance(module, nn.Conv2d) and module.out_channels == _NUM_CLASSES)
    ]
    assert found, "every classifier of torchvision has one"
    return found[-1]
