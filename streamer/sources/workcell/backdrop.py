"""What never moves: wall, shelves, bench, clutter. Drawn once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from streamer.sources.workcell.layout import HORIZON

if TYPE_CHECKING:
    from streamer.sources.workcell.canvas import Canvas, Colour
    from streamer.sources.workcell.layout import Layout

BENCH_EDGE = 0.84
"""y at which the bench's top ends and its front begins."""


def draw_backdrop(canvas: Canvas, layout: Layout, rng: np.random.Generator) -> None:
    """Draw over all of the canvas.

    Args:
        canvas: To draw on; what it holds is overwritten.
        layout: Colours.
        rng: Decides the clutter.
    """
    _draw_surfaces(canvas, layout, rng)
    for _ in range(rng.integers(2, 5)):
        _draw_shelf(canvas, rng)
    # Things that lie about on the bench's far and near edge, where the arm does not work.
    for _ in range(rng.integers(2, 6)):
        centre = (rng.uniform(-0.6, 0.6), rng.choice([HORIZON - 0.01, 0.9]) + rng.uniform(0, 0.03))
        size = rng.uniform(0.012, 0.035)
        if rng.random() < 0.5:
            canvas.disc(centre, size, _muted(rng))
        else:
            canvas.box(centre, (rng.uniform(1, 2.5) * size, size), _muted(rng), corner=0.006)
    (sx, sy), steel = layout.shoulder, layout.gripper
    canvas.box((sx, (sy + 0.70) / 2), (0.055, (0.70 - sy) / 2 + 0.03), steel, corner=0.01)
    canvas.box((sx, 0.73), (0.11, 0.025), steel, corner=0.01)


def _draw_surfaces(canvas: Canvas, layout: Layout, rng: np.random.Generator) -> None:
    _, height, width = canvas.pixels.shape
    view = canvas.view
    y = ((np.arange(height) - view.origin[1]) / view.scale)[:, None]
    x = ((np.arange(width) - view.origin[0]) / view.scale)[None, :]
    # Light falls off with the distance from a point somewhere above.
    light = 1.12 - 0.35 * np.hypot(x - rng.uniform(-0.5, 0.5), y - rng.uniform(-0.1, 0.4))
    grain = 1 + 0.03 * np.sin(y * 210 + 3 * np.sin(x * rng.uniform(2, 6)))
    panels = 1 - 0.12 * (np.abs((x * rng.uniform(1.5, 4.0)) % 1 - 0.5) > 0.485)
    surfaces = (
        (y < HORIZON, layout.wall, light * panels),
        ((y >= HORIZON) & (y < BENCH_EDGE), layout.bench, light * grain * 1.1),
        (y >= BENCH_EDGE, layout.bench, light * 0.6 * np.ones_like(x)),
    )
    for rows, colour, shade in surfaces:
        planes = np.array(colour)[:, None, None] * np.broadcast_to(shade, (height, width))
        np.copyto(canvas.pixels, planes, where=rows, casting="same_kind")
    np.clip(canvas.pixels, 0, 255, out=canvas.pixels)


def _draw_shelf(canvas: Canvas, rng: np.random.Generator) -> None:
    x, y, half = rng.uniform(-0.6, 0.6), rng.uniform(0.12, 0.5), rng.uniform(0.08, 0.2)
    for at in np.arange(x - half + 0.03, x + half - 0.02, 0.055):
        if rng.random() < 0.7:
            tall = rng.uniform(0.02, 0.05)
            canvas.box((at, y - tall), (0.022, tall), _muted(rng), alpha=0.8)
    canvas.box((x, y), (half, 0.008), (95, 85, 75), alpha=0.8)


def _muted(rng: np.random.Generator) -> Colour:
    red, green, blue = (rng.uniform(70, 190) + rng.uniform(-35, 35, 3)).tolist()
    return red, green, blue
