"""`streamer fit`: from labelled video to a bundle."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from streamer.core.errors import ConfigError

if TYPE_CHECKING:
    from streamer.training.fit import Check


class Cell(StrEnum):
    """Names of `streamer.models.config.Architecture`."""

    LSTM = "lstm"
    LSTM_PEEPHOLE = "lstm_peephole"
    LSTM_COUPLED = "lstm_coupled"
    GRU = "gru"


def fit(
    out: Path = typer.Option(..., help="Folder of the run; the bundle is its folder `bundle`."),
    synthetic: str | None = typer.Option(None, help="Train on this rendered scene: workcell."),
    videos: Path | None = typer.Option(
        None, help="Train on own videos: a CSV file with the columns video,start,end,label[,kind]."
    ),
    seeds: int = typer.Option(64, min=1, help="Synthetic: how many scenes to train on."),
    minutes: float = typer.Option(48.0, min=0.1, help="Synthetic: minutes to train on, in all."),
    encoder: str = typer.Option(
        "efficientnet_lite0", help="efficientnet_lite0, a .onnx file, or torchvision:NAME."
    ),
    analysis_fps: float = typer.Option(10.0, min=0.1, help="Frames per second to analyse."),
    name: str | None = typer.Option(None, help="Name of the bundle. Default: of what it is from."),
    cell: Cell = typer.Option(Cell.LSTM, help="Which recurrent cell."),
    hidden: int = typer.Option(96, min=1, help="Width of the recurrent layers."),
    layers: int = typer.Option(1, min=1, help="How many recurrent layers."),
    layer_norm: bool = typer.Option(False, "--layer-norm", help="Normalise inside the cells."),
    updates: int = typer.Option(2000, min=1, help="Most updates of the weights."),
    seed: int = typer.Option(1, min=0, help="Of all chance: the same seed, the same bundle."),
    features: Path | None = typer.Option(
        None, help="Cache of features. Default: `features` beside the folder of the run."
    ),
) -> None:
    """Train a temporal model, fit the decoder, measure it on unseen data, and write a bundle."""
    if (synthetic is None) == (videos is None):
        raise ConfigError("fit: expected one of --synthetic and --videos")
    _need_training_packages()
    from streamer.models.encoders.registry import open_encoder
    from streamer.runtime.clock import SystemClock
    from streamer.training.features import FeatureMaker
    from streamer.training.recipe import Recipe
    from streamer.training.run import Shape, make_config, train_bundle
    from streamer.training.synthetic_dataset import synthetic_dataset
    from streamer.training.video_dataset import video_dataset

    clock, opened = SystemClock(), open_encoder(encoder)
    cache = features or out.parent / "features"
    maker = FeatureMaker(opened, analysis_fps=analysis_fps, cache=cache, clock=clock)
    if videos is not None:
        origin = videos.stem
        dataset = video_dataset(videos, seed=seed, maker=maker, clock=clock, progress=_say)
    else:
        origin = str(synthetic)
        dataset = synthetic_dataset(
            origin, num_seeds=seeds, minutes=minutes, maker=maker, clock=clock, progress=_say
        )
    shape = Shape(
        architecture=cell.value, hidden_dim=hidden, num_layers=layers, layer_norm=layer_norm
    )
    config = make_config(
        dataset, shape, name=name or origin, encoder=opened, analysis_fps=analysis_fps
    )
    recipe = Recipe(max_updates=updates, seed=seed)
    bundle = train_bundle(
        out, dataset, config=config, encoder=opened, recipe=recipe, progress=_say_check
    )
    print(f"{bundle.path}  {bundle.model_id}")
    print((bundle.path / "README.md").read_text(encoding="utf-8"))


def _need_training_packages() -> None:
    try:
        import matplotlib as mpl
        import onnx
        import torch
    except ImportError as error:
        raise ConfigError(
            f"fit: needs {error.name}, which can't be imported; pip install 'streamer[cpu,train]'"
        ) from error
    del mpl, onnx, torch


def _say(clip: str) -> None:
    print(f"features of {clip}", file=sys.stderr)


def _say_check(check: Check) -> None:
    print(
        f"update {check.update}: training loss {check.train_loss:.3f}, validation loss "
        f"{check.validation_loss:.3f}, phase accuracy {check.phase_accuracy:.3f}",
        file=sys.stderr,
    )
