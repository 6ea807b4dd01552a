"""Writes a bundle: weights, graph, configuration, metrics, model card and manifest."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

import msgspec
from safetensors.torch import save

from streamer.core.errors import ConfigError
from streamer.models.bundle import Bundle
from streamer.models.manifest import CAPTION_STEP, FILES, MANIFEST, make_manifest
from streamer.training.card import model_card
from streamer.training.graph import make_graph
from streamer.training.graph_caption import make_word_graph

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streamer.core.preprocess import Preprocess
    from streamer.models.bundle import DecoderConfig, ModelConfig
    from streamer.models.temporal.network import RecurrentNetwork
    from streamer.training.quantise import Quantised


def write_bundle(
    path: Path,
    *,
    model: RecurrentNetwork,
    config: ModelConfig,
    preprocess: Preprocess,
    decoder: DecoderConfig,
    metrics: Mapping[str, Any],
) -> Bundle:
    """Write a bundle folder, and load it to see that it is whole.

    It is made beside and renamed: `path` holds either the old bundle or the new one.

    Args:
        path: The folder. A bundle that is there is replaced.
        model: Trained.
        config: What it is.
        preprocess: What its encoder's pictures went through.
        decoder: Fitted to it.
        metrics: JSON types only; what the model card reports.

    Raises:
        ConfigError: `path` holds something else.
        ModelError: The parts do not fit each other.
    """
    contents = {
        "README.md": model_card(config, decoder, metrics).encode(),
        "config.json": _json(config),
        "decoder.json": _json(decoder),
        "metrics.json": _json(metrics),
        "model.onnx": make_graph(model),
        "model.safetensors": save({k: v.contiguous() for k, v in model.state_dict().items()}),
        "preprocess.json": _json(preprocess),
    }
    if config.head == "caption":
        contents[CAPTION_STEP] = make_word_graph(model)
    return _place(path, contents)


def write_quantised_bundle(
    path: Path, bundle: Bundle, quantised: Quantised, *, features_of: str
) -> Bundle:
    """Write the int8 twin of a bundle: a bundle of its own, with what quantisation has changed.

    Args:
        path: The folder. A bundle that is there is replaced.
        bundle: What was quantised. Its other files are taken over.
        quantised: The model, and its drift from the bundle's.
        features_of: What the drift was measured on, for the model card.

    Raises:
        ConfigError: `path` holds something else.
    """
    config = msgspec.structs.replace(bundle.config, precision="int8")
    drift = {"of": bundle.model_id, "features_of": features_of, **asdict(quantised.drift)}
    metrics = {**bundle.metrics, "quantisation": drift}
    contents = {name: (bundle.path / name).read_bytes() for name in FILES}
    contents |= {
        "README.md": model_card(config, bundle.decoder, metrics).encode(),
        "config.json": _json(config),
        "metrics.json": _json(metrics),
        "model.onnx": quantised.model,
    }
    return _place(path, contents)


def write_with_metrics(path: Path, bundle: Bundle, metrics: Mapping[str, Any]) -> Bundle:
    """Write a bundle again, with other metrics and the card they make.

    Args:
        path: The folder. A bundle that is there is replaced.
        bundle: Its other files are taken over.
        metrics: See `write_bundle`.

    Raises:
        ConfigError: `path` holds something else.
    """
    contents = {name: (bundle.path / name).read_bytes() for name in FILES}
    contents["README.md"] = model_card(bundle.config, bundle.decoder, metrics).encode()
    contents["metrics.json"] = _json(metrics)
    return _place(path, contents)


def _place(path: Path, contents: Mapping[str, bytes]) -> Bundle:
    check_place(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        for name, content in contents.items():
            (beside / name).write_bytes(content)
        (beside / MANIFEST).write_bytes(make_manifest(beside))
        Bundle.load(beside)
        beside.chmod(0o755)  # mkdtemp makes it private
        if path.exists():
            shutil.rmtree(path)
        beside.rename(path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return Bundle.load(path)


def check_place(path: Path) -> None:
    """Raise ConfigError if a bundle can't be written there without destroying something else."""
    if path.exists() and not (path / MANIFEST).is_file():
        raise ConfigError(
            f"{path}: expected a bundle to replace or nothing, found something else; "
            f"choose another folder"
        )


def _json(value: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
