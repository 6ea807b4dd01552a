"""Is a bundle what it says? Every file, every shape, and the graph against the weights."""

from __future__ import annotations

import hashlib
import importlib.util
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from streamer.core.errors import ModelError
from streamer.core.preprocess import Preprocess
from streamer.models.bundle import Bundle, find_bundle
from streamer.models.config import DecoderConfig, ModelConfig
from streamer.models.manifest import FILES, MANIFEST, Manifest, decode_json
from streamer.models.temporal.registry import open_online_model
from streamer.models.temporal.walk import walk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KINDS: dict[str, type[Any]] = {
    "config.json": ModelConfig,
    "decoder.json": DecoderConfig,
    "preprocess.json": Preprocess,
    "metrics.json": dict[str, Any],
}
NUM_STEPS = 16
NUM_ROWS = 2
TOLERANCE = 1e-4
"""Largest difference between the graph and the weights, of outputs and state. Both compute in
float32, in another order."""


@dataclass(slots=True)
class Inspection:
    """What was found.

    Attributes:
        path: The folder.
        model_id: Of the bundle; empty if it can't be loaded.
        faults: A line for each thing that is wrong.
        remarks: A line for each thing that could not be checked.
    """

    path: Path
    model_id: str = ""
    faults: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def inspect_bundle(name_or_path: str | Path) -> Inspection:
    """Look at everything in a bundle, and go on after a fault as far as that makes sense.

    Raises:
        ModelError: There is no bundle.
    """
    found = Inspection(find_bundle(name_or_path))
    found.faults += _file_faults(found.path)
    if found.faults:
        return found
    try:
        bundle = Bundle.load(found.path)
        found.model_id = bundle.model_id
        _compare(bundle, found)
    except ModelError as error:
        found.faults.append(str(error))
    return found


def _file_faults(path: Path) -> Iterator[str]:
    """What is wrong with single files."""
    try:
        manifest = decode_json(path / MANIFEST, (path / MANIFEST).read_bytes(), Manifest)
    except (OSError, ModelError) as error:
        yield str(error)
        return
    for name in sorted({*FILES, *manifest.files}):
        expected = manifest.files.get(name)
        if "/" in name:
            yield f"{path / MANIFEST}: expected names of files beside it, found {name!r}"
            continue
        if expected is None:
            yield f"{path / MANIFEST}: expected the digest of {name}, found none"
        try:
            data = (path / name).read_bytes()
        except OSError as error:
            yield f"{path / name}: can't read it ({error.strerror})"
            continue
        digest = hashlib.sha256(data).hexdigest()
        if expected not in (None, digest):
            yield f"{path / name}: expected sha256 {expected} as in {MANIFEST}, found {digest}"
        if name in KINDS:
            try:
                decode_json(path / name, data, KINDS[name])
            except ModelError as error:
                yield str(error)
    for extra in sorted(path.iterdir()):
        if extra.name not in {*manifest.files, *FILES, MANIFEST}:
            yield f"{extra}: expected only what {MANIFEST} names, found something else beside it"


def _compare(bundle: Bundle, found: Inspection) -> None:
    """Show the graph and the weights the same random features."""
    config = bundle.config
    if config.reads_whole_clips:
        _compare_clips(bundle, found)
        return
    if config.directions == 2 and not config.lookahead_frames:
        found.remarks.append("model.onnx was not run: a model of whole recordings has no step")
        return
    graph = open_online_model(bundle, rows=NUM_ROWS)
    features_TBD = _random_features(bundle, graph.rows)
    with closing(graph):
        outputs = walk(graph, features_TBD)
    if not all(np.isfinite(array).all() for array in outputs):
        found.faults.append(f"{bundle.path / 'model.onnx'}: expected finite outputs, found others")
        return
    if importlib.util.find_spec("torch") is None:
        found.remarks.append("model.onnx was not compared with model.safetensors: no torch here")
        return
    from streamer.models.temporal.torch import TorchLookaheadModel, TorchTemporalModel

    kind = TorchLookaheadModel if config.lookahead_frames else TorchTemporalModel
    with closing(kind(bundle, rows=graph.rows)) as model:
        weights = walk(model, features_TBD)
    difference = max(
        float(np.abs(mine - other).max()) for mine, other in zip(outputs, weights, strict=True)
    )
    if bundle.config.precision != "float32":
        found.remarks.append(
            f"model.onnx is {bundle.config.precision}: it differs from model.safetensors by up to "
            f"{difference:.3g} on random features"
        )
    elif not difference <= TOLERANCE:
        found.faults.append(
            f"{bundle.path / 'model.onnx'}: expected the outputs of model.safetensors within "
            f"{TOLERANCE:g}, found a difference of {difference:.3g} on random features; "
            "they are not of the same model: export it again"
        )


def _compare_clips(bundle: Bundle, found: Inspection) -> None:
    """The same for a head that reads whole clips; captions are said by the graphs and no more."""
    from streamer.models.temporal.captions import OnnxCaptioner
    from streamer.models.temporal.clips import OnnxClipModel

    track_TD = _random_features(bundle, 1)[:, 0]
    if bundle.config.head == "caption":
        best = OnnxCaptioner(bundle).captions(track_TD)[0]
        outputs = np.array([best.log_prob])
    else:
        outputs, _ = OnnxClipModel(bundle).read(track_TD)
    if not np.isfinite(outputs).all():
        found.faults.append(f"{bundle.path / 'model.onnx'}: expected finite outputs, found others")
        return
    if importlib.util.find_spec("torch") is None:
        found.remarks.append("model.onnx was not compared with model.safetensors: no torch here")
        return
    from streamer.models.temporal.torch import read_whole_clip

    weights = read_whole_clip(bundle, track_TD)
    difference = float(np.abs(outputs - weights).max() / max(1.0, float(np.abs(weights).max())))
    if not difference <= TOLERANCE:
        found.faults.append(
            f"{bundle.path / 'model.onnx'}: expected the outputs of model.safetensors within "
            f"{TOLERANCE:g}, found a difference of {difference:.3g} on random features; "
            "they are not of the same model: export it again"
        )


def _random_features(bundle: Bundle, num_rows: int) -> np.ndarray:
    """float32 (T, B, D), spread as those that the model was trained on."""
    mean_D, scale_D = bundle.normalisation()
    random = np.random.default_rng(0)
    noise = random.standard_normal((NUM_STEPS, num_rows, bundle.config.feature_dim))
    return np.asarray(mean_D + noise / scale_D, np.float32)
