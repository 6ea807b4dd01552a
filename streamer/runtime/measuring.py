"""What costs round trips to know: measured every few seconds, in a thread of its own."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

import structlog

from streamer.core.errors import StreamerError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import redis

    from streamer.telemetry.observer import Observer, Record

MEASURE_SECONDS = 5.0
"""How often. Prometheus asks no more often than that, by its own default every minute."""

CLOSE_SECONDS = 1.0


class Measuring:
    """Measures now and then, with a connection of its own.

    The work loop never waits for it, and what it measures shows when that loop is stuck too. While
    Redis does not answer the values are unknown, and told so.

    Args:
        connect: Makes the connection.
        measure: Gives the records to tell. May raise `StreamerError`.
        unknown: Told when it did.
        observer: Is told.
        every_seconds: How often.
    """

    def __init__(
        self,
        connect: Callable[[], redis.Redis],
        measure: Callable[[redis.Redis], Sequence[Record]],
        *,
        unknown: Record,
        observer: Observer,
        every_seconds: float = MEASURE_SECONDS,
    ) -> None:
        self._connect = connect
        self._measure = measure
        self._unknown = unknown
        self._observer = observer
        self._every_seconds = every_seconds
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="measuring", daemon=True)

    @property
    def remark(self) -> str:
        """A line for the probes, if the thread is gone."""
        ended = self._thread.ident is not None and not self._thread.is_alive()
        gone = ended and not self._stopped.is_set()
        return "measuring: the thread has ended; see the log" if gone else ""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End. Returns soon. Idempotent."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        told = False
        while not self._stopped.is_set():
            try:
                with contextlib.closing(self._connect()) as client:
                    while not self._stopped.is_set():
                        for record in self._measure(client):
                            self._observer.observe(record)
                        told = False
                        self._stopped.wait(self._every_seconds)
            except StreamerError as error:
                if not told:
                    structlog.get_logger().warning("backlog unknown", error=str(error))
                told = True
                self._observer.observe(self._unknown)
                self._stopped.wait(self._every_seconds)
