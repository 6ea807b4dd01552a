"""The name of a torchvision encoder, taken apart."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from streamer.core.errors import ConfigError

PREFIX = "torchvision:"
_SYNTAX = f"{PREFIX}NAME, with ?weights=FILE or ?weights=random&seed=N"


class NamedWeights(StrEnum):
    """Weights that are not a file of the user's."""

    DEFAULT = "default"
    """The best that torchvision has for the architecture."""
    RANDOM = "random"
    """None: the initial values for a seed, for tests and measurements. Some networks (MobileNet,
    EfficientNet, Inception) then give features of about 0, because their batch norms know no
    statistics yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchvisionReference:
    """Which network, with which weights.

    Attributes:
        architecture: A classification model of torchvision, for example `resnet50`.
        weights: See `NamedWeights`, or a `.pth` or `.safetensors` file.
        seed: Of random weights.
    """

    architecture: str
    weights: NamedWeights | Path = NamedWeights.DEFAULT
    seed: int = 0


def parse_reference(name: str) -> TorchvisionReference:
    """`torchvision:resnet50?weights=random&seed=1` → its parts.

    Raises:
        ConfigError: It is not of that form.
    """
    architecture, _, query = name.removeprefix(PREFIX).partition("?")
    options: dict[str, str] = {}
    for pair in query.split("&") if query else ():
        key, _, value = pair.partition("=")
        if key not in ("weights", "seed") or key in options or not value:
            near = difflib.get_close_matches(key, ("weights", "seed"), n=1)
            hint = f"; did you mean {near[0]!r}?" if near and near[0] != key else ""
            raise ConfigError(f"encoder {name}: expected {_SYNTAX}, found {pair!r}{hint}")
        options[key] = value
    if not architecture:
        raise ConfigError(f"encoder {name}: expected {_SYNTAX}, found no name of a network")
    weights = _parse_weights(options.get("weights", NamedWeights.DEFAULT))
    return TorchvisionReference(
        architecture=architecture, weights=weights, seed=_parse_seed(options, weights, name=name)
    )


def _parse_weights(text: str) -> NamedWeights | Path:
    if text in tuple(NamedWeights):
        return NamedWeights(text)
    return Path(text).expanduser()


def _parse_seed(options: dict[str, str], weights: NamedWeights | Path, *, name: str) -> int:
    seed = options.get("seed")
    if seed is None:
        return 0
    if weights is not NamedWeights.RANDOM:
        raise ConfigError(f"encoder {name}: a seed goes with weights=random only; remove one")
    if not seed.isascii() or not seed.isdigit():
        raise ConfigError(f"encoder {name}: seed: expected a whole number from 0, found {seed!r}")
    return int(seed)
