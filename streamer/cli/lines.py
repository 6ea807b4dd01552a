"""An event, or a hole, as one line for people."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from streamer.client import HoleReason
from streamer.core.event import (
    ActionData,
    AnomalyData,
    EventType,
    GapData,
    ModelChangedData,
    PhaseData,
    Status,
    StatusData,
)

if TYPE_CHECKING:
    from streamer.client import Hole
    from streamer.core.event import Event

_VERBS = {
    EventType.ACTION_START: "▶",
    EventType.ACTION_UPDATE: "…",
    EventType.ACTION_END: "■",
    EventType.PHASE_TRANSITION: "→",
    EventType.ANOMALY_START: "▲",
    EventType.ANOMALY_END: "△",
    EventType.STREAM_STATUS: "●",
    EventType.STREAM_GAP: "∅",
    EventType.MODEL_CHANGED: "⇄",
}


def event_line(event: Event) -> str:
    """Time, stream, what happened, how sure, how long it took."""
    moment = datetime.fromisoformat(event.time).astimezone()
    head = f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03d}  {event.stream_id:<16}"
    return f"{head} {_VERBS[event.type]} {_body(event)}".rstrip()


def hole_line(hole: Hole) -> str:
    """What is missing, and why."""
    match hole.reason:
        case HoleReason.MISSING:
            return f"{hole.count} event(s) of {hole.stream_id} missing"
        case HoleReason.RESTARTED:
            return f"{hole.stream_id} counts its events anew: its state was lost or removed"
        case HoleReason.LOG_TRIMMED:
            return "the log no longer reaches back so far: events are missing"
        case HoleReason.LOG_RESTARTED:
            return "Redis lost the newest events: some may be missing"


def _body(event: Event) -> str:
    match event.data:
        case PhaseData() as data:
            left = f" (after {data.previous.label})" if data.previous else ""
            what = f"phase {data.label or 'none'}{left}"
        case ActionData() as data:
            what = f"{event.type.removeprefix('streamer.').replace('.', ' ')} {data.label}"
        case AnomalyData() as data:
            what = (
                f"{event.type.removeprefix('streamer.').replace('.', ' ')}, score {data.score:.2f}"
            )
        case StatusData() as data:
            return f"{data.state} {data.detail or data.reason}"
        case GapData() as data:
            return (
                f"gap of {data.seconds:.2f} s, {data.missing_frames} frames missing "
                f"({data.reason}), state: {data.policy}"
            )
        case ModelChangedData() as data:
            return f"model {data.model_id} after {data.previous_model_id}"
    sure = "" if data.status is Status.CONFIRMED else f" {data.status.value}"
    milliseconds = data.pipeline_seconds * 1e3
    return f"{what:<34} {data.confidence:.2f}{sure:<12} {milliseconds:6.1f} ms"
