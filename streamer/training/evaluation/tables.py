"""The tables of an evaluation's report, Markdown, and what each metric means."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from streamer.training.evaluation.run import KindResult

MEANINGS: dict[str, str] = {
    "accuracy": "Frames right, pooled",
    "accuracy_per_video": "Frames right, mean over videos",
    "macro_precision": "Precision, mean over classes",
    "macro_recall": "Recall, mean over classes",
    "macro_f1": "F1, mean over classes",
    "macro_jaccard": "Jaccard, mean over classes",
    "map": "mAP per frame",
    "calibrated_map": "mean calibrated AP per frame",
    "roc_auc": "ROC-AUC, one against the rest, mean over classes",
    "shown_accuracy": "Frames right by what was shown then",
    "shown_macro_f1": "F1 of what was shown then, mean over classes",
    "edit": "Edit score",
    "f1_at_10": "F1@10, pooled",
    "f1_at_25": "F1@25, pooled",
    "f1_at_50": "F1@50, pooled",
    "f1_at_10_per_video": "F1@10, mean over videos",
    "f1_at_25_per_video": "F1@25, mean over videos",
    "f1_at_50_per_video": "F1@50, mean over videos",
    **{f"point_ap_{k}s": f"Point-level mAP, within {k} s" for k in range(1, 11)},
    "onsets": "True onsets that could be seen",
    "onsets_missed_ratio": "Onsets missed",
    "onset_delay_median_seconds": "Onset to announcement, median, misses included (s)",
    "onset_delay_p95_seconds": "Onset to announcement, 95th percentile, misses included (s)",
    "false_onsets_per_hour": "False announcements per hour",
    "retracted_per_hour": "Announcements taken back per hour",
    "retracted_ratio": "Part of the announcements taken back",
    "flickers_per_hour": "Flickers per hour",
    "shown_onsets_ratio": "Onsets shown, per true one",
    "raw_ece": "ECE before calibration",
    "ece": "ECE after calibration",
    "raw_nll": "NLL before calibration (nats)",
    "nll": "NLL after calibration (nats)",
    "raw_brier": "Brier score before calibration",
    "brier": "Brier score after calibration",
}
"""What a metric is called for people, in the order of the report."""

_LABEL_COLUMNS = (
    "precision",
    "recall",
    "f1",
    "jaccard",
    "ap",
    "calibrated_ap",
    "roc_auc",
    "f1_at_10",
    "f1_at_25",
    "f1_at_50",
    "onsets",
)
_VIDEO_COLUMNS = (
    "accuracy",
    "edit",
    "f1_at_10",
    "f1_at_25",
    "f1_at_50",
    "onsets_missed_ratio",
    "onset_delay_median_seconds",
)


def result_table(result: KindResult, *, window_frames: int) -> Iterator[str]:
    """Carried beside windowed, with intervals."""
    yield (
        f"| | state carried | 95 % | reset every {window_frames} frames | carried - reset, 95 % |"
    )
    yield "|---|---:|---:|---:|---:|"
    for name, meaning in MEANINGS.items():
        if name in result.carried:
            cells = (
                number(result.carried[name]),
                interval(result.intervals.get(name)),
                number(result.windowed[name]),
                interval(result.difference_intervals.get(name), infinite="∞"),
            )
            yield f"| {meaning} | {' | '.join(cells)} |"


def spread_table(results: Sequence[KindResult]) -> Iterator[str]:
    """Mean and standard deviation over bundles, and each of them."""
    columns = " | ".join(str(k) for k in range(1, len(results) + 1))
    yield f"| | state carried | reset | {columns} |"
    yield f"|---|---:|---:|{'---:|' * len(results)}"
    for name, meaning in MEANINGS.items():
        if name in results[0].carried:
            each = [result.carried[name] for result in results]
            cells = (
                spread([result.carried[name] for result in results]),
                spread([result.windowed[name] for result in results]),
                *(number(value) for value in each),
            )
            yield f"| {meaning} | {' | '.join(cells)} |"


def label_table(by_label: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    """A row per class."""
    yield f"| label | {' | '.join(_heading(column) for column in _LABEL_COLUMNS)} |"
    yield f"|---|{'---:|' * len(_LABEL_COLUMNS)}"
    for label, scores in by_label.items():
        yield f"| `{label}` | {' | '.join(number(scores[name]) for name in _LABEL_COLUMNS)} |"


def video_table(by_video: Sequence[tuple[str, Mapping[str, float]]]) -> Iterator[str]:
    """A row per video."""
    columns = [name for name in _VIDEO_COLUMNS if name in by_video[0][1]]
    yield f"| video | {' | '.join(_heading(column) for column in columns)} |"
    yield f"|---|{'---:|' * len(columns)}"
    for name, scores in by_video:
        yield f"| {name} | {' | '.join(number(scores[column]) for column in columns)} |"


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation; NaN if one value is none or infinite."""
    if not np.isfinite(values).all():
        return float("nan"), float("nan")
    return float(np.mean(values)), float(np.std(values, ddof=1))


def spread(values: Sequence[float]) -> str:
    """Mean ± sample standard deviation."""
    mean, deviation = mean_and_deviation(values)
    return "-" if np.isnan(mean) else f"{number(mean)} ± {number(deviation)}"


def interval(bounds: tuple[float, float] | None, *, infinite: str = "missed") -> str:
    """Low to high. `infinite`: as in `number`."""
    if bounds is None or np.isnan(bounds).any():
        return "-"
    low, high = (number(bound, infinite=infinite) for bound in bounds)
    return f"{low} to {high}"


def number(value: float, *, infinite: str = "missed") -> str:
    """With as many digits as say something.

    Args:
        value: NaN stands for nothing to measure.
        infinite: The word for infinity: a delay that is infinite is a missed onset.
    """
    if np.isnan(value):
        return "-"
    if np.isinf(value):
        return infinite if value > 0 else f"-{infinite}"
    value = round(value, 3) + 0.0  # no negative zero
    if value == round(value) and abs(value) >= 2:
        return f"{value:.0f}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def _heading(name: str) -> str:
    return name.replace("_", " ").replace("f1 at ", "F1@")
