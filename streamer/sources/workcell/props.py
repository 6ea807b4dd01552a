"""What moves or changes in the work cell, each drawn onto a canvas."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from streamer.sources.workcell.layout import ITEM_COLOURS, ITEM_HALF
from streamer.sources.workcell.motion import FINGER, elbow_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.sources.workcell.block import Walk
    from streamer.sources.workcell.canvas import Canvas, Colour
    from streamer.sources.workcell.layout import Layout
    from streamer.sources.workcell.motion import Hand, Item

STEEL: Colour = (75, 78, 86)
RING_OFF: Colour = (105, 108, 112)
RING_ON: Colour = (255, 252, 235)
SKIN: tuple[Colour, ...] = ((235, 195, 165), (190, 140, 105), (120, 80, 60))


def draw_items(canvas: Canvas, layout: Layout, items: Sequence[Item]) -> None:
    """Items, held or not."""
    for item in items:
        colour = ITEM_COLOURS[item.colour]
        if layout.round_items:
            canvas.disc(item.centre, ITEM_HALF, colour)
        else:
            canvas.box(item.centre, (ITEM_HALF, ITEM_HALF), colour, corner=0.008)


def draw_tray(canvas: Canvas, layout: Layout) -> None:
    """The tray in which an item waits to be picked."""
    x, y = layout.pick
    canvas.box((x, y + ITEM_HALF + 0.045), (0.095, 0.05), (150, 120, 80), corner=0.012)
    canvas.box((x, y + ITEM_HALF + 0.045), (0.075, 0.012), (95, 75, 50))


def draw_box(canvas: Canvas, layout: Layout, *, lit: bool) -> None:
    """The inspection box with its camera, and the light ring above it."""
    x, y = layout.place
    canvas.box((x, y + ITEM_HALF + 0.065), (0.10, 0.07), (48, 52, 62), corner=0.012)
    canvas.disc((x, y + ITEM_HALF + 0.07), 0.032, (25, 28, 38))
    if lit:
        canvas.glow((x, y), 0.24, (110, 108, 90))
    canvas.ring((x, y), 0.098, width=0.026, colour=RING_ON if lit else RING_OFF)


def draw_lamp(canvas: Canvas, layout: Layout, *, lit: bool) -> None:
    """The signal lamp on its pole."""
    x, y = layout.lamp
    canvas.capsule((x, y + 0.04), (x, 0.60), 0.012, STEEL)
    red, green, blue = layout.lamp_lit
    colour = layout.lamp_lit if lit else (red * 0.22 + 12, green * 0.22 + 12, blue * 0.22 + 12)
    if lit:
        canvas.glow((x, y), 0.19, (red * 0.6, green * 0.6, blue * 0.6))
    canvas.box((x, y), (0.042, 0.052), colour, corner=0.03)


def draw_screen(canvas: Canvas, seconds: float, layout: Layout) -> None:
    """A monitor on the wall whose bars never rest: it means nothing."""
    x, y = -0.12 + layout.pan[0], 0.13
    canvas.box((x, y), (0.10, 0.07), (35, 38, 45), corner=0.01)
    for bar in range(5):
        tall = 0.026 + 0.02 * math.sin(seconds * (1.1 + 0.37 * bar) + layout.drift_phase[bar % 4])
        colour = (70.0, 150.0 + 15 * bar, 170.0)
        canvas.box((x - 0.068 + 0.034 * bar, y + 0.05 - tall), (0.011, tall), colour)


def draw_arm(canvas: Canvas, layout: Layout, hand: Hand, held: Sequence[Item]) -> None:
    """The arm, its gripper, and between its fingers what it holds."""
    elbow, wrist = elbow_of(layout, hand.wrist)
    thick = layout.thickness
    canvas.capsule(layout.shoulder, elbow, thick, layout.arm)
    canvas.capsule(elbow, wrist, thick * 0.78, layout.arm)
    canvas.disc(layout.shoulder, thick * 1.25, STEEL)
    canvas.disc(elbow, thick * 0.7, STEEL)
    # The fingers stand on a bar across the gripper's axis.
    along = (math.cos(hand.angle), math.sin(hand.angle))
    across = (-along[1], along[0])
    knuckles = [
        (wrist[0] + side * hand.opening * across[0], wrist[1] + side * hand.opening * across[1])
        for side in (-1, 1)
    ]
    draw_items(canvas, layout, held)
    canvas.capsule(knuckles[0], knuckles[1], 0.018, layout.gripper)
    for x, y in knuckles:
        tip = (x + FINGER * along[0], y + FINGER * along[1])
        canvas.capsule((x, y), tip, 0.0145, layout.gripper)
    canvas.disc(wrist, thick * 0.85, STEEL)


def draw_person(canvas: Canvas, walk: Walk, seconds: float) -> None:
    """Somebody who walks by behind the bench."""
    size, shirt, trousers, skin = walk.look
    part = walk.part(seconds)
    left, right = canvas.edges
    x = left + (right - left) * (part if walk.rightwards else 1 - part)
    tall = 0.95 + 0.25 * size
    step = math.sin(seconds * 7.5)
    top = 0.62 - 0.46 * tall + 0.008 * abs(step)
    hip = top + 0.36 * tall
    shirt_colour = (60 + 150 * shirt, 190 - 110 * shirt, 80 + 120 * trousers)
    trouser_colour = (40 + 50 * trousers, 45 + 30 * trousers, 70 + 40 * trousers)
    for side in (-1, 1):
        foot = (x + side * step * 0.09, hip + 0.34)
        canvas.capsule((x, hip), foot, 0.036 * tall, trouser_colour)
    canvas.capsule((x, top + 0.14 * tall), (x, hip - 0.03), 0.072 * tall, shirt_colour)
    for side in (-1, 1):
        hand = (x - side * step * 0.08, top + 0.33 * tall)
        canvas.capsule((x, top + 0.12 * tall), hand, 0.023 * tall, shirt_colour)
    canvas.disc((x, top + 0.02), 0.052 * tall, SKIN[int(skin * len(SKIN))])
