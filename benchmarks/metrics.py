"""What metrics cost: a scrape of each role with 500 streams, and the CPU of observing a frame.

Each role's observer is told what 500 cameras would have it told, and is scraped over HTTP by
another process, with the headers of Prometheus: it gets OpenMetrics, compressed. Beside it, in the
same run: the client library's text of one gauge with as many series; and the same scrapes while
the worker encodes.

Then what observing a frame takes in each role, measuring the backlog and answering a scrape every
5 s, beside the bare work of a frame: encoding it and stepping the model. And that work in turns
with and without all of it.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import multiprocessing
import statistics
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from prometheus_client import CollectorRegistry, Gauge, disable_created_metrics, generate_latest

from benchmarks.commit import make_chunk
from streamer.core.clock import Mark
from streamer.core.event import EventType
from streamer.core.feature import StreamStatus
from streamer.models.bundle import Bundle
from streamer.models.encoders.registry import open_encoder
from streamer.models.temporal.registry import open_temporal_model
from streamer.runtime.clock import SystemClock
from streamer.runtime.health import Health, HealthServer
from streamer.stages.temporal import TemporalStage
from streamer.telemetry.families import Role
from streamer.telemetry.prometheus import PrometheusObserver
from streamer.telemetry.records.encoder import (
    BatchEncoded,
    EncoderServed,
    FeaturesPublished,
    FramesWaiting,
)
from streamer.telemetry.records.every import StreamTakenUp
from streamer.telemetry.records.frames import DropReason, FramesDropped
from streamer.telemetry.records.ingest import FramesSent, StatusChanged, StreamDescribed
from streamer.telemetry.records.temporal import BatchAdvanced, EventCommitted, InputLag
from streamer.transport.backlog import FrameBacklog, InputBacklog
from streamer.transport.codec import encode_input
from streamer.transport.connection import connect
from streamer.transport.embedded import EmbeddedValkey
from streamer.transport.keys import Keys
from streamer.transport.transport import LogEntry
from tests.eventlog import make_event
from tests.samples import note
from workers.gateway.metrics import GatewayMetrics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection

    from streamer.telemetry.observer import Record

SCRAPE_SECONDS = 5.0
ANALYSIS_FPS = 10.0
EVENTS_PER_FRAME = 0.05
"""One event in two seconds of each camera."""
ASKS = {
    "Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5",
    "Accept-Encoding": "gzip",
}


@dataclass(frozen=True, slots=True)
class Scrapes:
    """Of one registry.

    Attributes:
        series: How many there are.
        idle_ms: Each scrape while the process does nothing else.
        busy_ms: Each scrape while its main thread encodes.
        cpu_ms: CPU of the process per scrape.
        bare_ms: The library's text of one gauge with as many series.
    """

    series: int
    idle_ms: list[float]
    busy_ms: list[float]
    cpu_ms: float
    bare_ms: list[float]


def populated(role: Role, streams: Sequence[str]) -> CollectorRegistry:
    """A worker's registry after a while with these streams, each of which has lost frames once."""
    observer = PrometheusObserver(role)
    said: list[Record] = [StreamTakenUp(stream, "grasp") for stream in streams]
    match role:
        case Role.INGEST:
            for stream in streams:
                said += [
                    StatusChanged(note(stream, StreamStatus.CONNECTING)),
                    StatusChanged(note(stream, StreamStatus.LIVE)),
                    StreamDescribed(
                        stream_id=stream, kind="rtsp", width=1280, height=720, clock="host"
                    ),
                ]
            said.append(FramesSent(dict.fromkeys(streams, 1234), [0.004] * len(streams)))
        case Role.ENCODER:
            said.append(EncoderServed("efficientnet_lite0", "onnx", "cpu"))
            said += [FeaturesPublished(stream, 1234) for stream in streams]
            said += [BatchEncoded([0.01] * 4, 0.03, 0.001), FramesWaiting(3, 0.1)]
        case Role.TEMPORAL:
            said.append(BatchAdvanced(streams, 5, 500, [0.01], [0.1], 0.01, 0.01))
            for stream in streams:
                event = make_event(0, stream=stream, type=EventType.PHASE_TRANSITION)
                said.append(EventCommitted(event))
            said.append(InputLag(0, 0, 0))
        case Role.GATEWAY:
            metrics = GatewayMetrics(observer.registry)
            for status in ("200", "401", "404"):
                for number in range(25):
                    metrics.requests.labels("GET", f"/v1/route/{number}", status).inc()
    if role in (Role.INGEST, Role.ENCODER):
        for reason in (DropReason.OVERWRITTEN, DropReason.LATE):
            said += [FramesDropped(stream, reason, 3) for stream in streams]
    for record in said:
        observer.observe(record)
    return observer.registry


def scrape(port: int, count: int, results: Connection) -> None:
    """In a process of its own: so many scrapes, and how long each took, in milliseconds."""
    took = []
    for _ in range(count):
        begun = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/metrics", headers=ASKS)
        connection.getresponse().read()
        connection.close()
        took.append((time.perf_counter() - begun) * 1e3)
    results.send(took)


def scraped(port: int, count: int, *, meanwhile: Callable[[], object] | None) -> list[float]:
    """What `scrape` found, while this process waits or works."""
    ours, theirs = multiprocessing.Pipe()
    client = multiprocessing.get_context("spawn").Process(target=scrape, args=(port, count, theirs))
    client.start()
    while not ours.poll(0.0 if meanwhile else 0.5):
        if meanwhile:
            meanwhile()
    took: list[float] = ours.recv()
    client.join()
    return took


def measure_scrapes(
    registry: CollectorRegistry, *, count: int, work: Callable[[], object]
) -> Scrapes:
    """Through the worker's own metrics server."""
    text = generate_latest(registry).decode()
    series = sum(1 for line in text.splitlines() if line and not line.startswith("#"))
    bare = CollectorRegistry()
    gauge = Gauge("bare_gauge", "As many series.", ("stream",), registry=bare)
    for number in range(series):
        gauge.labels(f"camera-{number}").set(number)
    bare_ms = []
    for _ in range(count):
        begun = time.perf_counter()
        generate_latest(bare)
        bare_ms.append((time.perf_counter() - begun) * 1e3)
    with HealthServer(Health(), registry, host="127.0.0.1", port=0) as server:
        scraped(server.port, 3, meanwhile=None)
        begun = time.process_time()
        idle = scraped(server.port, count, meanwhile=None)
        cpu_ms = (time.process_time() - begun) * 1e3 / count
        busy = scraped(server.port, count, meanwhile=work)
    return Scrapes(series, idle, busy, cpu_ms, bare_ms)


class Frame:
    """The work that a frame is, over some streams in one batch, and what is observed of it."""

    def __init__(self, bundle: Bundle, *, batch: int) -> None:
        self._streams = [f"camera-{number}" for number in range(batch)]
        self._encoder = open_encoder(bundle.config.encoder, preprocess=bundle.preprocess)
        self._images = np.random.default_rng(0).integers(
            0, 255, (batch, *bundle.preprocess.shape), np.uint8
        )
        self._model = open_temporal_model(bundle)
        self._stage = TemporalStage(bundle, self._model)
        self._bundle = bundle
        self._checkpoints = {
            name: self._stage.initial(name, row=row % self._stage.num_rows)
            for row, name in enumerate(self._streams)
        }
        self._random = np.random.default_rng(1)
        self._seq = 0
        self._event = make_event(0, stream=self._streams[0], type=EventType.PHASE_TRANSITION)
        self.observers = {role: PrometheusObserver(role) for role in Role}

    def encode(self) -> None:
        """One batch, one picture after the other, as a CPU encoder takes them."""
        for image in self._images:
            self._encoder.encode(image[None])

    def step(self) -> None:
        """A frame of each stream: model and decoder."""
        work = []
        for name in self._streams:
            chunk = make_chunk(name, self._seq, self._random, self._bundle)
            work.append(
                (self._checkpoints[name], [LogEntry(chunk.entry_us, encode_input(chunk), chunk)])
            )
        for one in self._stage.advance(work, taken=Mark("benchmark", self._seq)):
            self._checkpoints[one.after.state.stream_id] = one.after
        self._seq += 1

    def observe(self, role: Role) -> None:
        """What the role's worker observes of the batch."""
        told, n = self.observers[role], len(self._streams)
        match role:
            case Role.INGEST:
                told.observe(FramesSent(dict.fromkeys(self._streams, 1), [0.004] * n))
            case Role.ENCODER:
                for name in self._streams:
                    told.observe(BatchEncoded([0.01], 0.009, 0.001))
                    told.observe(FeaturesPublished(name, 1))
            case Role.TEMPORAL:
                told.observe(
                    BatchAdvanced(self._streams, 1, n, [0.01] * n, [0.03] * n, 0.001, 0.001)
                )
                if self._seq % round(1 / (EVENTS_PER_FRAME * n)) == 0:
                    told.observe(EventCommitted(self._event))

    def close(self) -> None:
        """Free the models."""
        self._encoder.close()
        self._model.close()


def cpu_us(work: Callable[[], object], *, rounds: int, per: int = 1) -> float:
    """CPU of this thread for one of `per` things that `work` does, in microseconds."""
    work()
    begun = time.thread_time()
    for _ in range(rounds):
        work()
    return (time.thread_time() - begun) / rounds / per * 1e6


def measure_backlog_ms(streams: Sequence[str]) -> tuple[float, float]:
    """CPU of one look at the frame path and at the input log of so many streams, all waiting."""
    keys, clock = Keys(), SystemClock()
    bundle = Bundle.load("workcell")
    random = np.random.default_rng(0)
    with EmbeddedValkey() as server, contextlib.closing(connect(server.url)) as client:
        pipeline = client.pipeline(transaction=False)
        for stream in streams:
            payload = encode_input(make_chunk(stream, 0, random, bundle))
            pipeline.xadd(keys.features(stream), {"e": payload}, id="5-0")
            pipeline.xadd(keys.frames(stream), {"e": payload[:300]}, id="5-0")
            pipeline.hset(keys.source(stream), "last_us", 5)
        pipeline.execute()
        frames, inputs = FrameBacklog(keys=keys, clock=clock), InputBacklog(keys=keys, clock=clock)
        return (
            cpu_us(lambda: frames.measure(client, streams), rounds=20) / 1e3,
            cpu_us(lambda: inputs.measure(client, streams), rounds=20) / 1e3,
        )


def in_turns(frame: Frame, *, rounds: int, batch: int) -> tuple[list[float], list[float]]:
    """CPU of the process per frame in ms, without metrics and with all of them and scrapes."""
    bare, observed = [], []
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(HealthServer(Health(), one.registry, host="127.0.0.1", port=0))
            for one in frame.observers.values()
        ]

        def turn(*, with_metrics: bool) -> float:
            begun, used, num = time.monotonic(), time.process_time(), 0
            scraped_at = begun
            scrapes: list[threading.Thread] = []
            while time.monotonic() - begun < 2 * SCRAPE_SECONDS:
                frame.encode()
                frame.step()
                num += batch
                if with_metrics:
                    for role in Role:
                        frame.observe(role)
                    if time.monotonic() - scraped_at >= SCRAPE_SECONDS:
                        scraped_at = time.monotonic()
                        for server in servers:
                            scrapes.append(threading.Thread(target=_get, args=(server.port,)))
                            scrapes[-1].start()
            for one in scrapes:
                one.join()
            return (time.process_time() - used) / num * 1e3

        for _ in range(rounds):
            bare.append(turn(with_metrics=False))
            observed.append(turn(with_metrics=True))
    return bare, observed


def _get(port: int) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/metrics", headers=ASKS)
    connection.getresponse().read()
    connection.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.metrics")
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--scrapes", type=int, default=40)
    parser.add_argument("--turns", type=int, default=3, help="of 10 s each, twice")
    options = parser.parse_args()
    disable_created_metrics()  # as a worker's main does
    streams = [f"camera-{number:03d}" for number in range(options.streams)]
    batch = 4
    bundle = Bundle.load("workcell")
    frame = Frame(bundle, batch=batch)
    print(f"{options.streams} streams\n")
    print(
        "| role | series | p50 ms | p99 ms | p50 / p99 ms while encoding | bare text, ms | CPU ms |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|")
    scrape_cpu_ms = {}
    for role in Role:
        registry = populated(role, streams)
        found = measure_scrapes(registry, count=options.scrapes, work=frame.encode)
        scrape_cpu_ms[role] = found.cpu_ms
        print(
            f"| {role} | {found.series} | {statistics.median(found.idle_ms):.1f} "
            f"| {np.percentile(found.idle_ms, 99):.1f} | {statistics.median(found.busy_ms):.1f} / "
            f"{np.percentile(found.busy_ms, 99):.1f} | {statistics.median(found.bare_ms):.1f} "
            f"| {found.cpu_ms:.1f} |",
            flush=True,
        )
    encode_us = cpu_us(frame.encode, rounds=50, per=batch)
    step_us = cpu_us(frame.step, rounds=500, per=batch)
    work_us = encode_us + step_us
    print(f"\nbare work of a frame: encode {encode_us:.0f} µs, step {step_us:.0f} µs of CPU\n")
    path_ms, input_ms = measure_backlog_ms(streams)
    print(
        "| role | observing, µs per frame | share of the work "
        "| scrape and backlog, share of a core |"
    )
    print("|---|---:|---:|---:|")
    backlog_ms = {Role.ENCODER: path_ms, Role.TEMPORAL: input_ms}
    total_us = 0.0
    for role in (Role.INGEST, Role.ENCODER, Role.TEMPORAL):
        us = cpu_us(lambda role=role: frame.observe(role), rounds=5000, per=batch)
        total_us += us
        timer_ms = scrape_cpu_ms[role] + backlog_ms.get(role, 0.0)
        print(f"| {role} | {us:.1f} | {us / work_us:.2%} | {timer_ms / SCRAPE_SECONDS / 1e3:.2%} |")
    print(f"| all | {total_us:.1f} | {total_us / work_us:.2%} | |")
    print(
        f"\none look at the backlog, all waiting: frames {path_ms:.1f} ms, input {input_ms:.1f} ms"
    )
    bare, observed = in_turns(frame, rounds=options.turns, batch=batch)
    ratio = statistics.median(observed) / statistics.median(bare)
    print(
        f"\nin turns, CPU ms per frame: bare {statistics.median(bare):.3f} "
        f"(from {min(bare):.3f} to {max(bare):.3f}), "
        f"with metrics {statistics.median(observed):.3f} "
        f"(from {min(observed):.3f} to {max(observed):.3f}), ratio {ratio:.3f}"
    )
    frame.close()


if __name__ == "__main__":
    main()
