"""Tables of clips with feature files, as a user would have them, for each head."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from streamer.training.feature_file import FeatureSet
from tests.clips import (
    FEATURE_DIM,
    PHASES,
    WORDS,
    caption_example,
    flash_example,
    level_example,
    ordered_example,
)

if TYPE_CHECKING:
    from pathlib import Path

SET = FeatureSet(name="told", feature_dim=FEATURE_DIM, fps=10.0)
COLOURS = ("red", "blue")
VALUES = ("pressure", "angle")


def write_set(
    table: Path, tracks: dict[str, np.ndarray], lines: list[str], *, features: FeatureSet = SET
) -> Path:
    """A table beside the features (T, D) of its videos."""
    for name, track_TD in tracks.items():
        np.save(table.parent / name, track_TD.T)
    table.with_suffix(".features.json").write_bytes(msgspec.json.encode(features))
    table.write_text("\n".join(lines) + "\n")
    return table


def write_classes(folder: Path, count: int) -> Path:
    """Of whole videos: which flash is in them."""
    tracks, lines = {}, ["video,start,end,label"]
    for seed in range(count):
        example, _ = flash_example(seed)
        tracks[f"{seed}.npy"] = example.views[0]
        lines.append(f"{seed}.npy,,,{COLOURS[int(example.target)]}")
    return write_set(folder / "classes.csv", tracks, lines)


def write_orders(folder: Path, count: int, *, timed: bool) -> Path:
    """Phases in order, with their times or without."""
    tracks, lines = {}, ["video,start,end,label"]
    for seed in range(count):
        example, truth_T = ordered_example(seed)
        tracks[f"{seed}.npy"] = example.views[0]
        cuts = [0, *(np.flatnonzero(np.diff(truth_T)) + 1), len(truth_T)]
        for phase, (start, end) in zip(example.target, pairwise(cuts), strict=True):
            times = f"{start / 10},{end / 10}" if timed else ","
            lines.append(f"{seed}.npy,{times},{PHASES[phase]}")
    return write_set(folder / "orders.csv", tracks, lines)


def write_values(folder: Path, count: int, *, per_frame: bool) -> Path:
    """Two values of whole videos, or of every tenth of a second but the first."""
    tracks, lines = {}, ["video,start,end,label,value"]
    for seed in range(count):
        example = level_example(seed, per_frame=per_frame)
        tracks[f"{seed}.npy"] = example.views[0]
        if not per_frame:
            for name, value in zip(VALUES, example.target, strict=True):
                lines.append(f"{seed}.npy,,,{name},{value}")
            continue
        for t, values in enumerate(example.target[1:], start=1):
            for name, value in zip(VALUES, values, strict=True):
                lines.append(f"{seed}.npy,{t / 10},{(t + 1) / 10},{name},{value}")
    return write_set(folder / "values.csv", tracks, lines)


def write_captions(folder: Path, count: int) -> Path:
    """Sentences with a capital and a full stop."""
    tracks, lines = {}, ["video,start,end,label"]
    spoken = [word.replace(" ", "") for word in WORDS]
    for seed in range(count):
        example, _ = caption_example(seed)
        tracks[f"{seed}.npy"] = example.views[0]
        text = " ".join(spoken[word] for word in example.target)
        lines.append(f'{seed}.npy,,,"{text.capitalize()}."')
    return write_set(folder / "captions.csv", tracks, lines)
