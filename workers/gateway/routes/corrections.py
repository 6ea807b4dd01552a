"""`/v1/streams/{id}/corrections`: a person says what was true."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.exceptions import HTTPException

from workers.gateway.auth import Scope, require
from workers.gateway.corrections import Correction, append_correction, video_of
from workers.gateway.entry import source_of
from workers.gateway.problem import no_such_stream

if TYPE_CHECKING:
    from workers.gateway.context import Context

MAX_HOURS = 24
SLACK_NS = 1_000_000_000  # an opening is known as well as its frames were stamped
_NS = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,19}$")]
# No control characters, and nothing that a spreadsheet would take for a formula.
_LABEL = re.compile(r"[\w(][\w .:/()&+#'-]{0,99}")


class CorrectionBody(BaseModel):
    """What was true: a label, and from when until when (UTC nanoseconds, as in events)."""

    model_config = ConfigDict(extra="forbid")

    label: str = Field(max_length=100)
    kind: Literal["phase", "action"] = "phase"
    start_ns: _NS
    end_ns: _NS


class CorrectionInfo(BaseModel):
    """The row that was written."""

    video: str
    start: float
    end: float
    label: str
    kind: str
    source: str


def corrections_router(context: Context) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["streams"])

    @router.post(
        "/v1/streams/{stream_id}/corrections",
        status_code=201,
        dependencies=[require(Scope.STREAMS_WRITE)],
    )
    async def correct(stream_id: str, body: CorrectionBody) -> CorrectionInfo:
        """Append a row to the file of corrections: a table that `streamer fit` reads."""
        source = await source_of(context, stream_id)
        if source is None:
            raise no_such_stream(stream_id)
        correction = _correction(context, stream_id, body, url=source.url, options=source.options)
        await asyncio.to_thread(append_correction, context.corrections, correction)
        return CorrectionInfo(
            video=correction.video,
            start=correction.start_seconds,
            end=correction.end_seconds,
            label=correction.label,
            kind=correction.kind,
            source=stream_id,
        )

    return router


def _correction(
    context: Context, stream_id: str, body: CorrectionBody, *, url: str, options: dict[str, str]
) -> Correction:
    label = " ".join(body.label.split())
    if not _LABEL.fullmatch(label):
        raise HTTPException(
            422,
            "label: expected letters, digits, spaces or one of . : / ( ) & + # ' - _, beginning "
            f"with a letter, a digit, ( or _, found {label!r}",
        )
    start_ns, end_ns = int(body.start_ns), int(body.end_ns)
    if not start_ns < end_ns <= start_ns + MAX_HOURS * 3600 * 10**9:
        raise HTTPException(
            422, f"end_ns: expected after start_ns, by at most {MAX_HOURS} h, found {end_ns}"
        )
    timeline = context.board.timeline(stream_id)
    if timeline is None or start_ns > timeline.last_ns:
        raise HTTPException(
            409, f"start_ns: nothing has been seen of {stream_id} then; correct what has been"
        )
    origins = timeline.origins
    origin_ns = max((ns for ns in origins.values() if ns <= start_ns + SLACK_NS), default=None)
    if origin_ns is None:
        raise HTTPException(
            409,
            f"start_ns: {stream_id} was not watched then, as far as the timelines reach back; "
            "correct something newer",
        )
    return Correction(
        video=video_of(stream_id, url, options, origin_ns=origin_ns),
        start_seconds=round(max(0, start_ns - origin_ns) * 1e-9, 3),
        end_seconds=round((end_ns - origin_ns) * 1e-9, 3),
        label=label,
        kind=body.kind,
        stream_id=stream_id,
    )
