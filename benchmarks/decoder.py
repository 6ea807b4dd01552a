"""The decoder on per-frame scores of videos that somebody else's network made.

An `.npz` with, per video, `<key>_scores` (T, P) probabilities and `<key>_labels` (T,). What stands
before the first underscore of a key is its split: a split is decoded with a decoder fitted on all
others. Class 0 is the background; as in Lea et al., "Temporal Convolutional Networks" (CVPR 2017),
its segments don't count, its frames do, and scores are means over videos.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from streamer.models.bundle import DecoderConfig
from streamer.stages.smoothing import smooth
from streamer.training.chain import fit_chain
from streamer.training.dataset import Example
from streamer.training.delay import lagged_labels
from streamer.training.filter_search import search_filter
from streamer.training.metrics import edit_score, segment_counts, stretches
from streamer.training.tuning import fit_temperatures

BACKGROUND = 0
OVERLAPS = (0.10, 0.25, 0.50)
MAX_LAG_FRAMES = 5
SMOOTHING_PERIODS = (1.0, 2.0, 3.0, 5.0, 8.0)
PROBABILITY_FLOOR = 1e-12
_spent: list[float] = []
"""CPU seconds per frame of each video."""


@dataclass(frozen=True, slots=True)
class Video:
    """Scores as log-probabilities, float32 (T, P), and the truth."""

    split: str
    example: Example
    logits_TP: np.ndarray


def read(path: Path, *, fps: float) -> list[Video]:
    with np.load(path) as arrays:
        keys = sorted(name.removesuffix("_scores") for name in arrays if name.endswith("_scores"))
        return [_video(key, arrays[f"{key}_scores"], arrays[f"{key}_labels"], fps) for key in keys]


def _video(key: str, scores_TP: np.ndarray, labels_T: np.ndarray, fps: float) -> Video:
    if not np.allclose(scores_TP.sum(axis=1), 1, atol=1e-3):
        raise SystemExit(f"{key}_scores: expected probabilities that add up to 1 in each row")
    example = Example(
        name=key,
        compressed=False,
        features_TD=np.zeros((len(labels_T), 0), np.float16),
        pts_T=np.arange(len(labels_T)) / fps,
        phases_T=labels_T.astype(np.int64),
        actions_TA=np.zeros((len(labels_T), 0), np.float32),
    )
    logits_TP = np.log(np.maximum(scores_TP, PROBABILITY_FLOOR)).astype(np.float32)
    return Video(key.split("_")[0], example, logits_TP)


def measure(example: Example, said_T: np.ndarray) -> list[float]:
    """Accuracy, edit and F1 at each overlap, percent."""
    # One frame more, so that the last segment has its whole length.
    period = example.pts_T[1] - example.pts_T[0]
    pts_T = np.append(example.pts_T, example.pts_T[-1] + period)

    def segments(labels_T: np.ndarray) -> list:
        runs = stretches(np.append(labels_T, labels_T[-1]), pts_T)
        return [run for run in runs if run.label != BACKGROUND]

    said, truth = segments(said_T), segments(example.phases_T)
    scores = [
        float((said_T == example.phases_T).mean()),
        edit_score(said, truth),
        *(segment_counts(said, truth, overlap=overlap).f1 for overlap in OVERLAPS),
    ]
    return [100 * score for score in scores]


def smoothed_labels(video: Video, *, seconds: float, temperature: float) -> np.ndarray:
    """Most probable phase after exponential smoothing alone."""
    weights_TP = np.exp(video.logits_TP / temperature)
    smoothed_P, step = np.full(weights_TP.shape[1], np.nan, np.float32), 1 / _fps(video)
    labels = []
    for weights_P in weights_TP:
        raw_P = (weights_P / weights_P.sum()).astype(np.float32)
        smoothed_P = smooth(smoothed_P, raw_P, step_seconds=step, tau_seconds=seconds)
        labels.append(int(smoothed_P.argmax()))
    return np.array(labels)


def _fps(video: Video) -> float:
    return float(1 / (video.example.pts_T[1] - video.example.pts_T[0]))


def plain_decoder(num_phases: int, *, temperature: float) -> DecoderConfig:
    """One that neither smooths nor waits: what a filter is added to."""
    return DecoderConfig(
        phase_temperature=temperature,
        action_temperature=1.0,
        smoothing_seconds=0.0,
        enter_C=(0.5,) * num_phases,
        exit_C=(0.5,) * num_phases,
        min_on_seconds_C=(0.0,) * num_phases,
        min_off_seconds_C=(0.0,) * num_phases,
    )


def decode_split(held_out: list[Video], others: list[Video]) -> dict[str, list[np.ndarray]]:
    """Labels of each held-out video by each method, all fitted on the others."""
    examples, logits = [v.example for v in others], [v.logits_TP for v in others]
    num_phases, fps = logits[0].shape[1], _fps(others[0])
    temperature, _ = fit_temperatures(examples, logits, num_phases=num_phases)
    plain = plain_decoder(num_phases, temperature=temperature)
    chain = fit_chain(examples, num_phases=num_phases)
    found, _ = search_filter(
        chain, plain, examples, logits, analysis_fps=fps, max_lag_frames=MAX_LAG_FRAMES
    )

    def smoothing_score(seconds: float) -> float:
        return sum(
            sum(measure(v.example, smoothed_labels(v, seconds=seconds, temperature=temperature)))
            for v in others
        )

    tau = max((periods / fps for periods in SMOOTHING_PERIODS), key=smoothing_score)
    full = msgspec.structs.replace(
        plain, phase_filter=msgspec.structs.replace(found, lag_frames=MAX_LAG_FRAMES)
    )
    print(
        f"  {held_out[0].split}: fitted on {len(others)} videos: temperature {temperature:.2f}, "
        f"smoothing alone {tau:g} s, weight {found.evidence_weight:g}, prior exponent "
        f"{found.prior_exponent:g}, smoothing {found.smoothing_seconds:g} s, "
        f"lag {found.lag_frames}, stages {found.stages_P}"
    )
    methods: dict[str, list[np.ndarray]] = {"argmax": [], "causal smoothing alone": []}
    for video in held_out:
        methods["argmax"].append(video.logits_TP.argmax(axis=1))
        methods["causal smoothing alone"].append(
            smoothed_labels(video, seconds=tau, temperature=temperature)
        )
        began = time.process_time()
        labels_LT = lagged_labels(
            full, video.logits_TP, video.example.pts_T, num_phases=num_phases, analysis_fps=fps
        )
        _spent.append((time.process_time() - began) / len(video.example))
        for lag, labels_T in enumerate(labels_LT):
            name = f"confirmed at lag {lag}" if lag else "filter, lag 0"
            methods.setdefault(name, []).append(labels_T)
        methods.setdefault("confirmed at fitted lag", []).append(labels_LT[found.lag_frames])
    return methods


def table(title: str, rows: dict[str, list[list[float]]]) -> None:
    names = ("Acc", "Edit", *(f"F1@{round(100 * overlap)}" for overlap in OVERLAPS))
    print(f"\n{title:<26}" + "".join(f"{name:>8}" for name in names))
    for method, scores in rows.items():
        print(f"{method:<26}" + "".join(f"{mean:8.1f}" for mean in np.mean(scores, axis=0)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="the .npz")
    parser.add_argument("--fps", type=float, default=1.0, help="of its frames")
    arguments = parser.parse_args()
    videos = read(arguments.data, fps=arguments.fps)
    overall: dict[str, list[list[float]]] = {}
    tables = []
    for split in sorted({video.split for video in videos}):
        held_out = [video for video in videos if video.split == split]
        others = [video for video in videos if video.split != split]
        rows = {
            method: [measure(v.example, said) for v, said in zip(held_out, labels, strict=True)]
            for method, labels in decode_split(held_out, others).items()
        }
        tables.append((f"{split}, {len(held_out)} videos", rows))
        for method, scores in rows.items():
            overall.setdefault(method, []).extend(scores)
    for title, rows in (*tables, (f"all, {len(videos)} videos", overall)):
        table(title, rows)
    print(f"\nFilter and smoother: {1e6 * float(np.median(_spent)):.0f} µs of CPU per frame")


if __name__ == "__main__":
    main()
