"""Clips of rendered scenes, small and cheap to decode."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamer.sources.recording import record
from tests.faults.model import FPS

if TYPE_CHECKING:
    from pathlib import Path

SIDE = 64


def write_clips(folder: Path, *, seeds: range, seconds: float) -> list[Path]:
    """One clip per seed, 64 x 64 at 10 frames a second. Those that are there already are kept.

    Args:
        folder: It is made.
        seeds: What is to be seen.
        seconds: Length of each.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for seed in seeds:
        path = folder / f"clip-{seed}-{seconds:g}.mp4"
        if not path.exists():
            beside = path.with_suffix(".new.mp4")
            record(beside, seconds=seconds, seed=seed, fps=FPS, width=SIDE, height=SIDE)
            beside.rename(path)
        paths.append(path)
    return paths
