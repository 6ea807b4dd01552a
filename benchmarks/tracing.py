"""What tracing costs: pipelines with it off, at 1 in 100 and at every frame, side by side.

    python -m benchmarks.tracing --cameras 2 --seconds 40

All run at once, each on as many cameras of its own, so that what else this machine does slows them
alike. The receiver is a process of its own: it reads requests, and keeps nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import tempfile
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.cameras import make_clip
from benchmarks.pipeline import PipelineResult, compare, snapshot
from streamer.cli.local import LocalPipeline
from streamer.core.config import Settings, TracingSettings
from streamer.core.trace import TraceContext
from streamer.sources.grammar import expand_sources
from streamer.telemetry.otel import OtelSink
from streamer.telemetry.tracing import HeadSampler, Span
from tests.samples import stamp

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

CLIP_SECONDS = 30
SETTLE_SECONDS = 5.0
FRAME = TraceContext("1" * 32, "2" * 16)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cameras", type=int, default=2, help="of each pipeline")
    parser.add_argument("--seconds", type=float, default=40.0, help="measured time of a round")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with _receiver() as url, tempfile.TemporaryDirectory() as folder:
        _parts(url)
        clip = make_clip(Path(folder), seconds=CLIP_SECONDS)
        for round in range(1, options.rounds + 1):
            print(f"\nround {round}: {options.cameras} cameras each, CPU ms per analysed frame")
            _pipelines(url, clip, cameras=options.cameras, seconds=options.seconds)


def _parts(url: str) -> None:
    """The two things that the hot path does, in µs."""
    stamps = [stamp("camera", seq) for seq in range(20_000)]
    sampler = HeadSampler(10**9)
    began = time.process_time()
    for one in stamps:
        sampler.sample(one)
    look = (time.process_time() - began) / len(stamps)
    sink = OtelSink(TracingSettings(endpoint=url), role="encoder")
    about: dict[str, str | int | float] = {
        "streamer.stream": "camera",
        "streamer.epoch": 1,
        "streamer.seq": 5,
    }
    now_ns = time.time_ns()
    own = Span(name="encode", start_ns=now_ns, end_ns=now_ns + 1, parent=FRAME, attributes=about)
    began = time.process_time()
    for _ in range(20):
        for _ in range(200):
            sink.emit(own)
        time.sleep(0.05)
    sink.close(deadline_seconds=20)
    emit = (time.process_time() - began) / 4_000
    print(f"choosing a frame or not: {look * 1e6:.1f} µs; a span, until it is sent: "
          f"{emit * 1e6:.0f} µs; a traced frame has 9 of them")  # fmt: skip


def _pipelines(url: str, clip: Path, *, cameras: int, seconds: float) -> None:
    arms = {
        "off": TracingSettings(),
        "1 in 100": TracingSettings(endpoint=url, sample_every=100),
        "every frame": TracingSettings(endpoint=url, sample_every=1),
    }
    specs = expand_sources([f"cam{n}={clip}#loop,realtime" for n in range(cameras)])
    with contextlib.ExitStack() as stack:
        running = {}
        for name, tracing in arms.items():
            pipeline = LocalPipeline(
                Settings(tracing=tracing),
                specs,
                secrets_by_name={},
                redis_url=None,
                num_encoders=1,
                gateway=False,
            )
            running[name] = stack.enter_context(pipeline)
        time.sleep(SETTLE_SECONDS)
        before = {name: snapshot(pipeline) for name, pipeline in running.items()}
        time.sleep(seconds)
        after = {name: snapshot(pipeline) for name, pipeline in running.items()}
    results = {name: compare(before[name], after[name], cameras=cameras) for name in arms}
    for name, result in results.items():
        _say(name, result, off=results["off"])


def _say(name: str, result: PipelineResult, *, off: PipelineResult) -> None:
    ratio = result.workers_cpu_ms / off.workers_cpu_ms
    by_process = ", ".join(f"{n} {ms:.2f}" for n, ms in result.cpu_ms.items())
    print(
        f"  {name:<12} {result.workers_cpu_ms:6.2f}  {ratio:5.3f} x"
        f"  p95 {result.age_ms['p95']:4.0f} ms  {result.memory_mb:.0f} MB"
        f"  {result.frames} frames  ({by_process})"
    )


@contextlib.contextmanager
def _receiver() -> Iterator[str]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_receive, args=(theirs,))
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        process.terminate()
        process.join()


def _receive(port: Connection) -> None:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    port.send(server.server_port)
    server.serve_forever()


if __name__ == "__main__":
    main()
