"""Workers as real processes, restarted as a supervisor does; killed and stopped at will."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from streamer.runtime.supervisor import Worker, WorkerFailed, child_environment, stop_in_order
from streamer.sources.grammar import expand_sources
from streamer.transport.connection import connect_to_read
from streamer.transport.keys import Keys
from streamer.transport.registry import StreamRegistry

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from streamer.runtime.worker import Ready

READY_SECONDS = 60.0
STOP_SECONDS = 15.0
WATCH_SECONDS = 0.1
RESTART_SECONDS = 0.5
"""From a worker's end to its next start."""

ROLES = ("ingest", "encoder", "temporal")
"""Upstream first."""


class Post:
    """A worker's place: whoever holds it. One process at a time.

    Attributes:
        role: Which worker.
        index: Which of its role.
        ended: How often it ended, by exit code; -9 is a kill.
    """

    def __init__(self, role: str, index: int, worker: Worker) -> None:
        self.role = role
        self.index = index
        self.ended: Counter[int] = Counter()
        self.stopped = False
        self._worker = worker
        self._ended_at: float | None = None

    @property
    def worker(self) -> Worker:
        """Who holds it now."""
        return self._worker

    @property
    def ready(self) -> Ready | None:
        """What it said when it was ready; None before, and after its end."""
        return self._worker.ready if self._worker.exit_code is None else None

    @property
    def last_words(self) -> str:
        """The end of its log."""
        return self._worker.why()

    def watch(self, *, now: float) -> None:
        """Start it again if it has ended; hear whether it is ready."""
        code = self._worker.exit_code
        if code is None:
            with contextlib.suppress(WorkerFailed):  # seen as ended at the next look
                self._worker.poll_ready()
            return
        if self._ended_at is None:
            self._ended_at = now
            self.ended[code] += 1
            self.stopped = False
        if now - self._ended_at >= RESTART_SECONDS:
            self._worker.finish(deadline=now)
            self._worker.start()
            self._ended_at = None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if it lives."""
        if self._worker.exit_code is None:
            os.kill(self._worker.pid, number)
            self.stopped = number is signal.SIGSTOP or (
                self.stopped and number is not signal.SIGCONT
            )

    def rss_bytes(self) -> int:
        """Its resident memory; 0 while there is no process."""
        try:
            pages = int(Path(f"/proc/{self._worker.pid}/statm").read_text().split()[1])
        except (FileNotFoundError, ProcessLookupError):
            return 0
        return pages * os.sysconf("SC_PAGE_SIZE")

    def metrics(self) -> dict[tuple[str, ...], float]:
        """Samples summed over streams, by name and remaining labels; empty while not ready."""
        ready = self.ready
        if ready is None or self.stopped:
            return {}
        connection = http.client.HTTPConnection("127.0.0.1", ready.metrics_port, timeout=2)
        try:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        except OSError:
            return {}  # it has just ended
        finally:
            connection.close()
        found: defaultdict[tuple[str, ...], float] = defaultdict(float)
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = [v for k, v in sorted(sample.labels.items()) if k not in ("stream", "le")]
                found[(sample.name, *labels)] += sample.value
        return dict(found)


class Farm:
    """Workers against a server. To be entered: then they run and are kept running.

    Args:
        url: The server, or the proxy before it.
        folder: For logs.
        settings: Of all workers, as `--set` takes them.
        num_ingest: Ingest workers.
        num_encoders: Encoder workers; they share the streams by shards.
        num_temporal: Temporal workers.
        settings_of: Further settings by role.
        environment: Added to that of the workers. See `clock.py`.
    """

    def __init__(
        self,
        url: str,
        folder: Path,
        *,
        settings: Mapping[str, object],
        num_ingest: int = 1,
        num_encoders: int = 2,
        num_temporal: int = 1,
        settings_of: Mapping[str, Mapping[str, object]] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._settings = {"redis.url": url, "gateway.port": 0, **settings}
        self._settings_of = settings_of or {}
        self._environment = child_environment() | dict(environment or {})
        counts = dict(zip(ROLES, (num_ingest, num_encoders, num_temporal), strict=True))
        self._num_encoders = num_encoders
        self.posts = {
            (role, index): Post(role, index, self._worker(role, index))
            for role, count in counts.items()
            for index in range(count)
        }
        self._stopping = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="farm", daemon=True)

    def __enter__(self) -> Self:
        for post in self.posts.values():
            post.worker.start()
        self._watcher.start()
        try:
            self.wait_ready(seconds=READY_SECONDS)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def wait_ready(self, *, seconds: float) -> None:
        """Wait until every worker is.

        Raises:
            TimeoutError: One is not; its last words are told.
        """
        deadline = time.monotonic() + seconds
        while waiting := [post for post in self.posts.values() if post.ready is None]:
            if time.monotonic() > deadline:
                said = "; ".join(f"{p.role}-{p.index}: {p.last_words}" for p in waiting)
                raise TimeoutError(f"not ready within {seconds:g} s: {said}")
            self._stopping.wait(WATCH_SECONDS)

    def kill(self, role: str, index: int = 0) -> None:
        """SIGKILL. It is started again soon."""
        self.posts[role, index].signal(signal.SIGKILL)

    def pause(self, role: str, index: int = 0) -> None:
        """SIGSTOP."""
        self.posts[role, index].signal(signal.SIGSTOP)

    def resume(self, role: str, index: int = 0) -> None:
        """SIGCONT."""
        self.posts[role, index].signal(signal.SIGCONT)

    def resume_all(self) -> None:
        """SIGCONT to everyone."""
        for post in self.posts.values():
            post.signal(signal.SIGCONT)

    def stop(self) -> None:
        """Stop all, upstream first. Idempotent."""
        self._stopping.set()
        if self._watcher.is_alive():
            self._watcher.join()
        self.resume_all()
        groups = [[p.worker for p in self.posts.values() if p.role == role] for role in ROLES]
        stop_in_order(groups, seconds=STOP_SECONDS)

    def _watch(self) -> None:
        while not self._stopping.wait(WATCH_SECONDS):
            for post in self.posts.values():
                post.watch(now=time.monotonic())

    def _worker(self, role: str, index: int) -> Worker:
        values = {**self._settings, **self._settings_of.get(role, {})}
        if role == "encoder":
            values |= {"encoder.shard": index, "encoder.shards": self._num_encoders}
        arguments = []
        for key, value in values.items():
            arguments += ["--set", f"{key}={value}"]
        return Worker(
            name=f"{role}-{index}",
            module=f"workers.{role}",
            arguments=arguments,
            environment=self._environment,
            log_path=self._folder / f"{role}-{index}.log",
        )


def want(url: str, *sources: str, num_partitions: int = 1) -> list[str]:
    """Ask for sources to be watched, straight at the server. Returns their stream ids.

    No functions are loaded: the workers' are to be the ones, those of mutants too.
    """
    with contextlib.closing(connect_to_read(url, of="url")) as client:
        registry = StreamRegistry(client, keys=Keys(num_partitions))
        specs = expand_sources(list(sources))
        for spec in specs:
            registry.put(spec.stream_id, msgspec.json.encode(spec))
    return [spec.stream_id for spec in specs]


def missing(url: str, *sources: str, num_partitions: int = 1) -> list[str]:
    """Those of the sources that nobody wants, as the server says."""
    with contextlib.closing(connect_to_read(url, of="url")) as client:
        known = StreamRegistry(client, keys=Keys(num_partitions)).entries()
    return [source for source in sources if source.partition("=")[0] not in known]


def unwant(url: str, *stream_ids: str, num_partitions: int = 1) -> None:
    """No longer ask for them: their cameras stop."""
    with contextlib.closing(connect_to_read(url, of="url")) as client:
        registry = StreamRegistry(client, keys=Keys(num_partitions))
        for stream_id in stream_ids:
            registry.remove(stream_id)
