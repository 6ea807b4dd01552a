"""Families of the ingest worker."""

from __future__ import annotations

from streamer.core.feature import StreamStatus
from streamer.telemetry.families.every import STREAM
from streamer.telemetry.families.family import Family, Kind, Level, Role

_ROLES = (Role.INGEST,)
_STATES = ", ".join(f"`{status}`" for status in StreamStatus)

STREAM_UP = Family(
    name="streamer_stream_up",
    kind=Kind.GAUGE,
    meaning="1 while the camera delivers frames, 0 while it should and does not; no series while "
    "it is paused and after its end.",
    roles=_ROLES,
    labels={"stream": STREAM},
    level=Level.CORE,
)
LAST_FRAME = Family(
    name="streamer_stream_last_frame_timestamp_seconds",
    kind=Kind.GAUGE,
    meaning="When the last analysed frame went on its way to the encoder: seconds since 1970, by "
    "this host's clock.",
    roles=_ROLES,
    labels={"stream": STREAM},
    level=Level.CORE,
)
STREAM_INFO = Family(
    name="streamer_stream_info",
    kind=Kind.GAUGE,
    meaning="1, with what the camera delivers.",
    roles=_ROLES,
    labels={
        "stream": STREAM,
        "kind": "`rtsp`, `http`, `device`, `file`, `synthetic`",
        "width": "pixels",
        "height": "pixels",
        "clock": "what capture times are taken from: `host`, `file`",
    },
    level=Level.DETAIL,
)
RECONNECTS = Family(
    name="streamer_stream_reconnects_total",
    kind=Kind.COUNTER,
    meaning="How often the camera was lost, or could not be opened for another reason than before.",
    roles=_ROLES,
    labels={"stream": STREAM},
    level=Level.DETAIL,
)
CLOCK_OFFSET = Family(
    name="streamer_stream_clock_offset_seconds",
    kind=Kind.GAUGE,
    meaning="The camera's clock minus this host's, less the time a picture takes to here: the "
    "network's and one frame period. Only of RTSP cameras that send RTCP sender reports, from the "
    "first one on. No time in an event is taken from it.",
    roles=_ROLES,
    labels={"stream": STREAM},
    level=Level.DETAIL,
)
STREAM_STATUS = Family(
    name="streamer_stream_status",
    kind=Kind.GAUGE,
    meaning="1 for the state the camera is in.",
    roles=_ROLES,
    labels={"stream": STREAM, "state": _STATES},
    level=Level.DETAIL,
)
STATUS_CHANGES = Family(
    name="streamer_stream_status_changes_total",
    kind=Kind.COUNTER,
    meaning="Changes of a camera's state, by the new one; another reason counts as a change.",
    roles=_ROLES,
    labels={"stream": STREAM, "state": _STATES},
    level=Level.DETAIL,
)
SNAPSHOTS = Family(
    name="streamer_snapshots_total",
    kind=Kind.COUNTER,
    meaning="Frames that decided an event, by whether they were still there for a picture.",
    roles=_ROLES,
    labels={"stream": STREAM, "outcome": "`kept`, `missed`"},
    level=Level.DETAIL,
)
STREAMS = Family(
    name="streamer_streams",
    kind=Kind.GAUGE,
    meaning="How many of this worker's streams are in a state. Complete, whatever the budget.",
    roles=_ROLES,
    labels={"state": _STATES},
)

FAMILIES = (
    STREAM_UP,
    LAST_FRAME,
    STREAM_INFO,
    RECONNECTS,
    CLOCK_OFFSET,
    STREAM_STATUS,
    STATUS_CHANGES,
    SNAPSHOTS,
    STREAMS,
)
