"""Events against the ground truth of a synthetic scene."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamer.core.event import PhaseData, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.core.event import Event
    from streamer.sources.workcell import Truth

WINDOW_SECONDS = 1.5
"""A transition further from its truth than this is another one."""


def onset_errors(
    events: Sequence[Event], truth: Sequence[Truth], *, offset_seconds: float = 0.0
) -> tuple[list[float], int]:
    """Absolute errors of confirmed phase onsets, and how many true ones nothing was said about.

    Args:
        events: Of one stream.
        truth: Segments, in scene time.
        offset_seconds: Scene time of presentation time 0.
    """
    said = [
        (e.data.label, e.data.segment.start_pts_seconds + offset_seconds)
        for e in events
        if isinstance(e.data, PhaseData) and e.data.status is Status.CONFIRMED and e.data.label
    ]
    last = max((e.data.frame.pts_seconds for e in events), default=0.0) + offset_seconds
    errors, missed = [], 0
    for segment in truth:
        if segment.kind != "phase" or segment.start_seconds > last - WINDOW_SECONDS:
            continue
        near = [
            abs(at - segment.start_seconds)
            for label, at in said
            if label == segment.label and abs(at - segment.start_seconds) <= WINDOW_SECONDS
        ]
        if near:
            errors.append(min(near))
        else:
            missed += 1
    return errors, missed
