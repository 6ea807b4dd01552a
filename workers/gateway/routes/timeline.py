"""`/v1/streams/{id}/timeline`: what a stream did, as bands that can be drawn."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from streamer.client.cursor import parse_since
from streamer.client.timeline import Timeline
from streamer.core.errors import ConfigError
from workers.gateway.auth import Scope, require
from workers.gateway.board import KEPT_SECONDS
from workers.gateway.entry import source_of
from workers.gateway.problem import no_such_stream

if TYPE_CHECKING:
    from streamer.client.bands import Band, TimelineView
    from workers.gateway.context import Context


class TimelineQuery(BaseModel):
    """What a timeline may be asked for."""

    model_config = ConfigDict(extra="forbid")

    since: str = Field("10m", description="So long ago, such as `90s` or `10m`; at most an hour.")


class BandInfo(BaseModel):
    """A stretch of a label. Nanoseconds are strings. `frame` is the seq that decided last."""

    label: str
    start_ns: str
    end_ns: str | None
    confidence: float | None
    status: str
    epoch: int
    frame: int
    score: float | None = None


class GapInfo(BaseModel):
    """Missing video."""

    start_ns: str
    end_ns: str
    missing_frames: int
    reason: str
    policy: str


class StatusInfo(BaseModel):
    """A state of the camera."""

    state: str
    reason: str
    detail: str
    start_ns: str
    end_ns: str | None


class TimelineInfo(BaseModel):
    """The bands since a time, oldest first. Events from `next_sequence` on are not in them."""

    phases: list[BandInfo]
    actions: list[BandInfo]
    anomalies: list[BandInfo]
    gaps: list[GapInfo]
    statuses: list[StatusInfo]
    next_sequence: int
    last_ns: str
    now_ns: str


def timeline_router(context: Context) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["streams"])

    @router.get("/v1/streams/{stream_id}/timeline", dependencies=[require(Scope.EVENTS_READ)])
    async def timeline(stream_id: str, query: Annotated[TimelineQuery, Query()]) -> TimelineInfo:
        """Phases, actions, anomalies, gaps and states of the camera since a time."""
        seconds = _seconds(query.since)
        found = context.board.timeline(stream_id)
        if found is None:
            if await source_of(context, stream_id) is None:
                raise no_such_stream(stream_id)
            found = Timeline()
        now_ns = time.time_ns()
        return _info(found.view(now_ns - int(seconds * 1e9)), now_ns=now_ns)

    return router


def _seconds(since: str) -> float:
    seconds = parse_since(since)
    if not isinstance(seconds, float):
        raise ConfigError(f"since: expected a duration such as 90s or 10m, found {since!r}")
    if seconds > KEPT_SECONDS:
        raise ConfigError(
            f"since: expected at most {KEPT_SECONDS:g}s, found {since!r}; GET /v1/events/history "
            "reaches further back"
        )
    return seconds


def _info(view: TimelineView, *, now_ns: int) -> TimelineInfo:
    return TimelineInfo(
        phases=[_band(band) for band in view.phases],
        actions=[_band(band) for band in view.actions],
        anomalies=[_band(band) for band in view.anomalies],
        gaps=[
            GapInfo(
                start_ns=str(gap.start_ns),
                end_ns=str(gap.end_ns),
                missing_frames=gap.missing_frames,
                reason=gap.reason,
                policy=gap.policy,
            )
            for gap in view.gaps
        ],
        statuses=[
            StatusInfo(
                state=status.state,
                reason=status.reason,
                detail=status.detail,
                start_ns=str(status.start_ns),
                end_ns=None if status.end_ns is None else str(status.end_ns),
            )
            for status in view.statuses
        ],
        next_sequence=view.next_sequence,
        last_ns=str(view.last_ns),
        now_ns=str(now_ns),
    )


def _band(band: Band) -> BandInfo:
    return BandInfo(
        label=band.label,
        start_ns=str(band.start_ns),
        end_ns=None if band.end_ns is None else str(band.end_ns),
        confidence=band.confidence,
        status=band.status,
        epoch=band.epoch,
        frame=band.frame,
        score=band.score,
    )
