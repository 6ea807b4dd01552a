"""Is all well?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploy.grafana.source.board import board
from deploy.grafana.source.panels import (
    GREEN,
    ORANGE,
    RED,
    Query,
    lines,
    number,
)
from deploy.grafana.source.tables import Column, rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grafana_foundation_sdk.cog.builder import Builder
    from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

QUANTILE = (
    "histogram_quantile({}, sum by (le) "
    "(rate(streamer_event_latency_seconds_bucket[$__rate_interval])))"
)

BURN = ["LatencyBudgetBurnFast", "LatencyBudgetBurnSlow"]


def _now() -> Sequence[Builder[Panel]]:
    """One number each."""
    return [
        number(
            "Error budget left",
            "Of 30 days: 1 is untouched, 0 is used up. The objective is that 99 % of events come "
            "within the latency budget. A Prometheus younger than 30 days shows its whole life.",
            "streamer:error_budget:remaining_ratio",
            unit="percentunit",
            steps=((None, RED), (0, ORANGE), (0.25, GREEN)),
            runbooks=BURN,
        ),
        number(
            "Late events, last hour",
            "Share of events over the latency budget. The objective is 1 %.",
            "streamer:events_late:ratio_rate1h",
            unit="percentunit",
            steps=((None, GREEN), (0.01, ORANGE), (0.144, RED)),
            runbooks=BURN,
        ),
        number(
            "Streams up",
            "Share of streams whose camera delivers frames; without those that are paused or at "
            "their end.",
            "avg(streamer:stream_up:max)",
            unit="percentunit",
            steps=((None, RED), (0.9, ORANGE), (1, GREEN)),
            runbooks=["StreamDown", "StreamStalled"],
        ),
        number(
            "Events",
            "Events committed to the log, all streams.",
            "sum(rate(streamer_events_total[$__rate_interval]))",
            unit="eps",
        ),
        number(
            "Workers ready",
            "Of the workers there were within the last hour, those that say they are ready.",
            "(sum(streamer_worker_ready) or vector(0)) / sum(streamer:workers:max1h)",
            unit="percentunit",
            steps=((None, RED), (1, GREEN)),
            runbooks=["WorkerAbsent", "WorkerLost", "WorkerNotReady"],
        ),
        number(
            "Alerts firing",
            "Each has a runbook, see the table below.",
            'count(ALERTS{alertstate="firing"}) or vector(0)',
            unit="short",
            steps=((None, GREEN), (1, RED)),
        ),
    ]


def _objective() -> Sequence[Builder[Panel]]:
    """What the error budget is spent on."""
    return [
        lines(
            "Event latency",
            "From the receipt of the deciding frame to the commit of the event: the machinery, "
            "without the model's own hesitation. Points are events with a trace.",
            Query(QUANTILE.format(0.5), "p50"),
            Query(QUANTILE.format(0.95), "p95"),
            Query(QUANTILE.format(0.99), "p99"),
            unit="s",
            exemplars=True,
            budget=True,
            runbooks=BURN,
        ),
        lines(
            "Late events",
            "Share of events over the budget, over windows of different lengths. Above 1 % the "
            "error budget shrinks; the dashed lines are where the fast alert begins.",
            Query("streamer:events_late:ratio_rate5m", "5 minutes"),
            Query("streamer:events_late:ratio_rate1h", "1 hour"),
            Query("streamer:events_late:ratio_rate6h", "6 hours"),
            Query("streamer:events_late:ratio_rate3d", "3 days"),
            unit="percentunit",
            steps=((None, GREEN), (0.06, ORANGE), (0.144, RED)),
            runbooks=BURN,
        ),
    ]


def _work() -> Sequence[Builder[Panel]]:
    """Streams, events, frames."""
    return [
        lines(
            "Streams by state",
            "How many cameras are in each state, as their ingest workers see them.",
            Query("sum by (state) (streamer_streams)", "{{state}}"),
            unit="short",
            stacked=True,
            width=8,
            runbooks=["StreamDown"],
        ),
        lines(
            "Events by type",
            "Committed to the log.",
            Query("sum by (type) (rate(streamer_events_total[$__rate_interval]))", "{{type}}"),
            unit="eps",
            stacked=True,
            width=8,
        ),
        lines(
            "Frames",
            "Analysed by ingest, encoded, and dropped on the way. Encoded should equal analysed.",
            Query("sum by (step) (rate(streamer_frames_total[$__rate_interval]))", "{{step}}"),
            Query("sum(rate(streamer_frames_dropped_total[$__rate_interval]))", "dropped"),
            unit="fps",
            width=8,
            runbooks=["FramesDropped"],
        ),
    ]


def _alerts() -> Sequence[Builder[Panel]]:
    """Those that fire or are about to."""
    return [
        rows(
            "Alerts",
            "Firing and pending ones, and of how many streams, workers or the like. A click on the "
            "name opens the runbook.",
            [
                Column("alert", url="/d/runbook-${__data.fields.alert}"),
                Column("instances", "count by (alertname, alertstate, severity) (ALERTS)"),
                Column("severity"),
                Column("alertstate"),
            ],
            by="alertname",
        ),
    ]


def dashboard() -> Dashboard:
    """Objective, latency, streams, events."""
    return board(
        "streamer-overview",
        "streamer / Overview",
        "Is all well? How much of the error budget is left?",
        [("Now", _now()), ("Objective", _objective()), ("Work", _work()), ("Alerts", _alerts())],
    )
