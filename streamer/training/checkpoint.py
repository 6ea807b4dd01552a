"""An unfinished training on disk, so that it can go on."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import msgspec
import torch

from streamer.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from streamer.models.config import ModelConfig
    from streamer.training.clips import ClipExample
    from streamer.training.dataset import Dataset
    from streamer.training.recipe import Recipe

NAME = "unfinished.pt"


def fingerprint(config: ModelConfig, dataset: Dataset, recipe: Recipe) -> str:
    """Digest of all that decides the weights."""
    digest = hashlib.sha256(msgspec.json.encode(config))
    digest.update(repr(sorted(asdict(recipe).items())).encode())
    for example in (*dataset.train, *dataset.validation):
        for array in (
            example.features_TD,
            example.phases_T,
            example.actions_TA,
            example.teacher_TC,
        ):
            digest.update(b"" if array is None else array.tobytes())
    return digest.hexdigest()


def clip_fingerprint(
    config: ModelConfig,
    train: Sequence[ClipExample],
    validation: Sequence[ClipExample],
    recipe: Recipe,
) -> str:
    """Digest of all that decides the weights of a model of clips."""
    digest = hashlib.sha256(msgspec.json.encode(config))
    digest.update(repr(sorted(asdict(recipe).items())).encode())
    for part in (train, validation):
        digest.update(b"part")
        for example in part:
            for array in (*example.views, example.target):
                digest.update(f"{array.shape}".encode())
                digest.update(array.tobytes())
    return digest.hexdigest()


def save(path: Path, state: dict[str, Any], *, fingerprint: str) -> None:
    """Write it beside, and rename: the file is always whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".partial")
    torch.save({"fingerprint": fingerprint, **state}, beside)
    beside.replace(path)


def load(path: Path, *, fingerprint: str) -> dict[str, Any] | None:
    """What was saved, None if there is nothing. Only tensors and plain values are read.

    Raises:
        ConfigError: It is of another training, or damaged.
    """
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True)
        saved = state.pop("fingerprint")
    except (OSError, RuntimeError, KeyError, AttributeError, EOFError, UnpicklingError) as error:
        raise ConfigError(
            f"{path}: not an unfinished training ({error}); remove it to begin anew"
        ) from error
    if saved != fingerprint:
        raise ConfigError(
            f"{path}: expected an unfinished training of this data, network and recipe, found one "
            f"of others; remove it to begin anew, or choose another folder"
        )
    return state
