"""Structured logs: JSON lines on stderr for machines, short lines for a terminal."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

import structlog

from streamer.telemetry.records.encoder import FeaturesRefused, FeaturesResent
from streamer.telemetry.records.every import InputRefused, LeasesChanged
from streamer.telemetry.records.frames import FramesDropped
from streamer.telemetry.records.ingest import FramesRefused, StatusChanged
from streamer.telemetry.records.model import (
    ModelPending,
    ModelRefused,
    ModelServed,
    StreamsAwaitingModel,
)
from streamer.telemetry.records.temporal import (
    CommitRefused,
    DeadLettered,
    EventCommitted,
    StateReset,
)

if TYPE_CHECKING:
    from structlog.types import EventDict, Processor

    from streamer.telemetry.observer import Record


def configure_logs(*, role: str, level: str = "info", json: bool = True) -> None:
    """Send this process's logs to stderr, those of the standard library's loggers too.

    stdout stays free for events.
    """

    def name_role(_logger: object, _method: str, entry: EventDict) -> EventDict:
        # Not a context variable: cameras and servers log from threads of their own.
        return {"role": role, **entry}

    shared: list[Processor] = [
        name_role,
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer() if json else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)


class LogObserver:
    """Logs the rare records; the frequent ones are metrics only, unless the frame is traced."""

    def __init__(self) -> None:
        self._log = structlog.get_logger()

    def observe(self, record: Record) -> None:
        """Log it, if it is one for people."""
        match record:
            case StatusChanged(note):
                self._log.info(
                    "stream status",
                    stream=note.stream_id,
                    state=note.status.value,
                    reason=note.reason,
                    detail=note.detail,
                )
            case FramesRefused(stream_id, answer, frames, key):
                self._log.warning(
                    "frames refused", stream=stream_id, answer=answer, frames=frames, key=key
                )
            case FeaturesRefused(stream_id, answer, key):
                self._log.warning("features refused", stream=stream_id, answer=answer, key=key)
            case FeaturesResent(stream_id, entries, complete):
                self._log.warning(
                    "features sent again", stream=stream_id, entries=entries, complete=complete
                )
            case StateReset(stream_id, reason):
                self._log.warning("state reset", stream=stream_id, reason=reason)
            case ModelServed(model_id, name):
                self._log.info("model", model=model_id, name=name)
            case ModelPending(model_id) if model_id:
                self._log.info("model wanted", model=model_id)
            case ModelRefused(model_id, detail):
                self._log.error("model refused", model=model_id, detail=detail)
            case StreamsAwaitingModel(stream_ids) if stream_ids:
                self._log.warning("streams await a model", streams=stream_ids)
            case DeadLettered(stream_id, reason, detail):
                self._log.error("dead letter", stream=stream_id, reason=reason, detail=detail)
            case LeasesChanged(what, gained, lost, held):
                self._log.info("leases", what=what, gained=gained, lost=lost, held=held)
            case CommitRefused(stream_id, answer):
                self._log.warning("commit refused", stream=stream_id, answer=answer)
            case EventCommitted(event, trace_id, span_id) if trace_id:
                self._log.info(
                    "event",
                    stream=event.stream_id,
                    trace_id=trace_id,
                    span_id=span_id,
                    type=event.type.value,
                    id=event.id,
                )
            case FramesDropped(stream_id, reason, _, trace) if trace is not None:
                self._log.info(
                    "frame dropped",
                    stream=stream_id,
                    trace_id=trace.trace_id,
                    span_id=trace.span_id,
                    reason=reason.value,
                )
            case InputRefused(stream_id, reason, detail):
                self._log.error("input refused", stream=stream_id, reason=reason, detail=detail)
