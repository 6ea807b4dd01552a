"""`streamer fit`: from labelled video, or from a camera without labels, to a bundle."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from streamer.core.errors import ConfigError

if TYPE_CHECKING:
    from streamer.models.bundle import Bundle
    from streamer.models.encoders.encoder import Encoder
    from streamer.training.features import TrackMaker
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
        None,
        help="Train on own videos: a CSV file with the columns "
        "video,start,end,label[,kind][,track][,split][,source]; see `streamer dataset`.",
    ),
    self_supervised: str | None = typer.Option(
        None,
        metavar="SOURCE",
        help="Learn what is normal on this camera or recording, without labels: as in "
        "`streamer run`. The bundle then announces anomalies.",
    ),
    false_alarms_per_hour: float = typer.Option(
        1.0, min=1e-6, help="Self-supervised: most false alarms on normal video."
    ),
    seeds: int = typer.Option(64, min=1, help="Synthetic: how many scenes to train on."),
    minutes: float | None = typer.Option(
        None,
        min=0.1,
        help="Synthetic: minutes to train on, in all (48). Self-supervised: minutes to record "
        "(all of a file, 30 of a camera).",
    ),
    encoder: str = typer.Option(
        "efficientnet_lite0", help="efficientnet_lite0, a .onnx file, or torchvision:NAME."
    ),
    analysis_fps: float = typer.Option(10.0, min=0.1, help="Frames per second to analyse."),
    name: str | None = typer.Option(None, help="Name of the bundle. Default: of what it is from."),
    cell: Cell = typer.Option(Cell.LSTM, help="Which recurrent cell."),
    hidden: int = typer.Option(96, min=1, help="Width of the recurrent layers."),
    layers: int = typer.Option(1, min=1, help="How many recurrent layers."),
    layer_norm: bool = typer.Option(False, "--layer-norm", help="Normalise inside the cells."),
    directions: int = typer.Option(
        1, min=1, max=2, help="2: also backwards, from frames to come; see --lookahead."
    ),
    lookahead: int = typer.Option(
        0,
        min=0,
        help="With 2 directions: how many frames to come are waited for. 0: all of them, so that "
        "the bundle can't be served online.",
    ),
    updates: int = typer.Option(2000, min=1, help="Most updates of the weights."),
    seed: int = typer.Option(1, min=0, help="Of all chance: the same seed, the same bundle."),
    teacher: str | None = typer.Option(
        None, help="A bundle whose outputs count as targets too, as much as distillation says."
    ),
    assignments: list[str] = typer.Option(
        [], "--set", metavar="NAME=VALUE", help="Part of the recipe, such as method=window."
    ),
    features: Path | None = typer.Option(
        None, help="Cache of features. Default: `features` beside the folder of the run."
    ),
) -> None:
    """Train a temporal model, fit the decoder, measure it on unseen data, and write a bundle."""
    if sum(given is not None for given in (synthetic, videos, self_supervised)) != 1:
        raise ConfigError("fit: expected one of --synthetic, --videos and --self-supervised")
    _need_training_packages()
    from streamer.training.run import Shape

    if lookahead and directions == 1:
        raise ConfigError(f"fit: expected --directions 2 with --lookahead {lookahead}, found 1")
    shape = Shape(
        architecture=cell.value,
        hidden_dim=hidden,
        num_layers=layers,
        layer_norm=layer_norm,
        directions=2 if directions == 2 else 1,
        lookahead_frames=lookahead,
    )
    if self_supervised is not None:
        from streamer.cli.fit_camera import fit_camera

        if teacher is not None or assignments:
            raise ConfigError("fit: expected neither --teacher nor --set with --self-supervised")
        if directions == 2:
            raise ConfigError(
                "fit: expected --directions 1 with --self-supervised, found 2: a model that sees "
                "the next frame can't be surprised by it"
            )
        _show(
            fit_camera(
                out,
                self_supervised,
                minutes=minutes,
                false_alarms_per_hour=false_alarms_per_hour,
                encoder=encoder,
                analysis_fps=analysis_fps,
                name=name,
                shape=shape,
                updates=updates,
                seed=seed,
            )
        )
        return
    from streamer.cli.progress import clip_progress
    from streamer.models.bundle import Bundle
    from streamer.runtime.clock import SystemClock
    from streamer.training.recipe import make_recipe
    from streamer.training.run import make_config, train_bundle
    from streamer.training.synthetic_dataset import synthetic_dataset
    from streamer.training.video_dataset import video_dataset

    clock = SystemClock()
    opened, maker, analysis_fps = _features_of(
        videos, encoder, analysis_fps=analysis_fps, cache=features or out.parent / "features"
    )
    with clip_progress() as progress:
        if videos is not None:
            origin = videos.stem
            dataset = video_dataset(videos, seed=seed, maker=maker, clock=clock, progress=progress)
        else:
            origin = str(synthetic)
            dataset = synthetic_dataset(
                origin,
                num_seeds=seeds,
                minutes=minutes or 48.0,
                maker=maker,
                clock=clock,
                progress=progress,
            )
    config = make_config(
        dataset, shape, name=name or origin, encoder=opened, analysis_fps=analysis_fps
    )
    bundle = train_bundle(
        out,
        dataset,
        config=config,
        encoder=opened,
        recipe=make_recipe({"max_updates": str(updates), "seed": str(seed)}, assignments),
        progress=_say_check,
        teacher=None if teacher is None else Bundle.load(teacher),
    )
    _show(bundle)


def _features_of(
    videos: Path | None, encoder: str, *, analysis_fps: float, cache: Path
) -> tuple[Encoder, TrackMaker, float]:
    """The encoder, what gives the features of clips, and how many per second there can be."""
    from streamer.models.encoders.registry import DEFAULT_NAME, open_encoder
    from streamer.runtime.clock import SystemClock
    from streamer.training.external import ExternalEncoder, ExternalTracks, find_feature_set
    from streamer.training.features import FeatureMaker

    made_elsewhere = None if videos is None else find_feature_set(videos)
    if made_elsewhere is None:
        opened = open_encoder(encoder)
        maker = FeatureMaker(opened, analysis_fps=analysis_fps, cache=cache, clock=SystemClock())
        return opened, maker, analysis_fps
    if encoder != DEFAULT_NAME:
        raise ConfigError(
            f"fit: {videos} names features made elsewhere, so no encoder is needed; "
            f"leave out --encoder {encoder}"
        )
    analysis_fps = min(analysis_fps, made_elsewhere.fps)
    tracks = ExternalTracks(made_elsewhere, analysis_fps=analysis_fps)
    return ExternalEncoder(made_elsewhere), tracks, analysis_fps


def _show(bundle: Bundle) -> None:
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


def _say_check(check: Check) -> None:
    print(
        f"update {check.update}: training loss {check.train_loss:.3f}, validation loss "
        f"{check.validation_loss:.3f}, phase accuracy {check.phase_accuracy:.3f}",
        file=sys.stderr,
    )
