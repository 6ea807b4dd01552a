"""Tracing: which frames are traced, what a span is, and where spans go.

No OpenTelemetry here. The one `SpanSink` there is, in `otel.py`, is imported only when tracing is
on.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Protocol

from streamer.core.errors import ConfigError
from streamer.core.extras import how_to_install
from streamer.core.trace import TraceContext

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.core.config import TracingSettings
    from streamer.core.frame import Frame, FrameStamp

Attributes = dict[str, str | int | float]

TRACED_ROLES = frozenset({"ingest", "encoder", "temporal"})
"""The workers that a frame passes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanEvent:
    """Something that happened within a span."""

    name: str
    at_ns: int
    attributes: Attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A piece of work, done.

    Attributes:
        name: What it was.
        start_ns: UTC nanoseconds.
        end_ns: UTC nanoseconds.
        parent: The span it is below; None: it begins a trace.
        own: Its own identity, if that was decided before.
        attributes: What it was about.
        links: Spans it has to do with.
        events: What happened within it.
        error: Why it failed; empty if it did not.
    """

    name: str
    start_ns: int
    end_ns: int
    parent: TraceContext | None = None
    own: TraceContext | None = None
    attributes: Attributes = field(default_factory=dict)
    links: Sequence[TraceContext] = ()
    events: Sequence[SpanEvent] = ()
    error: str = ""


class SpanSink(Protocol):
    """Where spans go. Thread-safe; quick, whatever becomes of them."""

    def emit(self, span: Span) -> TraceContext:
        """Take a span; its identity."""
        ...

    def close(self, *, deadline_seconds: float) -> None:
        """Send what is still here, as far as that goes within the deadline."""
        ...


class HeadSampler:
    """Chooses the frames to trace, where they are read: one in `every` of each stream.

    A function of stream, epoch and seq alone: a frame that is read again is chosen again. Streams
    take turns: each begins at a place of its own among the first `every` frames of an epoch.

    Args:
        every: One frame in so many.
    """

    def __init__(self, every: int) -> None:
        self._every = every

    def mark(self, frame: Frame) -> Frame:
        """The frame, with a new trace if it is chosen."""
        trace = self.sample(frame.stamp)
        return frame if trace is None else replace(frame, stamp=replace(frame.stamp, trace=trace))

    def sample(self, stamp: FrameStamp) -> TraceContext | None:
        """A new trace for a frame that is chosen."""
        place = int.from_bytes(_digest(f"{stamp.stream_id}\n{stamp.epoch}", size=8))
        if (place + stamp.seq) % self._every:
            return None
        # The session is drawn at random, so no two runs give two frames one trace.
        frame = f"{stamp.session}\n{stamp.stream_id}\n{stamp.epoch}\n{stamp.seq}"
        digits = _digest(frame, size=24).hex()
        return TraceContext(trace_id=digits[:32], span_id=digits[32:])


def open_tracing(settings: TracingSettings, *, role: str) -> SpanSink | None:
    """Where this worker's spans go; None if tracing is off, or the role has none.

    Raises:
        ConfigError: A setting is wrong, or OpenTelemetry is not installed.
    """
    if settings.endpoint is None or role not in TRACED_ROLES:
        return None
    try:
        from streamer.telemetry.otel import OtelSink
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("opentelemetry"):
            raise
        raise ConfigError(
            f"tracing.endpoint: tracing needs OpenTelemetry, and {error.name} is not installed; "
            f"leave tracing.endpoint unset, or {how_to_install('otel')}"
        ) from error
    return OtelSink(settings, role=role)


def _digest(text: str, *, size: int) -> bytes:
    return blake2b(text.encode(), digest_size=size).digest()
