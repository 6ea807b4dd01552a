"""Families that several roles have."""

from __future__ import annotations

from streamer.telemetry.families.family import EVERY_ROLE, Family, Kind, Level, Role

STREAM = "the camera's name"
_STAGES = {
    Role.INGEST: "`decode`",
    Role.ENCODER: "`frame_wait`, `encode`, `publish`",
    Role.TEMPORAL: "`feature_wait`, `temporal`, `commit`",
}

BUILD_INFO = Family(
    name="streamer_build_info",
    kind=Kind.GAUGE,
    meaning="1, with the version that runs.",
    roles=EVERY_ROLE,
    labels={"version": "of the package", "role": "the worker's"},
)
WORKER_READY = Family(
    name="streamer_worker_ready",
    kind=Kind.GAUGE,
    meaning="1 while the worker works, as /readyz says; 0 while it starts, stops, is stuck, or "
    "Redis does not answer.",
    roles=EVERY_ROLE,
)
LATENCY_BUDGET = Family(
    name="streamer_latency_budget_seconds",
    kind=Kind.GAUGE,
    meaning="The setting latency_budget_seconds, against which events are held.",
    roles=EVERY_ROLE,
)
LEFT_OUT = Family(
    name="streamer_metrics_left_out",
    kind=Kind.GAUGE,
    meaning="Label sets without a series of their own, beyond metrics.detail_series: counters are "
    'in the series with stream="", gauges are missing.',
    roles=EVERY_ROLE,
)
FRAMES = Family(
    name="streamer_frames_total",
    kind=Kind.COUNTER,
    meaning="Frames by step.",
    roles=(Role.INGEST, Role.ENCODER),
    labels={"stream": STREAM, "step": "`analysed` (ingest), `encoded` (encoder)"},
    level=Level.CORE,
)
FRAMES_DROPPED = Family(
    name="streamer_frames_dropped_total",
    kind=Kind.COUNTER,
    meaning="Analysed frames that did not become features.",
    roles=(Role.INGEST, Role.ENCODER),
    labels={
        "stream": STREAM,
        "reason": "`overwritten`, `late`, `refused`, `abandoned`, `lost`, `send_full`",
    },
    level=Level.DETAIL,
)
REFUSED = Family(
    name="streamer_refused_total",
    kind=Kind.COUNTER,
    meaning="Operations that the log or the store refused, and entries that can't be used.",
    roles=(Role.INGEST, Role.ENCODER, Role.TEMPORAL),
    labels={
        "stream": STREAM,
        "operation": "`send`, `publish`, `commit`, `read`",
        "answer": "a word: `fenced`, `stale`, `foreign`, `unreadable` and others",
    },
    level=Level.DETAIL,
)
STAGE_SECONDS = Family(
    name="streamer_stage_seconds",
    kind=Kind.HISTOGRAM,
    meaning="Time of a frame in a stage; of publish, temporal and commit: of a call.",
    roles=tuple(_STAGES),
    labels={"stage": "; ".join(f"{stages} ({role})" for role, stages in _STAGES.items())},
)
LEASES = Family(
    name="streamer_leases",
    kind=Kind.GAUGE,
    meaning="Leases this worker holds.",
    roles=(Role.INGEST, Role.TEMPORAL),
    labels={"what": "`streams` (ingest), `partitions` (temporal)"},
)
LEASE_CHANGES = Family(
    name="streamer_lease_changes_total",
    kind=Kind.COUNTER,
    meaning="Leases taken, and leases given back or lost.",
    roles=(Role.INGEST, Role.TEMPORAL),
    labels={"what": "as in `streamer_leases`", "change": "`gained`, `lost`"},
)

FAMILIES = (
    BUILD_INFO,
    WORKER_READY,
    LATENCY_BUDGET,
    LEFT_OUT,
    FRAMES,
    FRAMES_DROPPED,
    REFUSED,
    STAGE_SECONDS,
    LEASES,
    LEASE_CHANGES,
)
