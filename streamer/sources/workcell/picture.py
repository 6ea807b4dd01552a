"""The picture of the work cell at a time: scene, light, shake and noise."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from streamer.sources.workcell.backdrop import draw_backdrop
from streamer.sources.workcell.canvas import Canvas, View
from streamer.sources.workcell.layout import HORIZON, Layout
from streamer.sources.workcell.motion import hand_at, items_at
from streamer.sources.workcell.props import (
    draw_arm,
    draw_box,
    draw_items,
    draw_lamp,
    draw_person,
    draw_screen,
    draw_tray,
)
from streamer.sources.workcell.script import WorkcellScript

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamer.core.frame import Image

MAX_SHAKE = 4
"""Pixels the camera can shake to either side, for a picture 240 high."""
NOISE_OFFSETS = 1 << 16


class Workcell:
    """Renders the work cell of one seed. A picture depends on seed, size and time alone.

    Used by one thread. Holds a background and a noise plate: about 3 MB at 320×240.

    Args:
        seed: At least 0; decides the layout and the script.
        width: Pixels.
        height: Pixels.
    """

    def __init__(self, seed: int, *, width: int, height: int) -> None:
        self.script = WorkcellScript(seed)
        self.layout = Layout.of(seed)
        self._size = (height, width)
        # A scene unit is the height of a 4:3 picture; others show more wall, never less scene.
        unit = min(height, width * 3 / 4)
        layout = self.layout
        self._pixel = unit / 240
        self._margin = math.ceil(MAX_SHAKE * self._pixel)
        scale = unit * layout.zoom
        self._view = View(
            scale,
            layout.mirror,
            (
                width / 2 + layout.pan[0] * unit,
                height / 2 + (layout.pan[1] - 0.5 * layout.zoom) * unit,
            ),
        )
        rng = np.random.default_rng([seed, 4])
        m = self._margin
        plate = np.empty((3, height + 2 * m, width + 2 * m), np.float32)
        draw_backdrop(Canvas(plate, view=self._view.shifted(m, m)), layout, rng)
        self._backdrop = plate
        self._noise = rng.standard_normal(3 * height * width + NOISE_OFFSETS, np.float32)
        self._noise *= layout.noise
        self._columns = np.linspace(-1, 1, width, dtype=np.float32)

    def render(self, seconds: float) -> Image:
        """The picture at a time.

        Args:
            seconds: Since the beginning, at least 0. The noise differs by microsecond.

        Returns:
            uint8 (H, W, 3) RGB, new.
        """
        script, layout = self.script, self.layout
        before, cycle = script.cycles_at(seconds)
        phase = cycle.phase_at(seconds)
        hand = hand_at(layout, before=before, cycle=cycle, seconds=seconds)
        items = items_at(layout, before=before, cycle=cycle, seconds=seconds, hand=hand)

        canvas = self._shaken(seconds)
        draw_screen(canvas, seconds, layout)
        walk = script.walk_at(seconds)
        if walk is not None:
            draw_person(self._above_bench(canvas), walk, seconds)
        draw_lamp(canvas, layout, lit=script.lamp_at(seconds))
        held = cycle.carrying is not None and cycle.carrying.holds(seconds)
        draw_items(canvas, layout, [item for item in items if not held])
        draw_tray(canvas, layout)
        draw_box(canvas, layout, lit=phase == "inspect")
        draw_arm(canvas, layout, hand, items if held else [])
        return self._developed(canvas.pixels, seconds)

    def _shaken(self, seconds: float) -> Canvas:
        """The background, and where the scene is, as the shaking camera sees them."""
        a, b, c, d = self.layout.drift_phase
        shake = self.layout.shake * self._pixel
        m = self._margin
        x = shake * (math.sin(1.9 * seconds + a) + 0.7 * math.sin(23.0 * seconds + b))
        y = shake * (math.sin(1.3 * seconds + c) + 0.7 * math.sin(29.0 * seconds + d))
        dx, dy = (max(-m, min(m, round(value))) for value in (x, y))
        height, width = self._size
        pixels = self._backdrop[:, m - dy : m - dy + height, m - dx : m - dx + width].copy()
        return Canvas(pixels, view=self._view.shifted(dx, dy))

    def _above_bench(self, canvas: Canvas) -> Canvas:
        """The part of the canvas where the bench hides nothing."""
        view = canvas.view
        rows = max(1, int(view.origin[1] + view.scale * HORIZON))
        return Canvas(canvas.pixels[:, :rows], view=view)

    def _developed(self, pixels: NDArray[np.float32], seconds: float) -> Image:
        """Light and noise over the drawn scene, as 8-bit RGB."""
        layout, height, width = self.layout, *self._size
        a, b, c, _ = layout.drift_phase
        # 1. Brightness and tint drift, and a soft shadow wanders across.
        gain = layout.exposure * (1 + layout.drift * math.sin(seconds / 7 + a))
        tint = layout.drift * 0.4 * math.sin(seconds / 19 + b)
        shadow = 1.3 * math.sin(seconds / 11 + c)
        columns = 1 - 1.5 * layout.drift * np.exp(-4 * np.square(self._columns - shadow))
        light = np.array([1 + tint, 1.0, 1 - tint], np.float32)[:, None] * (gain * columns)
        pixels *= light[:, None, :]
        # 2. The sensor's noise: a plate, read from a place that only (seed, time) decide.
        bits = np.random.Philox(key=[self.script.seed, round(seconds * 1e6)])
        offset = int(bits.random_raw()) % NOISE_OFFSETS
        pixels += self._noise[offset : offset + pixels.size].reshape(pixels.shape)
        np.clip(pixels, 0, 255, out=pixels)
        image = np.empty((height, width, 3), np.uint8)
        image[:] = pixels.transpose(1, 2, 0)
        return image
