"""Pictures of a training: the learning curve, and ribbons of truth beside prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from streamer.training.metrics import stretches

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from streamer.training.annotations import Labels
    from streamer.training.dataset import Example
    from streamer.training.delay import DelayPoint
    from streamer.training.fit import History
    from streamer.training.metrics import Stretch

NUM_RIBBONS = 4
MANY_CHECKS = 50
"""More points than this are a line."""


class Said(Protocol):
    """Segments that were announced of a clip."""

    @property
    def phases(self) -> list[Stretch]:
        """One at a time."""
        ...

    @property
    def actions(self) -> list[Stretch]:
        """Any number at a time; the labels count from the first action."""
        ...


def plot_learning_curve(path: Path, history: History, *, phases: bool = True) -> None:
    """Losses, and with phases their accuracy, over updates, as a PNG.

    Args:
        path: The file.
        history: Of the training.
        phases: Whether there are any.
    """
    figure = Figure(figsize=(8, 6 if phases else 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    ratios = (3, 2) if phases else (1,)
    panels = figure.subplots(len(ratios), sharex=True, squeeze=False, height_ratios=ratios)[:, 0]
    updates = [check.update for check in history.checks]
    best = history.checks[history.best]
    marker = "o" if len(updates) < MANY_CHECKS else ""
    form: dict[str, Any] = {"marker": marker, "markersize": 3}
    losses, *others = panels
    for name, label in (("train_loss", "training loss"), ("validation_loss", "validation loss")):
        losses.plot(
            updates, [getattr(check, name) for check in history.checks], label=label, **form
        )
    losses.set(ylabel="loss (nats per frame)", ylim=(0, None))
    for axes in others:
        accuracies = [check.phase_accuracy for check in history.checks]
        axes.plot(
            updates, accuracies, color="tab:green", label="phase accuracy, validation", **form
        )
        axes.set(ylabel="phase accuracy", ylim=(0, 1.02))
    for index, axes in enumerate(panels):
        label = "_" if index else f"kept: update {best.update}"  # one entry for all panels
        axes.axvline(best.update, color="0.4", linestyle=":", label=label)
        axes.grid(color="0.9")
    panels[-1].set_xlabel("update")
    figure.legend(loc="outside upper center", ncols=4, frameon=False)
    figure.savefig(path, dpi=110)


def plot_delay_f1(path: Path, curve: Sequence[DelayPoint]) -> None:
    """What waiting is worth: scores over the median delay of onsets, a point per lag, as a PNG."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    known = [point for point in curve if point.onset_delay_seconds is not None]
    delays = [point.onset_delay_seconds or 0.0 for point in known]
    for name, label, marker in (
        ("edit", "edit score", "s"),
        ("f1_at_50", "F1@50", "o"),
        ("accuracy", "accuracy", "^"),
    ):
        # Curves may lie on each other: hollow markers of falling size show all.
        size = {"s": 9, "o": 6, "^": 5}[marker]
        values = [getattr(point, name) for point in known]
        axes.plot(
            delays, values, marker=marker, markersize=size, markerfacecolor="none", label=label
        )
    for point, delay in zip(known, delays, strict=True):
        axes.annotate(
            f"{point.lag_frames}", (delay, point.f1_at_50), xytext=(4, -12), fontsize=8,
            textcoords="offset points",
        )  # fmt: skip
    axes.set(
        xlabel="median delay of confirmed onsets (s); numbers: lag in frames",
        ylabel="score, validation",
    )
    axes.grid(color="0.9")
    axes.legend()
    figure.savefig(path, dpi=110)


def plot_ribbons(
    path: Path, examples: Sequence[Example], said: Sequence[Said], labels: Labels
) -> None:
    """Truth above, announced segments below, for a few clips, as a PNG."""
    chosen = np.linspace(0, len(examples) - 1, min(NUM_RIBBONS, len(examples))).round().astype(int)
    figure = Figure(figsize=(13, 0.8 + 1.7 * len(chosen)), layout="constrained")
    FigureCanvasAgg(figure)
    rows = figure.subplots(len(chosen), squeeze=False)[:, 0]
    for axes, index in zip(rows, chosen, strict=True):
        _ribbon(axes, examples[index], said[index], labels)
    rows[-1].set_xlabel("seconds", fontsize=9)
    names = [*labels.phases, *labels.actions]
    patches = [Patch(color=label_colour(k), label=name) for k, name in enumerate(names)]
    figure.legend(handles=patches, loc="outside lower center", ncols=min(9, len(names)))
    figure.savefig(path, dpi=110)


def _ribbon(axes: Axes, example: Example, said: Said, labels: Labels) -> None:
    names = ["phase, truth", "phase, announced"]
    draw_bars(axes, stretches(example.phases_T, example.pts_T), row=0, first_colour=0)
    draw_bars(axes, said.phases, row=1, first_colour=0)
    for action, label in enumerate(labels.actions):
        row = 2 + 2 * action
        held_T = np.where(example.actions_TA[:, action] > 0, action, -1)
        announced = [segment for segment in said.actions if segment.label == action]
        first_colour = len(labels.phases)
        draw_bars(axes, stretches(held_T, example.pts_T), row=row, first_colour=first_colour)
        draw_bars(axes, announced, row=row + 1, first_colour=first_colour)
        names += [f"{label}, truth", "announced"]
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, float(example.pts_T[-1]))
    axes.set_title(example.name, fontsize=9, loc="left", pad=3)
    axes.tick_params(axis="x", labelsize=8)


def draw_bars(axes: Axes, segments: Sequence[Stretch], *, row: int, first_colour: int) -> None:
    """Segments as bars in a row, in the colours of their labels, counted from the first."""
    for segment in segments:
        axes.broken_barh(
            [(segment.start_seconds, segment.end_seconds - segment.start_seconds)],
            (row - 0.45, 0.9),
            color=label_colour(first_colour + segment.label),
        )


def label_colour(index: int) -> tuple[float, float, float, float]:
    """The same for a label in all pictures: phases are counted first, then actions.

    Ten strong colours, then their pale ones.
    """
    strong, pale = divmod(index % 20, 10)[::-1]
    return mpl.colormaps["tab20"](2 * strong + pale)
