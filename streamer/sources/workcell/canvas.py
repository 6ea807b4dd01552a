"""Anti-aliased shapes, drawn by their distance field on the pixels they can touch and no others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Colour = tuple[float, float, float]
"""Red, green, blue, from 0 to 255."""
Point = tuple[float, float]
"""x to the right, y down, in scene units."""

EDGE_PIXELS = 1.3
"""Width of the darker rim that sets a shape off from what is behind it."""
EDGE_SHADE = 0.45


@dataclass(frozen=True, slots=True)
class View:
    """How scene units become pixels.

    Attributes:
        scale: Pixels per unit.
        mirror: -1 where the scene is seen from the other side, else 1.
        origin: Pixel of the scene's (0, 0).
    """

    scale: float
    mirror: float
    origin: Point

    def shifted(self, dx: float, dy: float) -> View:
        """The same, moved by that many pixels."""
        return View(self.scale, self.mirror, (self.origin[0] + dx, self.origin[1] + dy))


class Canvas:
    """Pixels to draw on.

    Args:
        pixels: float32 (3, H, W), 0–255, drawn on in place.
        view: Where a point of the scene is.
    """

    def __init__(self, pixels: NDArray[np.float32], *, view: View) -> None:
        self.pixels = pixels
        self.view = view
        self._height, self._width = pixels.shape[1:]
        self._x = np.arange(self._width, dtype=np.float32)[None, :]
        self._y = np.arange(self._height, dtype=np.float32)[:, None]

    @property
    def edges(self) -> tuple[float, float]:
        """The x of the left and right edge in scene units, the smaller one first."""
        scale, origin = self.view.scale, self.view.origin[0]
        first, second = sorted(
            self.view.mirror * (pixel - origin) / scale for pixel in (0, self._width)
        )
        return first, second

    def disc(self, centre: Point, radius: float, colour: Colour, *, alpha: float = 1.0) -> None:
        """A filled circle with a rim."""
        self.capsule(centre, centre, radius, colour, alpha=alpha)

    def capsule(
        self, start: Point, end: Point, radius: float, colour: Colour, *, alpha: float = 1.0
    ) -> None:
        """A thick line with round ends and a rim."""
        (ax, ay), (bx, by), r = self._pixel(start), self._pixel(end), radius * self.view.scale
        rows, columns = self._around(ax, ay, bx, by, reach=r)
        x, y = self._x[:, columns] - ax, self._y[rows] - ay
        dx, dy = bx - ax, by - ay
        length2 = dx * dx + dy * dy
        if length2 > 0:
            along = np.clip((x * dx + y * dy) * (1 / length2), 0, 1)
            x, y = x - along * dx, y - along * dy
        self._fill(rows, columns, np.sqrt(x * x + y * y) - r, colour, alpha)

    def box(
        self, centre: Point, half: Point, colour: Colour, *, corner: float = 0.0, alpha: float = 1.0
    ) -> None:
        """An upright rectangle with corners rounded by `corner` and a rim."""
        cx, cy = self._pixel(centre)
        hx, hy, r = (value * self.view.scale for value in (*half, corner))
        rows, columns = self._around(cx - hx, cy - hy, cx + hx, cy + hy, reach=0)
        x = np.abs(self._x[:, columns] - cx) - (hx - r)
        y = np.abs(self._y[rows] - cy) - (hy - r)
        distance = np.maximum(x, y)
        if r > 0:
            outside = np.hypot(np.maximum(x, 0), np.maximum(y, 0))
            distance = np.minimum(distance, 0) + outside
        self._fill(rows, columns, distance - r, colour, alpha)

    def ring(self, centre: Point, radius: float, *, width: float, colour: Colour) -> None:
        """A circle's line, `width` thick, without a rim."""
        (cx, cy), r = self._pixel(centre), radius * self.view.scale
        half = width * self.view.scale / 2
        rows, columns = self._around(cx, cy, cx, cy, reach=r + half)
        distance = np.abs(np.hypot(self._x[:, columns] - cx, self._y[rows] - cy) - r) - half
        self._blend(rows, columns, np.clip(0.5 - distance, 0, 1), colour)

    def glow(self, centre: Point, radius: float, colour: Colour) -> None:
        """Light added around a point, fading to nothing at `radius`."""
        (cx, cy), r = self._pixel(centre), radius * self.view.scale
        rows, columns = self._around(cx, cy, cx, cy, reach=r)
        x, y = self._x[:, columns] - cx, self._y[rows] - cy
        light = np.square(np.maximum(1 - (x * x + y * y) * (1 / (r * r)), 0))
        self.pixels[:, rows, columns] += _planes(colour) * light

    def _pixel(self, point: Point) -> Point:
        view = self.view
        return (
            view.origin[0] + view.mirror * view.scale * point[0],
            view.origin[1] + view.scale * point[1],
        )

    def _around(
        self, ax: float, ay: float, bx: float, by: float, *, reach: float
    ) -> tuple[slice, slice]:
        """Rows and columns within `reach` of the rectangle between two pixels; may be empty."""
        reach += 1
        return (
            _span(min(ay, by) - reach, max(ay, by) + reach, self._height),
            _span(min(ax, bx) - reach, max(ax, bx) + reach, self._width),
        )

    def _fill(
        self,
        rows: slice,
        columns: slice,
        distance: NDArray[np.float32],
        colour: Colour,
        alpha: float,
    ) -> None:
        """Blend where `distance` (pixels, negative inside) is below 0, darker near 0."""
        shade = np.clip(-distance - (EDGE_PIXELS - 0.5), 0, 1)
        shade *= 1 - EDGE_SHADE
        shade += EDGE_SHADE
        coverage = np.clip(0.5 - distance, 0, 1)
        if alpha < 1:
            coverage *= alpha
        region = self.pixels[:, rows, columns]
        region += (_planes(colour) * shade - region) * coverage

    def _blend(
        self, rows: slice, columns: slice, coverage: NDArray[np.float32], colour: Colour
    ) -> None:
        region = self.pixels[:, rows, columns]
        region += (_planes(colour) - region) * coverage


def _span(low: float, high: float, size: int) -> slice:
    start = min(size, max(0, int(low)))
    return slice(start, max(start, min(size, int(high) + 2)))


def _planes(colour: Colour) -> NDArray[np.float32]:
    return np.array(colour, np.float32)[:, None, None]
