"""Pictures of heads on clips: the learning curve, what was said and true, weights over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from streamer.training.clip_scores import ClassScorer, OrderScorer, ValueScorer
from streamer.training.evaluation.pictures import plot_confusion
from streamer.training.metrics import stretches
from streamer.training.plots import draw_bars, label_colour

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from streamer.models.config import ModelConfig
    from streamer.training.clip_dataset import LabelledClip
    from streamer.training.clip_fit import ClipCheck
    from streamer.training.clip_readings import Reading
    from streamer.training.clip_scores import ClipScorer

NUM_EXAMPLES = 4
LOSS_UNITS = {
    "sequence": "nats per clip",
    "ctc": "nats per phase",
    "regression": "spreads of the values",
    "caption": "nats per word",
}


def plot_clip_curve(path: Path, looks: Sequence[ClipCheck], *, head: str) -> None:
    """Losses over updates, as a PNG."""
    figure, (axes,) = _panels(1, height=4.5)
    updates = [look.update for look in looks]
    axes.plot(updates, [look.train_loss for look in looks], label="training loss")
    losses = [look.validation_loss for look in looks]
    axes.plot(updates, losses, label="validation loss")
    axes.axvline(updates[int(np.argmin(losses))], color="0.6", linestyle=":", label="kept")
    axes.set(xlabel="update", ylabel=f"loss ({LOSS_UNITS[head]})", ylim=(min(0, *losses), None))
    axes.legend()
    figure.savefig(path, dpi=110)


def plot_clips(
    folder: Path,
    config: ModelConfig,
    clips: Sequence[LabelledClip],
    readings: Sequence[Reading],
    scorer: ClipScorer,
    *,
    suffix: str = "",
) -> list[str]:
    """Pictures for a head, as PNGs.

    Args:
        folder: Where they are written.
        config: Of the model.
        clips: The truth.
        readings: What was said of each.
        scorer: Of both.
        suffix: Of the file names, before the dot.

    Returns:
        Their file names.
    """
    names = []

    def file(name: str) -> Path:
        names.append(f"{name}{suffix}.png")
        return folder / names[-1]

    if isinstance(scorer, ClassScorer):
        confusion_CC = scorer.confusion(np.ones(len(clips))).astype(np.int64)
        plot_confusion(file("confusion"), confusion_CC, config.phases, said="said", unit="clips")
    if isinstance(scorer, ValueScorer):
        _plot_values(file("values"), config.targets, scorer)
    chosen = np.linspace(0, len(clips) - 1, min(NUM_EXAMPLES, len(clips))).round().astype(int)
    if isinstance(scorer, OrderScorer):
        _plot_orders(file("phases"), config, clips, scorer, chosen)
    if config.reads_whole_clips:
        _plot_weights(file("weights"), config, clips, readings, chosen)
    elif isinstance(scorer, ValueScorer):
        _plot_curves(file("over_time"), config, clips, scorer, chosen)
    return names


def _plot_values(path: Path, names: Sequence[str], scorer: ValueScorer) -> None:
    """Said over true, a panel per value."""
    truth_FK, said_FK = np.concatenate(scorer.truth), np.concatenate(scorer.said)
    figure = Figure(figsize=(1 + 4 * len(names), 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    for k, (axes, name) in enumerate(
        zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True)
    ):
        known_F = ~np.isnan(truth_FK[:, k])
        axes.scatter(truth_FK[known_F, k], said_FK[known_F, k], s=9, alpha=0.6)
        low, high = float(truth_FK[known_F, k].min()), float(truth_FK[known_F, k].max())
        axes.plot((low, high), (low, high), color="0.6", linestyle=":", label="right")
        axes.set(xlabel=f"{name}, truth", ylabel="said")
        axes.legend()
    figure.savefig(path, dpi=110)


def _plot_weights(
    path: Path,
    config: ModelConfig,
    clips: Sequence[LabelledClip],
    readings: Sequence[Reading],
    chosen: np.ndarray,
) -> None:
    """Which frames counted; of a caption, for each word."""
    figure, rows = _panels(len(chosen), height=1.9)
    for axes, index in zip(rows, chosen, strict=True):
        clip, reading = clips[index], readings[index]
        assert reading.weights is not None, "a head that reads whole clips has weights"
        if config.head == "caption":
            words = [config.targets[word] for word in reading.words]
            if words:
                axes.imshow(
                    reading.weights,
                    aspect="auto",
                    cmap="Greys",
                    vmin=0,
                    interpolation="nearest",
                    extent=(clip.pts_T[0], clip.pts_T[-1], len(words) - 0.5, -0.5),
                )
            axes.set_yticks(range(len(words)), words, fontsize=7)
        else:
            axes.fill_between(clip.pts_T, reading.weights, step="mid", color="0.45", linewidth=0)
            axes.axhline(1 / len(clip.pts_T), color="tab:red", linestyle=":", label="all alike")
            axes.set(ylim=(0, None), ylabel=f"weights ({config.pooling})")
        axes.set_title(clip.example.name, fontsize=8, loc="left", pad=2)
    rows[-1].set_xlabel("time (s)")
    figure.savefig(path, dpi=110)


def _plot_orders(
    path: Path,
    config: ModelConfig,
    clips: Sequence[LabelledClip],
    scorer: OrderScorer,
    chosen: np.ndarray,
) -> None:
    """Phases over time, with the truth where its times are known."""
    figure, rows = _panels(len(chosen), height=1.5)
    for axes, index in zip(rows, chosen, strict=True):
        clip, names = clips[index], []
        if clip.phases_T is not None:
            draw_bars(axes, stretches(clip.phases_T, clip.pts_T), row=0, first_colour=0)
            names.append("truth")
        for way, said_T in scorer.painted[index].items():
            draw_bars(axes, stretches(said_T, clip.pts_T), row=len(names), first_colour=0)
            names.append(way)
        axes.set_yticks(range(len(names)), names, fontsize=7)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_title(clip.example.name, fontsize=8, loc="left", pad=2)
    for k, name in enumerate(config.phases):
        rows[0].plot([], [], color=label_colour(k), linewidth=4, label=name)
    figure.legend(loc="outside lower center", ncols=min(8, len(config.phases)), fontsize=7)
    figure.savefig(path, dpi=110)


def _plot_curves(
    path: Path,
    config: ModelConfig,
    clips: Sequence[LabelledClip],
    scorer: ValueScorer,
    chosen: np.ndarray,
) -> None:
    """Values of each frame over time."""
    figure, rows = _panels(len(chosen), height=1.9)
    for axes, index in zip(rows, chosen, strict=True):
        clip = clips[index]
        for k, name in enumerate(config.targets):
            colour = label_colour(k)
            axes.plot(clip.pts_T, scorer.said[index][:, k], color=colour, label=f"{name}, said")
            axes.plot(clip.pts_T, scorer.truth[index][:, k], color=colour, linestyle=":")
        axes.set_title(f"{clip.example.name} (dotted: truth)", fontsize=8, loc="left", pad=2)
        axes.legend(fontsize=7)
    rows[-1].set_xlabel("time (s)")
    figure.savefig(path, dpi=110)


def _panels(count: int, *, height: float) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(8 if count == 1 else 11, 0.6 + height * count), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(count, squeeze=False)[:, 0])
