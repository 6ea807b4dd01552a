"""Families of the temporal worker, but for those of its model."""

from __future__ import annotations

from streamer.core.event import EventType, GapReason
from streamer.telemetry.families.every import STREAM
from streamer.telemetry.families.family import Family, Kind, Level, Role

_ROLES = (Role.TEMPORAL,)

DEAD_LETTER_REASONS = (
    GapReason.UNREADABLE,
    GapReason.MISFIT,
    GapReason.POISON,
    GapReason.STATE,
)
"""Why an entry or a state is kept aside; of another reason for a gap there is nothing to keep."""

STREAM_PHASE = Family(
    name="streamer_stream_phase",
    kind=Kind.GAUGE,
    meaning="1 for the stream's current confirmed phase; no series while it has none.",
    roles=_ROLES,
    labels={"stream": STREAM, "phase": "the model's phases"},
    level=Level.CORE,
)
LAST_COMMIT = Family(
    name="streamer_stream_last_commit_timestamp_seconds",
    kind=Kind.GAUGE,
    meaning="When this worker last committed a step of the stream: seconds since 1970, by this "
    "host's clock.",
    roles=_ROLES,
    labels={"stream": STREAM},
    level=Level.CORE,
)
STREAM_EVENTS = Family(
    name="streamer_stream_events_total",
    kind=Kind.COUNTER,
    meaning="Events of the stream that were committed.",
    roles=_ROLES,
    labels={"stream": STREAM},
    level=Level.CORE,
)
RESETS = Family(
    name="streamer_state_resets_total",
    kind=Kind.COUNTER,
    meaning="States begun anew by a change of model or because they could not be read.",
    roles=_ROLES,
    labels={"stream": STREAM, "reason": "`model`, `state`"},
    level=Level.DETAIL,
)
DEAD_LETTERS = Family(
    name="streamer_dead_letters_total",
    kind=Kind.COUNTER,
    meaning="Entries and states refused for good, and kept aside for people.",
    roles=_ROLES,
    labels={"reason": ", ".join(f"`{one}`" for one in DEAD_LETTER_REASONS)},
)
STREAM_DEAD_LETTERS = Family(
    name="streamer_stream_dead_letters_total",
    kind=Kind.COUNTER,
    meaning="The same by stream. A series begins with its first count.",
    roles=_ROLES,
    labels={"stream": STREAM, "reason": "as in `streamer_dead_letters_total`"},
    level=Level.DETAIL,
)
EVENTS = Family(
    name="streamer_events_total",
    kind=Kind.COUNTER,
    meaning="Events committed.",
    roles=_ROLES,
    labels={"type": ", ".join(f"`{one}`" for one in EventType)},
)
ACTIONS = Family(
    name="streamer_actions_total",
    kind=Kind.COUNTER,
    meaning="Actions whose start was confirmed.",
    roles=_ROLES,
    labels={"label": "the model's actions"},
)
EVENTS_LATE = Family(
    name="streamer_events_late_total",
    kind=Kind.COUNTER,
    meaning="Events whose pipeline_seconds were over the latency budget.",
    roles=_ROLES,
)
EVENTS_ON_TIME = Family(
    name="streamer_events_on_time_total",
    kind=Kind.COUNTER,
    meaning="Events whose pipeline_seconds were within the latency budget.",
    roles=_ROLES,
)
EVENT_LATENCY = Family(
    name="streamer_event_latency_seconds",
    kind=Kind.HISTOGRAM,
    meaning="pipeline_seconds of events: from receipt of the deciding frame to the commit. The "
    "latency budget is one of its buckets.",
    roles=_ROLES,
)
DECISION_DELAY = Family(
    name="streamer_decision_delay_seconds",
    kind=Kind.HISTOGRAM,
    meaning="Video time from a segment's boundary to the frame that decided: the model's own "
    "hesitation.",
    roles=_ROLES,
)
FRAME_AGE = Family(
    name="streamer_frame_age_seconds",
    kind=Kind.HISTOGRAM,
    meaning="From receipt of a frame's packet to the commit of its outcome. The latency budget is "
    "one of its buckets.",
    roles=_ROLES,
)
INPUT_LAG = Family(
    name="streamer_input_lag_frames",
    kind=Kind.GAUGE,
    meaning="Frames in the input logs of this worker's streams that are not folded in yet. "
    "Measured every few seconds; NaN while Redis does not answer.",
    roles=_ROLES,
)
INPUT_OLDEST = Family(
    name="streamer_input_oldest_seconds",
    kind=Kind.GAUGE,
    meaning="Age of the oldest of them, since its features were ready; 0 if there is none. Of "
    "another host's: since it was first seen here.",
    roles=_ROLES,
)
INPUT_LAG_STREAMS = Family(
    name="streamer_input_lag_streams",
    kind=Kind.GAUGE,
    meaning="Streams of which something has waited in the input log for more than a second.",
    roles=_ROLES,
)
ACTIVE_STREAMS = Family(
    name="streamer_active_streams",
    kind=Kind.GAUGE,
    meaning="Streams whose states this worker holds.",
    roles=_ROLES,
)
MODEL_STEPS = Family(
    name="streamer_model_steps_total",
    kind=Kind.COUNTER,
    meaning="Calls of the temporal model: one frame of each stream of a batch at a time.",
    roles=_ROLES,
)
COMMITS = Family(
    name="streamer_commits_total",
    kind=Kind.COUNTER,
    meaning="Steps of streams that are in the store.",
    roles=_ROLES,
)
GAPS = Family(
    name="streamer_gaps_total",
    kind=Kind.COUNTER,
    meaning="Gap events committed: video is missing, or was not used.",
    roles=_ROLES,
    labels={"reason": ", ".join(f"`{one}`" for one in GapReason)},
)

FAMILIES = (
    STREAM_PHASE,
    LAST_COMMIT,
    STREAM_EVENTS,
    RESETS,
    DEAD_LETTERS,
    STREAM_DEAD_LETTERS,
    EVENTS,
    ACTIONS,
    EVENTS_LATE,
    EVENTS_ON_TIME,
    EVENT_LATENCY,
    DECISION_DELAY,
    FRAME_AGE,
    INPUT_LAG,
    INPUT_OLDEST,
    INPUT_LAG_STREAMS,
    ACTIVE_STREAMS,
    MODEL_STEPS,
    COMMITS,
    GAPS,
)
