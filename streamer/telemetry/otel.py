"""Spans → OpenTelemetry → a collector, over OTLP/HTTP. Imported only when tracing is on."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from contextvars import ContextVar
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    Status,
    StatusCode,
    TraceFlags,
    format_span_id,
    format_trace_id,
    set_span_in_context,
)

from streamer.core.errors import ConfigError
from streamer.core.trace import TraceContext

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamer.core.config import TracingSettings
    from streamer.telemetry.tracing import Span

MAX_WAITING_SPANS = 4_096
"""Spans that wait for the collector; newer ones push out the oldest. About 1 kB each."""

SEND_EVERY_SECONDS = 1.0
"""Spans wait so long for others to be sent with."""

_MAX_SPANS_PER_REQUEST = 512
_COMPLAIN_EVERY_SECONDS = 60.0
_TRACES_PATH = "/v1/traces"


class OtelSink:
    """Sends spans from a thread of its own. What the collector does changes nothing here.

    Args:
        settings: With an endpoint.
        role: This worker.

    Raises:
        ConfigError: The endpoint is no URL of a collector, or a file can't be read.
    """

    def __init__(self, settings: TracingSettings, *, role: str) -> None:
        url = _traces_url(settings.endpoint or "")
        exporter = OTLPSpanExporter(
            endpoint=url,
            headers=_headers(settings.headers_file),
            certificate_file=_existing(settings.tls_ca),
            timeout=settings.timeout_seconds,
        )
        logger = logging.getLogger("opentelemetry")
        logger.handlers = [Complaints(url)]
        logger.propagate = False
        try:
            self._provider = _provider(settings.service_name, role=role)
        except ValueError as error:
            raise ConfigError(f"tracing: a variable of OpenTelemetry is wrong: {error}") from error
        self._provider.add_span_processor(
            BatchSpanProcessor(
                exporter,
                max_queue_size=MAX_WAITING_SPANS,
                schedule_delay_millis=SEND_EVERY_SECONDS * 1000,
                max_export_batch_size=_MAX_SPANS_PER_REQUEST,
            )
        )
        self._tracer = self._provider.get_tracer("streamer", version("streamer"))

    def emit(self, span: Span) -> TraceContext:
        """Queue a span. Never waits."""
        token = _own.set(span.own)
        try:
            made = self._tracer.start_span(
                span.name,
                context=_below(span.parent),
                start_time=span.start_ns,
                attributes=span.attributes,
                links=[Link(_context(link)) for link in span.links],
            )
        finally:
            _own.reset(token)
        for event in span.events:
            made.add_event(event.name, event.attributes, timestamp=event.at_ns)
        if span.error:
            made.set_status(Status(StatusCode.ERROR, span.error))
        made.end(end_time=span.end_ns)
        context = made.get_span_context()
        return TraceContext(format_trace_id(context.trace_id), format_span_id(context.span_id))

    def close(self, *, deadline_seconds: float) -> None:
        """Send what waits. After the deadline it is given up, and the log says so."""
        # The library's own shutdown waits for half a minute. The threads end with the process.
        thread = threading.Thread(target=self._provider.shutdown, name="spans", daemon=True)
        thread.start()
        thread.join(max(0.0, deadline_seconds))
        if thread.is_alive():
            structlog.get_logger().warning("spans given up", waited_seconds=deadline_seconds)


class Complaints(logging.Handler):
    """What OpenTelemetry says to its loggers → our log: a line, no traceback, not too often.

    Args:
        endpoint: Where spans go.
        clock: Monotonic seconds.
    """

    def __init__(self, endpoint: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(logging.WARNING)
        self._endpoint = endpoint
        self._clock = clock
        self._last: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Log it, unless the same was said a short while ago."""
        kind, now = f"{record.name} {record.msg}", self._clock()
        if now - self._last.get(kind, -_COMPLAIN_EVERY_SECONDS) < _COMPLAIN_EVERY_SECONDS:
            self._left_out[kind] = self._left_out.get(kind, 0) + 1
            return
        self._last[kind] = now
        error = record.exc_info[1] if record.exc_info else None
        structlog.get_logger().warning(
            "tracing",
            detail=record.getMessage() if error is None else f"{record.getMessage()} {error!r}",
            endpoint=self._endpoint,
            left_out=self._left_out.pop(kind, 0),
        )


def _provider(service_name: str, *, role: str) -> TracerProvider:
    """Spans of this process. Variables of OpenTelemetry may add to what it says of itself."""
    return TracerProvider(
        sampler=ALWAYS_ON,  # chosen already, where the frame was read
        id_generator=_Ids(),
        resource=Resource.create(
            {
                "service.name": f"{service_name}-{role}",
                "service.namespace": service_name,
                "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
                "service.version": version("streamer"),
            }
        ),
        span_limits=SpanLimits(max_links=1024),  # a batch's sampled frames
        shutdown_on_exit=False,  # `close` has a deadline
    )


_own: ContextVar[TraceContext | None] = ContextVar("own", default=None)


class _Ids(RandomIdGenerator):
    """Random ids, but for a span whose identity was decided before."""

    def generate_span_id(self) -> int:
        own = _own.get()
        return super().generate_span_id() if own is None else int(own.span_id, 16)

    def generate_trace_id(self) -> int:
        own = _own.get()
        return super().generate_trace_id() if own is None else int(own.trace_id, 16)

    def is_trace_id_random(self) -> bool:
        return False  # those of frames are digests


def _context(trace: TraceContext) -> SpanContext:
    return SpanContext(
        int(trace.trace_id, 16),
        int(trace.span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
    )


def _below(parent: TraceContext | None) -> Context:
    if parent is None:
        return Context()
    return set_span_in_context(NonRecordingSpan(_context(parent)), Context())


def _traces_url(endpoint: str) -> str:
    url = urlsplit(endpoint)
    if url.scheme not in ("http", "https") or not url.hostname or url.query or url.fragment:
        raise ConfigError(
            "tracing.endpoint: expected the URL of an OTLP/HTTP receiver, for example "
            f"http://collector:4318, found {url.scheme or 'no scheme'}://{url.hostname or ''}"
        )
    if "@" in url.netloc:
        raise ConfigError(
            "tracing.endpoint: expected a URL without credentials; put an Authorization header "
            "into tracing.headers_file"
        )
    path = url.path.rstrip("/")
    return url._replace(path=path.removesuffix(_TRACES_PATH) + _TRACES_PATH).geturl()


def _headers(file: str | None) -> dict[str, str]:
    """Lines of `Name: value`. Their content is told to nobody."""
    if file is None:
        return {}
    headers = {}
    for number, line in enumerate(_read(Path(file)).splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, value = line.partition(":")
        if not colon or not name.strip() or not value.strip():
            raise ConfigError(f"tracing.headers_file {file}: line {number}: expected `Name: value`")
        headers[name.strip()] = value.strip()
    return headers


def _existing(file: str | None) -> str | None:
    if file is not None and not Path(file).is_file():
        raise ConfigError(f"tracing.tls_ca {file}: expected a PEM file, found none")
    return file


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"tracing.headers_file {path}: can't be read ({error})") from error
