"""How a seed's work cell looks: everything that stays the same while the camera runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from streamer.sources.workcell.canvas import Colour, Point

ITEM_COLOURS: tuple[Colour, ...] = (
    (225, 40, 40),
    (40, 90, 235),
    (30, 185, 70),
    (245, 200, 20),
    (210, 50, 200),
    (20, 195, 215),
)
ARM_COLOURS: tuple[Colour, ...] = (
    (240, 130, 25),
    (235, 205, 60),
    (225, 225, 230),
    (70, 120, 190),
    (190, 60, 60),
    (110, 115, 125),
)
LAMP_COLOURS: tuple[Colour, ...] = ((255, 60, 40), (255, 190, 40), (90, 255, 110), (90, 150, 255))

HORIZON = 0.62
"""y at which the bench begins and the wall ends."""
ITEM_HALF = 0.043
"""Half the side of an item."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Places in scene units: the picture is 1 high, x is 0 in its middle, the arm stands left.

    Attributes:
        mirror: -1 where the base is seen on the right.
        zoom: Scale of the scene in the picture.
        pan: Where the scene's middle is, from the picture's.
        shoulder: First joint of the arm.
        links: Lengths of upper arm and forearm.
        thickness: Radius of the upper arm.
        pick: Centre of an item that waits in the tray.
        place: Centre of an item that lies on the inspection box.
        lamp: Centre of the signal lamp.
        round_items: Whether items are discs rather than boxes.
        arm: Colour.
        gripper: Colour.
        wall: Colour.
        bench: Colour.
        lamp_lit: Colour.
        exposure: Mean brightness.
        drift: How far brightness and tint wander, as a part of 1.
        drift_phase: Where in that they begin, radians (4,).
        shake: Pixels, for a picture 240 high.
        noise: Standard deviation of the sensor's noise, in grey levels.
    """

    mirror: float
    zoom: float
    pan: Point
    shoulder: Point
    links: tuple[float, float]
    thickness: float
    pick: Point
    place: Point
    lamp: Point
    round_items: bool
    arm: Colour
    gripper: Colour
    wall: Colour
    bench: Colour
    lamp_lit: Colour
    exposure: float
    drift: float
    drift_phase: tuple[float, ...]
    shake: float
    noise: float

    @classmethod
    def of(cls, seed: int) -> Layout:
        """The layout of a seed."""
        rng = np.random.default_rng([seed, 3])

        def near(value: float, spread: float) -> float:
            return float(value + rng.uniform(-spread, spread))

        wall = near(150, 60)
        bench = near(120, 50)
        gripper = near(70, 25)
        return cls(
            mirror=-1.0 if rng.random() < 0.5 else 1.0,
            zoom=near(1.0, 0.09),
            pan=(near(0, 0.03), near(0, 0.02)),
            shoulder=(near(-0.38, 0.02), near(0.50, 0.02)),
            links=(near(0.39, 0.015), near(0.37, 0.015)),
            thickness=near(0.043, 0.008),
            pick=(near(-0.04, 0.03), near(0.70, 0.015)),
            place=(near(0.32, 0.025), near(0.66, 0.015)),
            lamp=(near(0.50, 0.05), near(0.15, 0.04)),
            round_items=bool(rng.random() < 0.4),
            arm=ARM_COLOURS[rng.integers(len(ARM_COLOURS))],
            gripper=(gripper, gripper, gripper + 8),
            wall=_tinted(rng, wall),
            bench=_tinted(rng, bench),
            lamp_lit=LAMP_COLOURS[rng.integers(len(LAMP_COLOURS))],
            exposure=near(1.05, 0.15),
            drift=near(0.08, 0.05),
            drift_phase=tuple(rng.uniform(0, 2 * np.pi, 4).tolist()),
            shake=near(0.8, 0.7),
            noise=near(4.0, 2.5),
        )


def _tinted(rng: np.random.Generator, grey: float) -> Colour:
    red, green, blue = (grey + rng.uniform(-22, 22, 3)).tolist()
    return red, green, blue
