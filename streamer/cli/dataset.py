"""`streamer dataset`: labels from other tools, and what is wrong with them."""

from __future__ import annotations

import json as json_module
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streamer.cli.progress import clip_progress
from streamer.core.errors import ConfigError
from streamer.training.annotations.annotation import Split
from streamer.training.annotations.formats import FORMATS, import_annotations
from streamer.training.annotations.imported import ImportOptions
from streamer.training.annotations.table import write_table
from streamer.training.checks.check import check_dataset, read_known_labels
from streamer.training.checks.finding import Severity
from streamer.training.feature_file import FeatureSet, describing_file, write_feature_set

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.training.annotations.imported import Imported
    from streamer.training.checks.finding import Finding

dataset_app = typer.Typer(no_args_is_help=True, help="Labelled videos to train on.")

_STYLES = {Severity.ERROR: "red", Severity.WARNING: "yellow"}


@dataset_app.callback()
def dataset() -> None:
    """Labelled videos to train on."""


@dataset_app.command("import")
def import_(
    *,
    format: str = typer.Argument(help=", ".join(FORMATS), metavar="FORMAT"),
    path: Path = typer.Argument(help="The exported file, or the folder of a dataset."),
    out: Path = typer.Option(..., help="CSV file to write, for `streamer fit --videos`."),
    videos: Path | None = typer.Option(None, help="Folder of the videos. Default: beside PATH."),
    fps: float | None = typer.Option(None, help="Frames per second, where PATH counts frames."),
    phase: list[str] = typer.Option(
        [],
        help="A label, tier, track or category whose labels are phases (one at a time); '*' for "
        "all. The others are actions. Repeatable.",
    ),
    tier: list[str] = typer.Option([], help="ELAN: a tier to take; default: all. Repeatable."),
    point_seconds: float = typer.Option(0.5, help="How long a moment without a length lasts."),
    fold: int = typer.Option(1, min=1, help="MS-TCN: which of its splits."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace OUT if it is there."),
) -> None:
    """Make the CSV file of labels from what another tool wrote."""
    if out.exists() and not overwrite:
        raise ConfigError(f"{out}: is there already; choose another, or add --overwrite")
    options = ImportOptions(
        videos=videos,
        fps=fps,
        phases=tuple(phase),
        tiers=tuple(tier),
        point_seconds=point_seconds,
        fold=fold,
    )
    imported = import_annotations(format, path, options)
    rows = sorted(imported.rows, key=lambda row: (row.video, row.annotation.start_seconds))
    write_table(out, rows)
    if imported.features_fps is not None and imported.feature_dim is not None:
        features = FeatureSet(
            name=path.resolve().name, feature_dim=imported.feature_dim, fps=imported.features_fps
        )
        write_feature_set(out, features)
        print(f"{describing_file(out)}: {features.feature_dim} features at {features.fps:g} fps")
    for remark in imported.remarks:
        print(f"streamer: {path}: {remark}", file=sys.stderr)
    print(_summary(out, imported))


@dataset_app.command("check")
def check(
    *,
    path: Path = typer.Argument(help="CSV file of labels.", metavar="ANNOTATIONS"),
    labels: Path | None = typer.Option(
        None, help="File with the labels that may occur, one per line."
    ),
    json: bool = typer.Option(False, "--json", help="A list of objects."),
) -> None:
    """Say what is wrong with a dataset, and how to mend it. Exit code 1 if it can't be trained on.

    Finds faulty rows, overlaps, unknown labels, labels beyond the end of their video, unreadable
    videos, variable frame rates, imbalance, and sources that are in two parts.
    """
    known = None if labels is None else read_known_labels(labels)
    with clip_progress() as progress:
        findings = check_dataset(path, known_labels=known, progress=progress)
    errors = sum(finding.severity is Severity.ERROR for finding in findings)
    if json:
        print(json_module.dumps([_as_object(finding) for finding in findings], indent=2))
    else:
        _print(findings)
        warnings = len(findings) - errors
        counted = f"{_count(errors, 'error')}, {_count(warnings, 'warning')}"
        print(f"{path}: {counted if findings else 'ok'}")
    if errors:
        raise typer.Exit(1)


def _summary(out: Path, imported: Imported) -> str:
    notes = [row.annotation for row in imported.rows]
    kinds = Counter(kind for _, kind in {(note.label, note.kind) for note in notes})
    splits = Counter(split for _, split in {(row.video, row.split) for row in imported.rows})
    parts = ", ".join(f"{splits[split]} {split}" for split in Split if splits[split])
    classes = " and ".join(_count(count, kind) for kind, count in sorted(kinds.items()))
    videos = _count(len({row.video for row in imported.rows}), "video")
    return f"{out}: {_count(len(notes), 'row')} of {videos}{parts and f' ({parts})'}, {classes}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _print(findings: Sequence[Finding]) -> None:
    """A table on a terminal, else a line per finding."""
    console = Console(highlight=False)
    if not console.is_terminal:
        for finding in findings:
            print(f"{finding.severity:<8}{finding}")
        return
    if not findings:
        return
    table = Table("", "where", "what", "how to mend it", box=None, pad_edge=False)
    for finding in findings:
        place = f"{finding.file.name}:{finding.line}" if finding.line else finding.file.name
        style = _STYLES[finding.severity]
        cells = (finding.severity.value, place, finding.text, finding.advice)
        table.add_row(*(Text(cell) for cell in cells), style=style)
    console.print(table)


def _as_object(finding: Finding) -> dict[str, object]:
    return {
        "severity": finding.severity.value,
        "code": finding.code,
        "file": str(finding.file),
        "line": finding.line or None,
        "text": finding.text,
        "advice": finding.advice,
    }
