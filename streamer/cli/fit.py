"""`streamer fit`: from labelled video, or from a camera without labels, to a bundle."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from streamer.cli.fit_clips import HeadChoice, PoolingChoice, choose_pooling
from streamer.cli.fit_options import assigned, need, refuse
from streamer.core.errors import ConfigError
from streamer.core.extras import how_to_install

if TYPE_CHECKING:
    from streamer.models.bundle import Bundle

DATA = "What to learn from"
FEATURES = "Features"
NETWORK = "Network"
TRAINING = "Training"
DECODER = "Decoder"
ANOMALIES = "Anomalies"
"""Panels of the help."""
NUM_SCENES = 64


class Cell(StrEnum):
    """Names of `streamer.models.config.Architecture`."""

    LSTM = "lstm"
    LSTM_PEEPHOLE = "lstm_peephole"
    LSTM_COUPLED = "lstm_coupled"
    GRU = "gru"


def fit(
    out: Path = typer.Option(..., help="Folder of the run; the bundle is its folder `bundle`."),
    name: str | None = typer.Option(None, help="Name of the bundle. Default: of what it is from."),
    videos: Path | None = typer.Option(
        None,
        help="Own videos: a CSV file with the columns "
        "video,start,end,label[,kind][,track][,split][,source]; see `streamer dataset`.",
        rich_help_panel=DATA,
    ),
    split_seed: int | None = typer.Option(
        None,
        min=0,
        help="Which videos validate and test, where the CSV file does not say it. Default: 1.",
        rich_help_panel=DATA,
    ),
    synthetic: str | None = typer.Option(
        None, help="A rendered scene: workcell.", rich_help_panel=DATA
    ),
    seeds: int | None = typer.Option(
        None, min=1, help="Synthetic: how many scenes to train on (64).", rich_help_panel=DATA
    ),
    minutes: float | None = typer.Option(
        None,
        min=0.1,
        help="Synthetic: minutes to train on, in all (48). Self-supervised: minutes to record "
        "(all of a file, 30 of a camera).",
        rich_help_panel=DATA,
    ),
    self_supervised: str | None = typer.Option(
        None,
        metavar="SOURCE",
        help="Learn what is normal on this camera or recording, without labels: as in "
        "`streamer run`. The bundle then announces anomalies.",
        rich_help_panel=DATA,
    ),
    anomalies: bool = typer.Option(
        False,
        "--anomalies",
        help="With --videos: announce what is unlike the labelled videos too. What the model says "
        "of labels stays the same.",
        rich_help_panel=ANOMALIES,
    ),
    false_alarms_per_hour: float | None = typer.Option(
        None,
        min=1e-6,
        help="With --self-supervised and --anomalies: most false alarms on normal video (1).",
        rich_help_panel=ANOMALIES,
    ),
    anticipation_frames: int = typer.Option(
        0,
        min=0,
        help="With --anomalies: also learn to guess features so many frames ahead, for `eval`.",
        rich_help_panel=ANOMALIES,
    ),
    encoder: str = typer.Option(
        "efficientnet_lite0",
        help="efficientnet_lite0, a .onnx file, or torchvision:NAME.",
        rich_help_panel=FEATURES,
    ),
    analysis_fps: float = typer.Option(
        10.0, min=0.1, help="Frames per second to analyse.", rich_help_panel=FEATURES
    ),
    features: Path | None = typer.Option(
        None,
        help="Cache of features. Default: `features` beside the folder of the run.",
        rich_help_panel=FEATURES,
    ),
    head: HeadChoice = typer.Option(
        HeadChoice.FRAMES,
        help="With --videos, what the model says: phases and actions of each frame, a class of a "
        "clip, phases known only in order, values, or a caption. See docs/heads.md.",
        rich_help_panel=NETWORK,
    ),
    pooling: PoolingChoice | None = typer.Option(
        None,
        help="How a clip's frames become one answer: with --head sequence (attention), or "
        "regression (none: values of each frame).",
        rich_help_panel=NETWORK,
    ),
    cell: Cell = typer.Option(Cell.LSTM, help="Which recurrent cell.", rich_help_panel=NETWORK),
    hidden: int = typer.Option(
        96, min=1, help="Width of the recurrent layers.", rich_help_panel=NETWORK
    ),
    layers: int = typer.Option(
        1, min=1, help="How many recurrent layers.", rich_help_panel=NETWORK
    ),
    layer_norm: bool = typer.Option(
        False, "--layer-norm", help="Normalise inside the cells.", rich_help_panel=NETWORK
    ),
    directions: int = typer.Option(
        1,
        min=1,
        max=2,
        help="2: also backwards, from frames to come; see --lookahead.",
        rich_help_panel=NETWORK,
    ),
    lookahead: int = typer.Option(
        0,
        min=0,
        help="With 2 directions: how many frames to come are waited for. 0: all of them, so that "
        "the bundle can't be served online.",
        rich_help_panel=NETWORK,
    ),
    updates: int = typer.Option(
        2000, min=1, help="Most updates of the weights.", rich_help_panel=TRAINING
    ),
    seed: int = typer.Option(
        1,
        min=0,
        help="Of the first weights, the order and the noise: the same seed, the same bundle.",
        rich_help_panel=TRAINING,
    ),
    repeats: int = typer.Option(
        1,
        min=1,
        help="Train with so many seeds, from --seed on; keep the best by validation, and say how "
        "the figures spread.",
        rich_help_panel=TRAINING,
    ),
    teacher: str | None = typer.Option(
        None,
        help="A bundle whose outputs count as targets too, as much as distillation says.",
        rich_help_panel=TRAINING,
    ),
    assignments: list[str] = typer.Option(
        [],
        "--set",
        metavar="NAME=VALUE",
        help="Part of the recipe, such as method=window.",
        rich_help_panel=TRAINING,
    ),
    phase_graph: str | None = typer.Option(
        None,
        metavar="FILE|observed",
        help="Which phase may follow which: a CSV file with the columns from,to, or as seen in "
        "training. No other transition is ever confirmed. Default: any may.",
        rich_help_panel=DECODER,
    ),
) -> None:
    """Train a temporal model, fit the decoder, measure it on unseen data, and write a bundle."""
    if sum(given is not None for given in (synthetic, videos, self_supervised)) != 1:
        raise ConfigError("fit: expected one of --synthetic, --videos and --self-supervised")
    if videos is None and head is not HeadChoice.FRAMES:
        raise ConfigError(f"fit: expected --videos with --head {head}; its table has the answers")
    choose_pooling(head, pooling)
    if anomalies and (videos is None or head is not HeadChoice.FRAMES):
        raise ConfigError("fit: expected --videos and --head frames with --anomalies")
    if anomalies and directions == 2:
        raise ConfigError(
            "fit: expected --directions 1 with --anomalies, found 2: they see the next frame"
        )
    need("--videos", videos, {"--split-seed": split_seed})
    need("--synthetic", synthetic, {"--seeds": seeds})
    need("--synthetic or --self-supervised", videos is None, {"--minutes": minutes})
    need("--anomalies", anomalies, {"--anticipation-frames": anticipation_frames or None})
    need(
        "--anomalies or --self-supervised",
        anomalies or self_supervised,
        {"--false-alarms-per-hour": false_alarms_per_hour},
    )
    need("--teacher", teacher, assigned(assignments, "distillation", "distillation_temperature"))
    need("--anomalies", anomalies, assigned(assignments, "anomaly_weight"))
    split_seed = 1 if split_seed is None else split_seed
    false_alarms_per_hour = false_alarms_per_hour or 1.0
    if lookahead and directions == 1:
        raise ConfigError(f"fit: expected --directions 2 with --lookahead {lookahead}, found 1")
    for_frames = {
        "--teacher": teacher is not None,
        "--phase-graph": phase_graph is not None,
        "--repeats": repeats > 1,
    }
    _need_training_packages()
    from streamer.cli.fit_camera import fit_camera
    from streamer.cli.fit_clips import fit_clips
    from streamer.cli.fit_labelled import Data, FeatureOptions, fit_labelled
    from streamer.training.foresight import Foresight
    from streamer.training.recipe import make_recipe
    from streamer.training.run import Shape

    shape = Shape(
        architecture=cell.value,
        hidden_dim=hidden,
        num_layers=layers,
        layer_norm=layer_norm,
        directions=2 if directions == 2 else 1,
        lookahead_frames=lookahead,
    )
    looked_at = FeatureOptions(encoder, analysis_fps, cache=features or out.parent / "features")
    if self_supervised is not None:
        refuse({**for_frames, "--set": bool(assignments)}, "--self-supervised")
        if directions == 2:
            raise ConfigError(
                "fit: expected --directions 1 with --self-supervised, found 2: a model that sees "
                "the next frame can't be surprised by it"
            )
        bundle = fit_camera(
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
    elif videos is not None and head is not HeadChoice.FRAMES:
        refuse(for_frames, f"--head {head}")
        bundle = fit_clips(
            out,
            videos,
            looked_at,
            head=head,
            pooling=pooling,
            shape=shape,
            name=name,
            split_seed=split_seed,
            updates=updates,
            seed=seed,
            assignments=assignments,
        )
    else:
        foresight = Foresight(
            false_alarms_per_hour=false_alarms_per_hour, anticipation_frames=anticipation_frames
        )
        bundle = fit_labelled(
            out,
            Data(
                videos=videos,
                split_seed=split_seed,
                scene=synthetic,
                seeds=seeds or NUM_SCENES,
                minutes=minutes,
            ),
            looked_at,
            name=name,
            shape=shape,
            recipe=make_recipe({"max_updates": str(updates), "seed": str(seed)}, assignments),
            teacher=teacher,
            phase_graph=phase_graph,
            repeats=repeats,
            foresight=foresight if anomalies else None,
        )
    _show(bundle)


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
            f"fit: needs {error.name}, which can't be imported; {how_to_install('cpu', 'train')}"
        ) from error
    del mpl, onnx, torch
