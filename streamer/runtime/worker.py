"""A worker's life: STARTING → READY ⇄ DISCONNECTED | DENIED → DRAINING → STOPPED | FAILED."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Protocol

import msgspec
import structlog

from streamer.core.errors import AccessDeniedError, ConfigError, StreamerError
from streamer.runtime.health import Health, HealthServer, Phase
from streamer.telemetry.families.every import WORKER_READY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from prometheus_client import CollectorRegistry

    from streamer.telemetry.tracing import SpanSink

TURN_SECONDS = 0.25
"""Longest time a turn may wait: how soon a stop is noticed."""

UNREADY_AFTER_FAILED_TURNS = 5
"""Turns in a row that may fail before the worker says it is not ready. It goes on trying."""


EXIT_TRY_AGAIN = 75
"""A failure that passes by itself (EX_TEMPFAIL of sysexits.h): a supervisor goes on trying."""


class Service(Protocol):
    """What a worker does."""

    @property
    def port(self) -> int | None:
        """Where it serves its clients, once started; None if it has none."""
        ...

    @property
    def remark(self) -> str:
        """A line for the probes about what is not as it should be; empty if all is."""
        ...

    def start(self) -> None:
        """Connect, load the model, warm up. May take seconds."""
        ...

    def turn(self, *, timeout_seconds: float) -> None:
        """One turn of the work loop; waits no longer than this for something to do.

        Raises:
            StreamerError: If retryable, or if Redis refuses, `recover` is called and the loop goes
                on.
        """
        ...

    def recover(self) -> None:
        """After a failed turn: drop what is in memory and connect again."""
        ...

    def drain(self, *, deadline_seconds: float) -> None:
        """Stop taking work in, finish what is in flight, within the deadline."""
        ...

    def close(self) -> None:
        """Free everything, in reverse order. Called once, after a failure too."""
        ...


class Ready(msgspec.Struct):
    """What a worker tells its supervisor over the lifeline when it is ready.

    Attributes:
        role: Which worker.
        pid: Its process.
        metrics_port: Where it serves its metrics.
        port: Where it serves its clients, if it does.
    """

    role: str
    pid: int
    metrics_port: int
    port: int | None = None


class Stop:
    """The wish to stop: from a signal, or from a supervisor that is gone."""

    def __init__(self) -> None:
        self.event = threading.Event()

    @contextlib.contextmanager
    def on_signals(self) -> Iterator[None]:
        """While entered, SIGTERM and SIGINT ask to stop; a second one exits at once."""

        def handle(number: int, _frame: FrameType | None) -> None:
            if self.event.is_set():
                os._exit(128 + number)
            self.event.set()

        before = {number: signal.signal(number, handle) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def on_lifeline(self, fd: int) -> None:
        """Ask to stop when the other end of `fd` closes: the supervisor is gone."""

        def watch() -> None:
            # A supervisor that was killed with our word unread shows as a reset, not as an end.
            with contextlib.suppress(OSError):
                while os.read(fd, 64):
                    pass
            self.event.set()

        threading.Thread(target=watch, name="lifeline", daemon=True).start()


_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def serve(
    service: Service,
    *,
    role: str,
    registry: CollectorRegistry,
    metrics_host: str,
    metrics_port: int,
    lifeline_fd: int | None,
    drain_seconds: float,
    spans: SpanSink | None = None,
) -> int:
    """Run a service until it is told to stop.

    Args:
        service: What to do.
        role: For messages.
        registry: Metrics to serve.
        metrics_host: Where to serve them.
        metrics_port: Port; 0 takes a free one.
        lifeline_fd: A socket to the supervisor: ready is told there, its end means stop.
        drain_seconds: Shared by all that happens between the stop signal and the exit.
        spans: Closed last, with what is left of that.

    Returns:
        The exit code: 0 after a stop, 1 after a failure, 2 if it was asked for what can't be,
        `EXIT_TRY_AGAIN` if Redis did not answer when it started.
    """
    log = structlog.get_logger()
    health, stop = Health(), Stop()
    WORKER_READY.gauge(registry).set_function(lambda: float(health.ready))
    until: float | None = None

    def close_spans() -> None:
        if spans is not None:
            left = drain_seconds if until is None else until - time.monotonic()
            spans.close(deadline_seconds=left)

    with contextlib.ExitStack() as stack:
        stack.enter_context(stop.on_signals())
        if lifeline_fd is not None:
            stop.on_lifeline(lifeline_fd)
        stack.callback(close_spans)
        try:
            server = stack.enter_context(
                HealthServer(health, registry, host=metrics_host, port=metrics_port)
            )
            stack.callback(service.close)
            service.start()
            health.phase = Phase.READY
            log.info("ready", metrics_port=server.port, port=service.port)
            if lifeline_fd is not None:
                ready = Ready(
                    role=role, pid=os.getpid(), metrics_port=server.port, port=service.port
                )
                os.write(lifeline_fd, msgspec.json.encode(ready) + b"\n")
            _turns(service, health, stop.event, log)
            health.phase = Phase.DRAINING
            until = time.monotonic() + drain_seconds
            service.drain(deadline_seconds=drain_seconds)
        except StreamerError as error:
            health.phase = Phase.FAILED
            log.error("failed", error=str(error))
            if error.retryable:
                return EXIT_TRY_AGAIN
            return 2 if isinstance(error, ConfigError) else 1
    health.phase = Phase.STOPPED
    log.info("stopped")
    return 0


def _turns(
    service: Service, health: Health, stop: threading.Event, log: structlog.stdlib.BoundLogger
) -> None:
    failed, told = 0, ""
    while not stop.is_set():
        health.beat()
        try:
            service.turn(timeout_seconds=TURN_SECONDS)
            failed = 0
            health.remark, told = service.remark, ""
            health.phase = Phase.READY
        except AccessDeniedError as error:
            # Somebody has to change the server's users, or a file: both are looked at again.
            failed += 1
            health.phase, health.remark = Phase.DENIED, str(error)
            if told != str(error):  # a line, and not one every second
                log.error("denied", error=str(error))
            told = str(error)
            _pause(service, stop, failed=failed)
        except StreamerError as error:
            failed += 1
            if not error.retryable:
                raise
            if failed > UNREADY_AFTER_FAILED_TURNS:
                health.phase = Phase.DISCONNECTED
            log.warning("turn failed", error=str(error), attempt=failed)
            _pause(service, stop, failed=failed)


def _pause(service: Service, stop: threading.Event, *, failed: int) -> None:
    stop.wait(min(2.0, 0.05 * 2 ** min(failed, 6)))
    with contextlib.suppress(StreamerError):
        service.recover()
