"""Which camera is not well?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploy.grafana.source.board import board, stream_variable
from deploy.grafana.source.panels import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    RED,
    YELLOW,
    Query,
    lines,
    states,
)
from deploy.grafana.source.tables import Column, rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grafana_foundation_sdk.cog.builder import Builder
    from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

STATES = {
    1: ("live", GREEN),
    2: ("connecting", YELLOW),
    3: ("reconnecting", ORANGE),
    4: ("paused", BLUE),
    5: ("ended", GREY),
    6: ("failed", RED),
}
"""Numbers of a camera's states, for the timeline."""

MINE = 'stream=~"$stream"'


def _state() -> Sequence[Builder[Panel]]:
    """Of each camera, over time."""
    numbers = " or ".join(
        f'{number} * streamer_stream_status{{{MINE}, state="{name}"}}'
        for number, (name, _) in STATES.items()
    )
    return [
        states(
            "State",
            "As the camera's ingest worker sees it. Beyond the budget of series "
            "(`metrics.detail_series`) streams have none: then see whether they are up.",
            f"max by (stream) ({numbers})",
            legend="{{stream}}",
            values=STATES,
            runbooks=["StreamDown", "StreamFlapping"],
        ),
        states(
            "Up",
            "Whether the camera delivers frames; of every stream.",
            f"max by (stream) (streamer_stream_up{{{MINE}}})",
            legend="{{stream}}",
            values={0: ("down", RED), 1: ("up", GREEN)},
            runbooks=["StreamDown", "StreamStalled"],
        ),
    ]


def _each() -> Sequence[Builder[Panel]]:
    """A table of how they are."""
    link = "/d/streamer-temporal?var-stream=${__data.fields.stream}"
    return [
        rows(
            "Streams",
            "One row per camera. Frames are those analysed; ages are from now.",
            [
                Column("stream", url=link),
                Column("up", f"max by (stream) (streamer_stream_up{{{MINE}}})"),
                Column(
                    "frames",
                    f'sum by (stream) (rate(streamer_frames_total{{{MINE}, step="analysed"}}'
                    "[$__rate_interval]))",
                    unit="fps",
                ),
                Column(
                    "dropped, 1 h",
                    f"sum by (stream) (increase(streamer_frames_dropped_total{{{MINE}}}[1h]))",
                ),
                Column(
                    "reconnects, 1 h",
                    f"sum by (stream) (increase(streamer_stream_reconnects_total{{{MINE}}}[1h]))",
                ),
                Column(
                    "last frame",
                    f"min by (stream) (time() - "
                    f"streamer_stream_last_frame_timestamp_seconds{{{MINE}}})",
                    unit="s",
                ),
                Column(
                    "last commit",
                    f"min by (stream) (time() - "
                    f"streamer_stream_last_commit_timestamp_seconds{{{MINE}}})",
                    unit="s",
                ),
                Column(
                    "events, 1 h",
                    f"sum by (stream) (increase(streamer_stream_events_total{{{MINE}}}[1h]))",
                ),
            ],
            by="stream",
        ),
    ]


def _sources() -> Sequence[Builder[Panel]]:
    """A table of what they are."""
    return [
        rows(
            "Sources",
            "What each camera sends: kind, size, and whose clock its times are.",
            [
                Column("stream"),
                Column(
                    "",
                    f"max by (stream, kind, width, height, clock) (streamer_stream_info{{{MINE}}})",
                ),
                Column("kind"),
                Column("width"),
                Column("height"),
                Column("clock"),
            ],
            by="stream",
        ),
    ]


def _frames() -> Sequence[Builder[Panel]]:
    """What cameras send, and what becomes of it."""
    return [
        lines(
            "Frames analysed",
            "Should be the rate that the bundle asks for, on each camera.",
            Query(
                f'sum by (stream) (rate(streamer_frames_total{{{MINE}, step="analysed"}}'
                "[$__rate_interval]))",
                "{{stream}}",
            ),
            unit="fps",
        ),
        lines(
            "Frames dropped by reason",
            "overwritten, late: the encoder does not keep up. Others: see the metrics page.",
            Query(
                f"sum by (reason) (rate(streamer_frames_dropped_total{{{MINE}}}"
                "[$__rate_interval]))",
                "{{reason}}",
            ),
            unit="fps",
            stacked=True,
            runbooks=["FramesDropped"],
        ),
    ]


def _connections() -> Sequence[Builder[Panel]]:
    """How well they are connected."""
    return [
        lines(
            "Reconnects",
            "Connections made anew, per hour.",
            Query(
                f"sum by (stream) (increase(streamer_stream_reconnects_total{{{MINE}}}[1h]))",
                "{{stream}}",
            ),
            unit="short",
            runbooks=["StreamFlapping"],
        ),
        lines(
            "Changes of state",
            "Into each state, per minute.",
            Query(
                f"60 * sum by (state) (rate(streamer_stream_status_changes_total{{{MINE}}}"
                "[$__rate_interval]))",
                "{{state}}",
            ),
            unit="cpm",
        ),
        lines(
            "Age of the last frame",
            "Grows while a camera sends nothing.",
            Query(
                "min by (stream) "
                f"(time() - streamer_stream_last_frame_timestamp_seconds{{{MINE}}})",
                "{{stream}}",
            ),
            unit="s",
            steps=((None, GREEN), (60, RED)),
            runbooks=["StreamStalled"],
        ),
        lines(
            "Clock offset",
            "The clock of an RTSP camera minus the host's. Far from 0: the time in its picture and "
            "in its recordings differs from that of its events, which is the host's; set its NTP "
            "server. Empty for cameras that send no RTCP sender reports.",
            Query(
                f"max by (stream) (streamer_stream_clock_offset_seconds{{{MINE}}})", "{{stream}}"
            ),
            unit="s",
        ),
        lines(
            "Snapshots",
            "Pictures of frames that decided: kept, or missed because they were gone.",
            Query(
                f"sum by (outcome) (rate(streamer_snapshots_total{{{MINE}}}[$__rate_interval]))",
                "{{outcome}}",
            ),
            unit="cps",
        ),
    ]


def dashboard() -> Dashboard:
    """State of each camera over time, a table of them, their frames."""
    return board(
        "streamer-streams",
        "streamer / Streams",
        "Which camera is not well, since when, and what does it send?",
        [
            ("State", _state()),
            ("Each stream", [*_each(), *_sources()]),
            ("Frames and connections", [*_frames(), *_connections()]),
        ],
        variables=[stream_variable()],
    )
