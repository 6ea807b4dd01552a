"""Pictures of an explanation: importance of groups, and a model's way through a video."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from streamer.training.explanation.look import output_names
from streamer.training.metrics import stretches
from streamer.training.plots import draw_bars, label_colour

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from streamer.models.config import ModelConfig
    from streamer.training.annotations import Labels
    from streamer.training.explanation.gates import LayerTrace
    from streamer.training.explanation.importance import Importance
    from streamer.training.explanation.look import Look

    Panel = tuple[float, Callable[[Axes], None]]

SCORES = {"accuracy": "frame accuracy", "action_map": "mean action AP"}
"""What a score is called for people."""
BAND = (0.1, 0.9)
"""Quantiles over units between which a band is drawn."""
_GATE_COLOURS = {
    "input": "tab:blue",
    "forget": "tab:red",
    "output": "tab:green",
    "reset": "tab:blue",
    "update": "tab:red",
}


def plot_importance(path: Path, importance: Importance) -> None:
    """Drop of each score by group, mean and standard deviation over repeats, as a PNG."""
    names = [found.group.name for found in importance.groups]
    figure = Figure(
        figsize=(2 + 4.5 * len(importance.scores), 1.2 + 0.28 * len(names)), layout="constrained"
    )
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(importance.scores), squeeze=False, sharey=True)[0]
    for axes, (score, baseline) in zip(panels, importance.scores.items(), strict=True):
        means = [found.mean(score) for found in importance.groups]
        spreads = np.nan_to_num([found.deviation(score) for found in importance.groups])
        axes.barh(range(len(names)), means, xerr=spreads, color="tab:blue", ecolor="0.3")
        axes.axvline(0, color="0.3", linewidth=0.8)
        # All together are worth so much more that a bar of theirs would hide the others.
        together = importance.together.mean(score)
        axes.set(
            xlabel=f"drop of {SCORES[score]}\n(score {baseline:.3f}; all together: {together:.3f})"
        )
        axes.grid(axis="x", color="0.9")
        axes.set_axisbelow(True)
    panels[0].set_yticks(range(len(names)), names, fontsize=8)
    panels[0].set(ylabel="features")
    panels[0].invert_yaxis()
    figure.savefig(path, dpi=110)


def plot_look(path: Path, look: Look, *, labels: Labels, config: ModelConfig) -> None:
    """Truth, outputs, weights over time, gates and cells of a video, as a PNG."""
    panels = [*_said_panels(look, labels, config)]
    for number, layer in enumerate(look.layers, start=1):
        panels += _layer_panels(look.example.pts_T, layer, number, config)
    heights = [height for height, _ in panels]
    figure = Figure(figsize=(13, 0.9 + sum(heights)), layout="constrained")
    FigureCanvasAgg(figure)
    rows = figure.subplots(len(panels), squeeze=False, sharex=True, height_ratios=heights)[:, 0]
    for axes, (_, draw) in zip(rows, panels, strict=True):
        draw(axes)
        axes.tick_params(labelsize=7)
        axes.margins(x=0)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="upper left", bbox_to_anchor=(1.003, 1.02), fontsize=7, frameon=False)
    rows[0].set_title(look.example.name, fontsize=9, loc="left")
    rows[0].set_xlim(float(look.example.pts_T[0]), float(look.example.pts_T[-1]))
    rows[-1].set_xlabel("time (s)", fontsize=8)
    figure.savefig(path, dpi=110)


def _said_panels(look: Look, labels: Labels, config: ModelConfig) -> list[Panel]:
    pts_T, num_phases = look.example.pts_T, len(labels.phases)
    panels: list[Panel] = []
    if labels.phases or labels.actions:
        height = 0.45 + 0.22 * len(labels.actions)
        panels.append((height, lambda axes: _truth(axes, look, labels, config)))
    outputs_TC = look.outputs_TC
    if outputs_TC is not None and config.head == "regression":
        panels.append((1.4, lambda axes: _values(axes, look, outputs_TC, config.targets)))
    elif outputs_TC is not None:
        names = output_names(config)
        cut = len(names) if config.head == "ctc" else num_phases
        for title, first, last in (("phases", 0, cut), ("actions", cut, len(names))):
            if first < last:
                panels.append(
                    (1.4, _probabilities(pts_T, outputs_TC, names, title, slice(first, last)))
                )
    weights_T = look.weights_T
    if weights_T is not None:
        title = f"weights ({config.pooling})"
        panels.append((1.4, lambda axes: _weights(axes, pts_T, weights_T, title=title)))
    return panels


def _probabilities(
    pts_T: np.ndarray, outputs_TC: np.ndarray, names: Sequence[str], title: str, kept: slice
) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        _curves(
            axes,
            pts_T,
            outputs_TC[:, kept],
            names[kept],
            title=f"probability,\n{title}",
            first_colour=kept.start,
        )
        axes.set_ylim(-0.03, 1.03)

    return draw


def _truth(axes: Axes, look: Look, labels: Labels, config: ModelConfig) -> None:
    example, rows = look.example, []
    if labels.phases:
        rows.append("phase, truth")
        draw_bars(axes, stretches(example.phases_T, example.pts_T), row=0, first_colour=0)
    for action, label in enumerate(labels.actions):
        held_T = np.where(example.actions_TA[:, action] > 0, action, -1)
        segments = stretches(held_T, example.pts_T)
        draw_bars(axes, segments, row=len(rows), first_colour=len(labels.phases))
        rows.append(f"{label}, truth")
    axes.set_yticks(range(len(rows)), rows, fontsize=7)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    if look.outputs_TC is None or config.head == "regression":  # else the curves say it
        for index, label in enumerate(labels.phases):
            axes.plot([], [], color=label_colour(index), linewidth=4, label=label)


def _curves(
    axes: Axes,
    pts_T: np.ndarray,
    values_TC: np.ndarray,
    names: Sequence[str],
    *,
    title: str,
    first_colour: int = 0,
) -> None:
    for index, name in enumerate(names):
        colour = label_colour(first_colour + index)
        axes.plot(pts_T, values_TC[:, index], color=colour, linewidth=1.2, label=name)
    axes.set_ylabel(title, fontsize=8)


def _values(axes: Axes, look: Look, outputs_TC: np.ndarray, names: Sequence[str]) -> None:
    _curves(axes, look.example.pts_T, outputs_TC, names, title="values,\ndotted: true")
    if look.truth is None:
        return
    for index in range(len(names)):
        axes.plot(
            look.example.pts_T,
            look.truth[:, index],
            color=label_colour(index),
            linewidth=1.2,
            linestyle=":",
        )


def _weights(axes: Axes, pts_T: np.ndarray, weights_T: np.ndarray, *, title: str) -> None:
    axes.fill_between(pts_T, weights_T, step="mid", color="0.45", linewidth=0)
    axes.axhline(1 / len(pts_T), color="tab:red", linestyle=":", label="all alike")
    axes.set_ylabel(title, fontsize=8)
    axes.set_ylim(0, None)


def _layer_panels(
    pts_T: np.ndarray, layer: LayerTrace, number: int, config: ModelConfig
) -> list[Panel]:
    def gates(axes: Axes) -> None:
        for name, values_TH in layer.gates.items():
            low_T, high_T = np.quantile(values_TH, BAND, axis=1)
            colour = _GATE_COLOURS[name]
            axes.fill_between(pts_T, low_T, high_T, color=colour, alpha=0.12, linewidth=0)
            for edge_T in (low_T, high_T):
                axes.plot(pts_T, edge_T, color=colour, alpha=0.6, linewidth=0.5)
            axes.plot(pts_T, values_TH.mean(axis=1), color=colour, linewidth=1.2, label=name)
        axes.set_ylim(-0.03, 1.03)
        axes.set_ylabel(f"gates,\nlayer {number}", fontsize=8)

    def norm(axes: Axes) -> None:
        what = "hidden" if config.architecture == "gru" else "cell"
        axes.plot(pts_T, layer.norm_T, color="0.2", linewidth=1.2, label=f"|{what}| / √H")
        axes.set_ylim(0, None)
        axes.set_ylabel(f"{what},\nlayer {number}", fontsize=8)

    return [(1.6, gates), (0.9, norm)]
