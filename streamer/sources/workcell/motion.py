"""Where the arm, the items and the passer-by are at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamer.sources.workcell.block import GRIP_AT, RELEASE_AT
from streamer.sources.workcell.layout import ITEM_HALF

if TYPE_CHECKING:
    from streamer.sources.workcell.block import Cycle
    from streamer.sources.workcell.canvas import Point
    from streamer.sources.workcell.layout import Layout

FINGER = 0.105
"""Length of the gripper's fingers."""
OPEN, CLOSED = 0.085, ITEM_HALF + 0.012
"""Distance of a finger from the gripper's axis."""
DOWN, FORWARD = math.pi / 2, 0.15
"""Direction of the gripper, radians from x towards y."""
FEED_SECONDS = 0.9
"""How long an item takes to rise into the tray, or to sink into the box."""


@dataclass(frozen=True, slots=True)
class Hand:
    """The gripper: its wrist, the direction it points to, and how far its fingers are apart."""

    wrist: Point
    angle: float
    opening: float

    def towards(self, other: Hand, part: float) -> Hand:
        """The hand on its way to `other`: starts and stops gently."""
        u = part * part * (3 - 2 * part)
        (ax, ay), (bx, by) = self.wrist, other.wrist
        return Hand(
            (ax + (bx - ax) * u, ay + (by - ay) * u),
            self.angle + (other.angle - self.angle) * u,
            self.opening + (other.opening - self.opening) * u,
        )

    @property
    def grip(self) -> Point:
        """Where the middle of a held item is."""
        reach = FINGER * 0.85
        x, y = self.wrist
        return (x + reach * math.cos(self.angle), y + reach * math.sin(self.angle))


@dataclass(frozen=True, slots=True)
class Item:
    """An item in the picture: its centre and which colour it has."""

    centre: Point
    colour: int


def hand_at(layout: Layout, *, before: Cycle | None, cycle: Cycle, seconds: float) -> Hand:
    """The gripper at a time within `cycle`, which follows `before`."""
    name = cycle.phase_at(seconds)
    part = cycle.phases[name].progress(seconds)
    poses = _Poses(layout, cycle)
    match name:
        case "idle":
            # It comes home first, from wherever the cycle before ended, then waits.
            span = cycle.phases["idle"]
            homing = min(0.9, 0.5 * (span.end_seconds - span.start_seconds))
            came_from = poses.home if before is None else _last(_Poses(layout, before), before)
            went = min(1.0, (seconds - span.start_seconds) / homing)
            return came_from.towards(poses.home, went)
        case "reach":
            return _along((poses.home, poses.above_pick, poses.at_pick), (0.65,), part)
        case "grasp" if cycle.aborted:
            # The fingers close around nothing firm, and open again.
            return _along((poses.at_pick, poses.half_closed, poses.at_pick), (0.5,), part)
        case "grasp":
            hands = (poses.at_pick, poses.gripped, poses.gripped, poses.lifted)
            return _along(hands, (GRIP_AT - 0.05, GRIP_AT + 0.1), part)
        case "move":
            return _along((poses.lifted, poses.raised, poses.above_place), (0.4,), part)
        case "place":
            hands = (poses.above_place, poses.gripped_at_place, poses.released, poses.retreated)
            return _along(hands, (RELEASE_AT - 0.05, RELEASE_AT + 0.15), part)
        case _:
            hand = poses.retreated.towards(poses.hover, min(1.0, part / 0.25))
            (x, y), sway = hand.wrist, 0.012 * math.sin(4.0 * seconds)
            return Hand((x + sway * min(1.0, part / 0.25), y), hand.angle, hand.opening)


def items_at(
    layout: Layout, *, before: Cycle | None, cycle: Cycle, seconds: float, hand: Hand
) -> list[Item]:
    """The items to be seen: the one of this cycle, and the last one while it sinks into the box."""
    idled = seconds - cycle.phases["idle"].start_seconds
    depth = 2.2 * ITEM_HALF
    items = []
    if before is not None and not before.aborted and idled < FEED_SECONDS:
        x, y = layout.place
        items.append(Item((x, y + depth * idled / FEED_SECONDS), before.item))
    carrying = cycle.carrying
    if carrying is None or seconds < carrying.start_seconds:
        stayed = before is not None and before.aborted
        risen = 1.0 if stayed else min(1.0, idled / FEED_SECONDS)
        x, y = layout.pick
        items.append(Item((x, y + depth * (1 - risen)), cycle.item))
    elif seconds < carrying.end_seconds:
        items.append(Item(hand.grip, cycle.item))
    else:
        items.append(Item(layout.place, cycle.item))
    return items


def elbow_of(layout: Layout, wrist: Point) -> tuple[Point, Point]:
    """The elbow (the one above the arm) and the wrist, pulled in if it is out of reach."""
    (sx, sy), (upper, fore) = layout.shoulder, layout.links
    dx, dy = wrist[0] - sx, wrist[1] - sy
    length = math.hypot(dx, dy)
    reach = min(max(length, abs(upper - fore) + 0.01), upper + fore - 0.01)
    dx, dy = dx / length, dy / length
    along = (upper * upper - fore * fore + reach * reach) / (2 * reach)
    aside = math.sqrt(max(0.0, upper * upper - along * along))
    elbow = (sx + along * dx + aside * dy, sy + along * dy - aside * dx)
    return elbow, (sx + reach * dx, sy + reach * dy)


class _Poses:
    """The hands a cycle goes through."""

    def __init__(self, layout: Layout, cycle: Cycle) -> None:
        a, b, c, d = (0.012 * max(-2.0, min(2.0, value)) for value in cycle.wobble)
        (sx, sy), (px, py), (qx, qy) = layout.shoulder, layout.pick, layout.place
        pick_y, place_y = py - FINGER * 0.85, qy - FINGER * 0.85
        self.home = Hand((sx + 0.14, sy - 0.26), FORWARD, OPEN * 0.8)
        self.above_pick = Hand((px + a, pick_y - 0.17 + b), DOWN, OPEN)
        self.at_pick = Hand((px, pick_y), DOWN, OPEN)
        self.half_closed = Hand((px, pick_y - 0.01), DOWN, (OPEN + CLOSED) / 2)
        self.gripped = Hand((px, pick_y), DOWN, CLOSED)
        self.lifted = Hand((px, pick_y - 0.06), DOWN, CLOSED)
        self.raised = Hand(((px + qx) / 2 + c, pick_y - 0.27 + d), DOWN, CLOSED)
        self.above_place = Hand((qx, place_y - 0.13), DOWN, CLOSED)
        self.gripped_at_place = Hand((qx, place_y), DOWN, CLOSED)
        self.released = Hand((qx, place_y), DOWN, OPEN)
        self.retreated = Hand((qx, place_y - 0.08), DOWN, OPEN)
        self.hover = Hand((qx - 0.03 + a, place_y - 0.16 + b), DOWN, OPEN)


def _last(poses: _Poses, cycle: Cycle) -> Hand:
    if cycle.aborted:
        return poses.at_pick
    return poses.hover if "inspect" in cycle.phases else poses.retreated


def _along(hands: tuple[Hand, ...], stops: tuple[float, ...], part: float) -> Hand:
    """The hand at `part` of a path that is at hands[1], hands[2], … at those parts of it."""
    edges = (0.0, *stops, 1.0)
    leg = next(i for i in range(len(hands) - 1) if part <= edges[i + 1])
    return hands[leg].towards(hands[leg + 1], (part - edges[leg]) / (edges[leg + 1] - edges[leg]))
