"""Are the metrics those of the literature? Published predictions, scored, beside published values.

`python -m benchmarks.segmentation_metrics --data PATH`: a folder with `50salads_eval_edtcn.npz` and
`50salads_mid_edtcn.npz`, per video `<key>_labels` and `<key>_pred`, int (T,), with class 0 the
background: predictions of the ED-TCN of Lea et al., "Temporal Convolutional Networks for Action
Segmentation and Detection" (CVPR 2017). Exit code 1: a value is off by more than 0.1.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from streamer.training.metrics import (
    Counts,
    Stretch,
    edit_score,
    segment_counts,
    stretches,
    without,
)

TOLERANCE = 0.1
OVERLAPS = (0.10, 0.25, 0.50)
COLUMNS = ("accuracy", "edit", "F1@10", "F1@25", "F1@50")
PUBLISHED = {
    "50salads_eval_edtcn": (73.4, 72.3, 76.5, 73.8, 64.5),
    "50salads_mid_edtcn": (64.7, 59.8, 68.0, 63.9, 52.6),
}
BACKGROUND = {0}


@dataclass(frozen=True, slots=True)
class Video:
    """Labels and predictions of one video, int (T,)."""

    labels_T: np.ndarray
    predicted_T: np.ndarray


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the .npz files")
    data = parser.parse_args().data
    print(f"{'':32}{''.join(f'{name:>10}' for name in COLUMNS)}")
    worst = 0.0
    for name, published in PUBLISHED.items():
        path = data / f"{name}.npz"
        if not path.is_file():
            print(f"{path}: expected the published predictions, found no file", file=sys.stderr)
            return 1
        videos = read_videos(path)
        found = per_video(videos)
        worst = max(worst, *(abs(a - b) for a, b in zip(found, published, strict=True)))
        _row(f"{name} ({len(videos)} videos)", published=published)
        _row("  mean over videos", found=found)
        _row("  pooled, as MS-TCN", found=pooled(videos))
    well = worst <= TOLERANCE
    print(f"largest difference {worst:.3f}: {'as published' if well else 'not as published'}")
    return 0 if well else 1


def read_videos(path: Path) -> list[Video]:
    """The videos of an .npz file."""
    with np.load(path, allow_pickle=False) as arrays:
        keys = [name.removesuffix("_labels") for name in arrays if name.endswith("_labels")]
        return [Video(arrays[f"{key}_labels"], arrays[f"{key}_pred"]) for key in keys]


def per_video(videos: list[Video]) -> tuple[float, ...]:
    """Means over videos, per cent, with the background removed from the segments."""
    rows = []
    for video in videos:
        said, truth = _segments(video.predicted_T), _segments(video.labels_T)
        rows.append(
            (
                float((video.predicted_T == video.labels_T).mean()),
                edit_score(said, truth),
                *(segment_counts(said, truth, overlap=overlap).f1 for overlap in OVERLAPS),
            )
        )
    return tuple((100 * np.mean(rows, axis=0)).tolist())


def pooled(videos: list[Video]) -> tuple[float, ...]:
    """Accuracy over all frames, edit the mean over videos, F1 of the counts of all videos."""
    counts = [Counts() for _ in OVERLAPS]
    right = frames = 0
    for video in videos:
        said, truth = _segments(video.predicted_T), _segments(video.labels_T)
        for sums, overlap in zip(counts, OVERLAPS, strict=True):
            sums += segment_counts(said, truth, overlap=overlap)
        right += int((video.predicted_T == video.labels_T).sum())
        frames += len(video.labels_T)
    return (
        100 * right / frames,
        per_video(videos)[1],
        *(100 * sums.f1 for sums in counts),
    )


def _segments(labels_T: np.ndarray) -> list[Stretch]:
    times_T = np.arange(len(labels_T))
    return without(stretches(labels_T, times_T, end_seconds=len(labels_T)), BACKGROUND)


def _row(
    name: str,
    *,
    found: tuple[float, ...] | None = None,
    published: tuple[float, ...] | None = None,
) -> None:
    values = published or found or ()
    print(f"{name:32}{''.join(f'{value:>10.1f}' for value in values)}")


if __name__ == "__main__":
    sys.exit(main())
