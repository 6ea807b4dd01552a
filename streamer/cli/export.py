"""`streamer export`: a bundle's model for elsewhere, or as a smaller bundle."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path  # typer reads it
from typing import TYPE_CHECKING

import typer

from streamer.cli.recordings import read_tracks
from streamer.core.errors import ConfigError, ModelError
from streamer.core.extras import how_to_install
from streamer.models.bundle import Bundle

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np

SYNTHETIC = "synthetic:"
NUM_SCENES, SCENE_SECONDS = 2, 30.0
"""Of a synthetic scene: one that was not compressed, and one that was."""


def export(
    bundle: str = typer.Argument(help="A shipped bundle's name, or a folder."),
    *,
    onnx: Path | None = typer.Option(
        None, help="Write the graph to this file: of one time step, or of whole clips."
    ),
    int8: Path | None = typer.Option(None, help="Write a bundle with int8 weights to this folder."),
    on: list[str] = typer.Option(
        [],
        metavar="SOURCE",
        help="Measure what int8 changes on this: a video, a file of features for a bundle that was "
        "trained on such, or synthetic:workcell; may be repeated.",
    ),
    features: Path = typer.Option(Path("features"), help="Cache of features, for --int8."),
) -> None:
    """Write a bundle's model as a single ONNX file, or as a bundle with int8 weights."""
    if (onnx is None) == (int8 is None):
        raise ConfigError("export: expected one of --onnx and --int8")
    loaded = Bundle.load(bundle)
    if onnx is not None:
        _write_onnx(loaded, onnx)
        return
    assert int8 is not None
    if not on:
        raise ConfigError(
            "export: --int8 needs data to measure on what it changes: give videos that the model "
            "was not trained on with --on FILE, or --on synthetic:workcell"
        )
    if loaded.config.precision != "float32":
        raise ConfigError(f"export: {loaded.path}: expected float32 weights, found int8 ones")
    _write_int8(loaded, int8, on, cache=features)


def _write_onnx(bundle: Bundle, path: Path) -> None:
    config = bundle.config
    if config.head == "caption":
        raise ConfigError(
            f"--onnx: {bundle.path}: expected a model of one graph, found one of captions, which "
            "has two; take model.onnx and caption_step.onnx from its folder"
        )
    try:
        path.write_bytes((bundle.path / "model.onnx").read_bytes())
    except OSError as error:
        raise ConfigError(f"--onnx: {path}: can't write it ({error.strerror})") from error
    if config.reads_whole_clips:
        print(f"{path}: whole clips of {bundle.model_id}")
        print(f"inputs:  features (T, B, {config.feature_dim}), mask (T, B)")
        print(f"outputs: outputs (B, {config.num_classes}), weights (T, B)")
        return
    state = f"({config.num_layers}, B, {config.hidden_dim})"
    print(f"{path}: one time step of {bundle.model_id}")
    print(f"inputs:  features (B, {config.feature_dim}), hidden {state}, cell {state}")
    print(f"outputs: logits (B, {config.num_classes}), hidden_after {state}, cell_after {state}")


def _write_int8(bundle: Bundle, path: Path, sources: Sequence[str], *, cache: Path) -> None:
    try:
        from streamer.training.export import check_place, write_quantised_bundle
        from streamer.training.quantise import quantise
    except ImportError as error:
        raise ConfigError(
            f"export: --int8 needs {error.name}, which can't be imported; "
            f"{how_to_install('cpu', 'train')}"
        ) from error
    check_place(path)
    quantised = quantise(bundle, list(_features(bundle, sources, cache=cache)))
    made = write_quantised_bundle(path, bundle, quantised, features_of=", ".join(sources))
    drift = quantised.drift
    print(f"{made.path}  {made.model_id}")
    print(
        f"{drift.num_frames} frames compared: largest difference of a probability "
        f"{drift.max_difference:.4f}, mean {drift.mean_difference:.5f}; "
        f"{drift.changed_phases} phase(s) and {drift.changed_actions} action decision(s) are others"
    )


def _features(bundle: Bundle, sources: Sequence[str], *, cache: Path) -> Iterator[np.ndarray]:
    """Features (T, D) of each clip, by the bundle's encoder and at its frame rate."""
    for source in sources:
        if source.startswith(SYNTHETIC):
            yield from _scene_features(bundle, source.removeprefix(SYNTHETIC), cache=cache)
            continue
        for _, track in read_tracks(bundle, [Path(source)], encoder=None, device=None, cache=cache):
            yield track.features_TD


def _scene_features(bundle: Bundle, scene: str, *, cache: Path) -> Iterator[np.ndarray]:
    from streamer.models.encoders.registry import open_encoder
    from streamer.runtime.clock import SystemClock
    from streamer.training.features import FeatureMaker
    from streamer.training.synthetic import make_clips
    from streamer.training.synthetic_dataset import TEST_SEEDS

    config = bundle.config
    with closing(open_encoder(config.encoder, preprocess=bundle.preprocess)) as encoder:
        if encoder.encoder_id != config.encoder_id:
            raise ModelError(
                f"bundle {config.name} expects encoder {config.encoder} ({config.encoder_id}), "
                f"found {encoder.name} ({encoder.encoder_id})"
            )
        maker = FeatureMaker(
            encoder, analysis_fps=config.analysis_fps, cache=cache, clock=SystemClock()
        )
        clips = make_clips(
            scene, first_seed=TEST_SEEDS, num_seeds=NUM_SCENES, seconds=SCENE_SECONDS
        )
        for clip in clips:
            print(f"features of {clip.name}", file=sys.stderr)
            yield maker.track(clip).features_TD
