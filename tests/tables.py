"""Tables of labels whose videos are files of drawn features, and a small `streamer fit` of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import typer
from typer.testing import CliRunner

from streamer.cli.fit import fit
from streamer.training.feature_file import FeatureSet, write_feature_set

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from click.testing import Result

PHASES = ("wait", "work", "pack")
FEATURES = FeatureSet(name="drawn", feature_dim=6, fps=10.0)
HEADING = "video,start,end,label,kind,split,source"
LENGTHS = (1.5, 3.0)
"""Seconds that a phase lasts, at least and at most."""
_DIRECTIONS = 2 * np.random.default_rng(99).normal(size=(len(PHASES), FEATURES.feature_dim))


def write_drawn_table(
    folder: Path,
    *,
    videos: int = 8,
    num_phases: int = 8,
    splits: Sequence[str] | None = None,
    actions: bool = False,
) -> Path:
    """Videos `0.npy` …, each with its phases in turn from the first one on.

    Args:
        folder: For `labels.csv` and the files. Made if it isn't there.
        videos: How many.
        num_phases: Of each video.
        splits: Of each video; None: not said.
        actions: Whether every `work` is an action `lamp`, too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = [HEADING]
    for video in range(videos):
        random = np.random.default_rng(video)
        seconds = random.uniform(*LENGTHS, num_phases).round(1)
        ends = seconds.cumsum().round(1)
        turns = np.arange(num_phases) % len(PHASES)
        split = "" if splits is None else splits[video]
        for turn, start, end in zip(turns, ends - seconds, ends, strict=True):
            stretch = f"{video}.npy,{start:.1f},{end:.1f}"
            rows.append(f"{stretch},{PHASES[turn]},phase,{split},")
            if actions and PHASES[turn] == "work":
                rows.append(f"{stretch},lamp,action,{split},")
        phases_T = np.repeat(turns, (seconds * FEATURES.fps).round().astype(int))
        features_TD = _DIRECTIONS[phases_T] + random.normal(size=(len(phases_T), 6))
        np.save(folder / f"{video}.npy", features_TD.T.astype(np.float32))
    path = folder / "labels.csv"
    path.write_text("\n".join(rows) + "\n")
    write_feature_set(path, FEATURES)
    return path


def run_fit(table: Path, out: Path, *options: str, updates: int = 40) -> Result:
    """`streamer fit --videos`, small; what it raises comes through."""
    app = typer.Typer()
    app.command()(fit)
    small = ("--updates", str(updates), "--hidden", "12", "--set", "check_every=10")
    for assignment in ("num_lanes=8", "num_steps=16", "warmup_updates=5", "learning_rate=0.01"):
        small += ("--set", assignment)
    arguments = ("--videos", str(table), "--out", str(out), *small, *options)
    return CliRunner().invoke(app, arguments, catch_exceptions=False)
