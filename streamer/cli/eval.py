"""`streamer eval`: how good bundles are on labelled videos."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from streamer.cli.eval_clips import eval_clips
from streamer.cli.labelled import check_part, load_labelled, need_matplotlib
from streamer.core.errors import ConfigError

if TYPE_CHECKING:
    from streamer.models.bundle import Bundle


def evaluate(
    bundle: list[str] = typer.Option(
        ..., help="A shipped bundle's name, or a folder; may be repeated (seeds of one training)."
    ),
    videos: Path = typer.Option(
        ..., help="Own videos: a CSV file with the columns video,start,end,label[,kind]."
    ),
    out: Path = typer.Option(..., help="Folder of the report."),
    split: str = typer.Option(
        "all", help="all, or the part that `fit` made of them: train, validation, test."
    ),
    split_seed: int = typer.Option(1, min=0, help="Of the split, as given to `fit`."),
    seed: int = typer.Option(1, min=0, help="Of the bootstrap."),
    background: list[str] = typer.Option(
        [],
        help="A phase that is no segment and no class; may be repeated. none: count all phases. "
        "Default: background, if the bundle has it.",
    ),
    window_frames: int = typer.Option(
        64, min=1, help="Compare with a model that forgets everything after so many frames."
    ),
    resamples: int = typer.Option(1000, min=20, help="Of the bootstrap over videos."),
    encoder: str | None = typer.Option(None, help="Default: the bundle's."),
    device: str | None = typer.Option(None, help="Where the encoder runs."),
    features: Path | None = typer.Option(
        None, help="Cache of features. Default: `features` beside the folder of the report."
    ),
) -> None:
    """Run videos as they would be served, compare with what is true, and write a report."""
    check_part(split)
    need_matplotlib("eval")
    from streamer.models.bundle import Bundle
    from streamer.training.annotations import Labels
    from streamer.training.evaluation.report import write_report
    from streamer.training.evaluation.run import Policy, measure_bundle

    bundles = [Bundle.load(name) for name in bundle]
    config = bundles[0].config
    for other in bundles[1:]:
        _check_alike(bundles[0], other)
    if config.head != "frames":
        eval_clips(
            bundles,
            videos,
            out,
            split=split,
            split_seed=split_seed,
            seed=seed,
            resamples=resamples,
            encoder=encoder,
            device=device,
            cache=features or out.parent / "features",
        )
        return
    labels = Labels(config.phases, config.actions)
    policy = Policy(
        background=() if background == ["none"] else tuple(background) or None,
        window_frames=window_frames,
        seed=seed,
        num_resamples=resamples,
    )
    policy.background_of(labels)  # a wrong one is told before anything is computed
    examples = load_labelled(
        bundles[0],
        videos,
        labels=labels,
        split=split,
        seed=split_seed,
        encoder=encoder,
        device=device,
        cache=features or out.parent / "features",
    )
    results = []
    for one in bundles:
        _say(f"measuring {one.path}")
        results.append(measure_bundle(one, examples, policy))
    part = videos.name if split == "all" else f"{videos.name}, part {split} (split {split_seed})"
    write_report(out, origin=part, examples=examples, results=results, policy=policy)
    print(out / "report.md")


def _check_alike(first: Bundle, other: Bundle) -> None:
    """Raise ConfigError unless both can be measured on the same features and truth."""
    for name in ("phases", "actions", "analysis_fps", "encoder_id"):
        ours, theirs = getattr(first.config, name), getattr(other.config, name)
        if ours != theirs:
            raise ConfigError(
                f"eval: expected bundles of one training, found {name} {ours} in {first.path} and "
                f"{theirs} in {other.path}; evaluate them one by one"
            )


def _say(text: str) -> None:
    print(text, file=sys.stderr)
