"""Real workers on one server, for tests."""

from __future__ import annotations

import http.client
import subprocess
import sys
import time
from collections import defaultdict

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from streamer.core.event import decode_event
from streamer.runtime.supervisor import Worker, child_environment
from streamer.sources.grammar import expand_sources
from streamer.transport.connection import connect
from streamer.transport.keys import Keys
from streamer.transport.registry import StreamRegistry

READY_SECONDS = 40


class Farm:
    """Workers of a test, on one server."""

    def __init__(self, url, folder, *, num_partitions=1):
        self.url, self.folder = url, folder
        self.client = connect(url)
        self.keys = Keys(num_partitions)
        self.registry = StreamRegistry(self.client, keys=self.keys)
        self.workers = []

    def want(self, *sources):
        for spec in expand_sources(list(sources)):
            self.registry.put(spec.stream_id, msgspec.json.encode(spec))

    def start(self, *roles, **settings):
        started = [self._worker(role, settings) for role in roles]
        for worker in started:
            worker.start()
        for worker in started:
            worker.wait_ready(deadline=time.monotonic() + READY_SECONDS)
        return started

    def _worker(self, role, settings):
        values = {
            "redis.url": self.url,
            "redis.partitions": self.keys.num_partitions,
            "gateway.port": 0,
            **{k.replace("__", "."): v for k, v in settings.items()},
        }
        arguments = []
        for key, value in values.items():
            arguments += ["--set", f"{key}={value}"]
        worker = Worker(
            name=role,
            module=f"workers.{role}",
            arguments=arguments,
            environment=child_environment(),
            log_path=self.folder / f"{role}-{len(self.workers)}.log",
        )
        self.workers.append(worker)
        return worker

    def events(self):
        """All of them, partition by partition."""
        logs = [self.client.xrange(key) for key in self._logs()]
        return [decode_event(fields[b"event"]) for rows in logs for _, fields in rows]

    def wait_for(self, condition, *, seconds=30):
        """Poll the log: what comes is decided by processes of their own."""
        cursors, deadline = dict.fromkeys(self._logs(), "$"), time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "it did not happen in time"
            for key, rows in self.client.xread(cursors, block=100):
                cursors[key.decode()] = rows[-1][0]

    def _logs(self):
        return [self.keys.events(partition) for partition in range(self.keys.num_partitions)]

    def close(self):
        for worker in self.workers:
            worker.terminate()
        for worker in self.workers:
            worker.finish(deadline=time.monotonic() + 6)
        self.client.close()


def get(worker, path):
    connection = http.client.HTTPConnection("127.0.0.1", worker.ready.metrics_port, timeout=5)
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body


def samples(worker):
    """Sum of each sample over its streams, by name and remaining labels."""
    found = defaultdict(float)
    for family in text_string_to_metric_families(get(worker, "/metrics")[1]):
        for sample in family.samples:
            labels = tuple(v for k, v in sorted(sample.labels.items()) if k not in ("stream", "le"))
            found[(sample.name, *labels)] += sample.value
    return found


def replay(farm, *arguments):
    """`streamer events replay --verify`, as far back as possible."""
    program = [sys.executable, "-m", "streamer.cli.main", "events", "replay"]
    return subprocess.run(
        [*program, "--redis", farm.url, "--from", "0", "--verify", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=child_environment(),
        check=False,
    )
