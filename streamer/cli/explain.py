"""`streamer explain`: what a bundle looks at, and what goes on inside it."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from streamer.cli.labelled import check_part, load_labelled, load_labelled_clips, need_matplotlib

if TYPE_CHECKING:
    import numpy as np

NUM_GROUPS = 16


class GroupBy(StrEnum):
    """How features are grouped."""

    BLOCKS = "blocks"
    CORRELATION = "correlation"


class ShuffleBy(StrEnum):
    """Names of `streamer.training.explanation.shuffling.Shuffle`."""

    VIDEOS = "videos"
    BLOCKS = "blocks"


def explain(
    bundle: str = typer.Option(..., help="A shipped bundle's name, or a folder."),
    videos: Path = typer.Option(
        ..., help="Own videos: a CSV file such as `fit` reads for the bundle's head."
    ),
    out: Path = typer.Option(..., help="Folder of the report."),
    split: str = typer.Option(
        "all", help="all, or the part that `fit` made of them: train, validation, test."
    ),
    split_seed: int = typer.Option(1, min=0, help="Of the split, as given to `fit`."),
    seed: int = typer.Option(1, min=0, help="Of the shuffling."),
    groups: int | None = typer.Option(
        None, min=1, help="How many groups of features. Default: 16, if there are so many."
    ),
    group_by: GroupBy = typer.Option(
        GroupBy.BLOCKS, help="Neighbours in the feature vector, or what is correlated."
    ),
    shuffle: ShuffleBy = typer.Option(
        ShuffleBy.VIDEOS,
        help="A group's features are taken from another video, or from other blocks of the same.",
    ),
    block_seconds: float = typer.Option(
        5.0, min=0.001, help="Length of a block, for --shuffle blocks."
    ),
    repeats: int = typer.Option(5, min=1, help="How often each group is shuffled."),
    show: list[str] = typer.Option(
        [], help="Name of a video to draw; may be repeated. Default: 4, evenly spread."
    ),
    encoder: str | None = typer.Option(None, help="Default: the bundle's."),
    device: str | None = typer.Option(None, help="Where the encoder runs."),
    features: Path | None = typer.Option(
        None, help="Cache of features. Default: `features` beside the folder of the report."
    ),
) -> None:
    """Say which features a model uses, and draw what its gates, cells and attention do."""
    check_part(split)
    need_matplotlib("explain")
    from streamer.models.bundle import Bundle
    from streamer.training.annotations import Labels
    from streamer.training.explanation.clips import as_example, true_values
    from streamer.training.explanation.importance import Permuting
    from streamer.training.explanation.report import write_report
    from streamer.training.explanation.run import Plan, check_plan
    from streamer.training.explanation.run import explain as explain_bundle

    loaded = Bundle.load(bundle)
    plan = Plan(
        num_groups=groups or min(NUM_GROUPS, loaded.config.feature_dim),
        group_by=group_by.value,
        permuting=Permuting(
            shuffle=shuffle.value,
            block_frames=max(1, round(block_seconds * loaded.config.analysis_fps)),
            num_repeats=repeats,
            seed=seed,
        ),
        show=tuple(show),
    )
    check_plan(loaded.config, plan)  # told before anything is computed
    where: dict[str, Any] = {
        "split": split,
        "seed": split_seed,
        "encoder": encoder,
        "device": device,
        "cache": features or out.parent / "features",
    }
    labels = Labels(loaded.config.phases, loaded.config.actions)
    values: dict[str, np.ndarray] = {}
    if loaded.config.head == "frames":
        examples = load_labelled(loaded, videos, labels=labels, **where)
    else:
        clips = load_labelled_clips(loaded, videos, **where)
        examples = tuple(as_example(clip, loaded.config) for clip in clips)
        values = true_values(clips, loaded.config)
    found = explain_bundle(
        loaded, examples, plan, values=values, progress=lambda line: print(line, file=sys.stderr)
    )
    part = videos.name if split == "all" else f"{videos.name}, part {split} (split {split_seed})"
    frames = sum(map(len, examples))
    origin = f"{part}: {len(examples)} videos, {frames} analysed frames"
    write_report(out, found, bundle=loaded, labels=labels, plan=plan, origin=origin)
    print(out / "report.md")
