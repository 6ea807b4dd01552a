"""Pictures of an evaluation: which phases are confused, and what probabilities are worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from streamer.training.metrics.calibration import NUM_BINS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from streamer.training.evaluation.run import BundleResult
    from streamer.training.metrics.calibration import CalibrationSums

_MANY = 14
"""More classes than this have no room for numbers."""


def plot_confusion(
    path: Path,
    confusion_CC: np.ndarray,
    labels: Sequence[str],
    *,
    said: str = "said at once",
    unit: str = "frames",
) -> None:
    """Part of each true class's frames, or clips (row), taken for each class (column), as a PNG.

    Args:
        path: The file.
        confusion_CC: Counts. One more column counts those that were taken for none; it is drawn if
            there are any.
        labels: The classes.
        said: What the columns are.
        unit: What is counted.
    """
    columns = list(labels)
    if confusion_CC.shape[1] > len(labels):
        if confusion_CC[:, -1].any():
            columns.append("(none)")
        else:
            confusion_CC = confusion_CC[:, :-1]
    totals_C1 = np.maximum(confusion_CC.sum(axis=1, keepdims=True), 1)
    parts_CC = confusion_CC / totals_C1
    size = 2.5 + 0.55 * len(labels)
    figure = Figure(figsize=(size + 1.6, size), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    image = axes.imshow(parts_CC, vmin=0, vmax=1, cmap="Blues")
    axes.set_xticks(range(len(columns)), columns, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(
        range(len(labels)),
        [
            f"{label} ({total})"
            for label, total in zip(labels, confusion_CC.sum(axis=1), strict=True)
        ],
    )
    axes.set(xlabel=said, ylabel=f"truth ({unit})")
    axes.set_xticks(np.arange(len(columns) - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(len(labels) - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="0.85")
    axes.tick_params(which="minor", length=0)
    if len(labels) <= _MANY:
        for row, column in np.argwhere(confusion_CC > 0):
            part = parts_CC[row, column]
            colour = "white" if part > 0.5 else "black"
            axes.text(
                column, row, f"{part:.2f}", ha="center", va="center", color=colour, fontsize=8
            )
    figure.colorbar(image, ax=axes, label=f"part of the true class's {unit}", shrink=0.8)
    figure.savefig(path, dpi=110)


def plot_reliability(path: Path, result: BundleResult) -> None:
    """How often predictions are right, over their confidence, before and after calibration (PNG).

    DeGroot and Fienberg, "The Comparison and Evaluation of Forecasters" (1983).
    """
    figure = Figure(figsize=(0.6 + 4.6 * len(result.kinds), 5.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, len(result.kinds), squeeze=False, sharex=True, height_ratios=(3, 1))
    for (kind, found), (upper, lower) in zip(result.kinds.items(), panels.T, strict=True):
        ones_V = np.ones(found.scorer.num_videos)
        upper.plot((0, 1), (0, 1), color="0.7", linestyle=":")
        for name, when in (("raw_calibration", "before"), ("calibration", "after")):
            sums = found.scorer.calibration(name, ones_V)
            _reliability(upper, lower, sums, label=f"{when}: ECE {sums.ece:.3f}")
        upper.set(title=f"{kind}s", ylabel="right (part)", xlim=(0, 1), ylim=(-0.02, 1.02))
        upper.legend(loc="upper left")
        lower.set(xlabel="confidence", ylabel="predictions", yscale="log")
    figure.savefig(path, dpi=110)


def _reliability(upper: Axes, lower: Axes, sums: CalibrationSums, *, label: str) -> None:
    count_M, confidence_M, right_M = sums.bins_M3.T
    held_M = count_M > 0
    upper.plot(
        confidence_M[held_M] / count_M[held_M],
        right_M[held_M] / count_M[held_M],
        marker="o",
        markersize=4,
        label=label,
    )
    lower.stairs(count_M, np.linspace(0, 1, NUM_BINS + 1), label=label)
