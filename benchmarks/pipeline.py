"""`make bench`: the pipeline on RTSP cameras, beside its bare parts and a hand-written loop.

    python -m benchmarks.pipeline --cameras 4,16 --seconds 20

All figures of a table come from one run on one machine: read ratios, not absolute times.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from benchmarks import bare, loop
from benchmarks.cameras import make_clip, rtsp_server
from streamer.cli.dashboard import read_metrics
from streamer.cli.local import LocalPipeline
from streamer.core.config import EncoderSettings, Settings
from streamer.models.bundle import Bundle
from streamer.sources.grammar import expand_sources

SETTLE_SECONDS = 3.0
TARGET_LOAD = 16 * 10 * 5.25e-3 / 2
"""Share of the cores that bare parts of 5.25 ms take for 16 cameras on 2 cores: 42 %."""
TICKS = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Counters of all workers at one moment."""

    at: float
    cpu_seconds: dict[str, float]
    rss_bytes: dict[str, int]
    counters: dict[tuple[str, str], float]
    buckets: dict[tuple[str, str], dict[float, float]]


@dataclass(frozen=True, slots=True)
class PipelineResult:
    """The pipeline between two snapshots.

    Attributes:
        cameras: How many.
        frames: Analysed, to the commit of their outcome.
        frames_per_second: Of all cameras.
        dropped: By reason.
        workers_cpu_ms: CPU milliseconds per analysed frame, all workers.
        cpu_ms: The same by process, the server included.
        age_ms: Receipt of the packet → commit: p50, p95, p99.
        stage_ms: Mean of each stage.
        memory_mb: All workers together, without the server.
    """

    cameras: int
    frames: int
    frames_per_second: float
    dropped: dict[str, int]
    workers_cpu_ms: float
    cpu_ms: dict[str, float]
    age_ms: dict[str, float]
    stage_ms: dict[str, float]
    memory_mb: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--cameras",
        default="4,equal,16",
        help="numbers of cameras, comma-separated; `equal`: as many as load this machine as 16 "
        "loaded the one the targets were set on",
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="measured time of each run")
    parser.add_argument("--max-batch", type=int, help="most frames in a batch of an encoder")
    parser.add_argument("--encoders", type=int, default=2, help="encoder workers")
    parser.add_argument("--bundle", default="workcell", help="name or folder")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    options = parser.parse_args()
    bundle = Bundle.load(options.bundle)
    with tempfile.TemporaryDirectory() as folder:
        clip = make_clip(Path(folder), seconds=options.seconds + 25)
        with rtsp_server(clip) as url:
            before = bare.measure_on_all_cores(url, bundle=options.bundle)
            parts = before
            counts = [_count(text, parts, bundle) for text in options.cameras.split(",")]
            loops = {
                n: loop.run(url, cameras=n, seconds=options.seconds, bundle=bundle) for n in counts
            }
            results = [
                measure(
                    url,
                    cameras=n,
                    seconds=options.seconds,
                    encoders=options.encoders,
                    settings=Settings(
                        bundle=options.bundle,
                        encoder=EncoderSettings(max_batch_size=options.max_batch),
                    ),
                )
                for n in counts
            ]
            # This machine is shared: its speed drifts during the run.
            after = bare.measure_on_all_cores(url, bundle=options.bundle)
            parts = bare.mean(before, after)
    report(parts, loops, results)
    if options.json:
        figures = {
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "bare_parts": asdict(parts),
            "loop": {n: {"cpu_ms": r.cpu_ms, "p95_ms": _p(r.ages, 95)} for n, r in loops.items()},
            "pipeline": [asdict(result) for result in results],
        }
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


def _count(text: str, parts: bare.BareParts, bundle: Bundle) -> int:
    if text != "equal":
        return int(text)
    per_camera = bundle.config.analysis_fps * parts.total_ms / 1e3 / (os.cpu_count() or 1)
    return max(1, round(TARGET_LOAD / per_camera))


def measure(
    url: str, *, cameras: int, seconds: float, encoders: int, settings: Settings
) -> PipelineResult:
    """Run the pipeline on so many connections to one camera."""
    specs = expand_sources([f"cam{n}={url}" for n in range(cameras)])
    pipeline = LocalPipeline(
        settings,
        specs,
        secrets_by_name={},
        redis_url=None,
        num_encoders=encoders,
        gateway=False,
    )
    with pipeline:
        time.sleep(SETTLE_SECONDS)
        before = snapshot(pipeline)
        time.sleep(seconds)
        after = snapshot(pipeline)
    return compare(before, after, cameras=cameras)


def snapshot(pipeline: LocalPipeline) -> Snapshot:
    """Read CPU, memory and metrics of every process."""
    pids = {worker.name: worker.pid for worker in pipeline.workers}
    if pipeline.server_pid is not None:
        pids["server"] = pipeline.server_pid
    counters: defaultdict[tuple[str, str], float] = defaultdict(float)
    buckets: defaultdict[tuple[str, str], dict[float, float]] = defaultdict(dict)
    for worker in pipeline.workers:
        assert worker.ready is not None
        for family in text_string_to_metric_families(read_metrics(worker.ready.metrics_port)):
            for sample in family.samples:
                key = sample.labels.get("step") or sample.labels.get("reason") or ""
                key = sample.labels.get("stage", key)
                if "le" in sample.labels:
                    edge = float(sample.labels["le"])
                    of_name = buckets[(sample.name, key)]
                    of_name[edge] = of_name.get(edge, 0.0) + sample.value
                else:
                    counters[(sample.name, key)] += sample.value
    return Snapshot(
        time.monotonic(),
        {name: _cpu_seconds(pid) for name, pid in pids.items()},
        {name: _rss_bytes(pid) for name, pid in pids.items()},
        dict(counters),
        dict(buckets),
    )


def compare(before: Snapshot, after: Snapshot, *, cameras: int) -> PipelineResult:
    """What happened between two snapshots."""

    def grown(name: str, key: str = "") -> float:
        return after.counters.get((name, key), 0.0) - before.counters.get((name, key), 0.0)

    frames = int(grown("streamer_frame_age_seconds_count"))
    seconds = after.at - before.at
    cpu = {
        name: (after.cpu_seconds[name] - before.cpu_seconds[name]) * 1e3 / max(1, frames)
        for name in after.cpu_seconds
    }
    stages = sorted(key for name, key in after.counters if name == "streamer_stage_seconds_count")
    return PipelineResult(
        cameras=cameras,
        frames=frames,
        frames_per_second=frames / seconds,
        dropped={
            key: int(grown(name, key))
            for name, key in after.counters
            if name == "streamer_frames_dropped_total"
        },
        workers_cpu_ms=sum(ms for name, ms in cpu.items() if name != "server"),
        cpu_ms=cpu,
        age_ms={
            f"p{q}": _quantile(before, after, "streamer_frame_age_seconds_bucket", q / 100)
            for q in (50, 95, 99)
        },
        stage_ms={
            stage: grown("streamer_stage_seconds_sum", stage)
            * 1e3
            / max(1.0, grown("streamer_stage_seconds_count", stage))
            for stage in stages
        },
        memory_mb=sum(rss for name, rss in after.rss_bytes.items() if name != "server") / 1e6,
    )


def report(
    parts: bare.BareParts, loops: dict[int, loop.LoopResult], results: list[PipelineResult]
) -> None:
    """Print the tables."""
    print(f"\nBare parts, CPU ms per analysed frame ({platform.machine()}, {os.cpu_count()} cores)")
    for name, value in asdict(parts).items():
        print(f"  {name.removesuffix('_ms'):<22} {value:6.2f}")
    print(f"  {'total':<22} {parts.total_ms:6.2f}")
    for result in results:
        by_hand = loops[result.cameras]
        print(f"\n{result.cameras} cameras, 640x360, 25 fps, 10 analysed")
        rows = [
            ("frames/s", f"{result.frames_per_second:.1f}", f"{by_hand.frames_per_second:.1f}"),
            ("dropped", str(sum(result.dropped.values())), str(by_hand.dropped)),
            ("CPU ms per frame", f"{result.workers_cpu_ms:.2f}", f"{by_hand.cpu_ms:.2f}"),
            (
                "  over the bare parts",
                f"{result.workers_cpu_ms / parts.total_ms:.2f} x",
                f"{by_hand.cpu_ms / parts.total_ms:.2f} x",
            ),
            ("age p50 / p95 / p99 ms", " / ".join(f"{v:.0f}" for v in result.age_ms.values()),
             " / ".join(f"{_p(by_hand.ages, q):.0f}" for q in (50, 95, 99))),
            ("memory MB", f"{result.memory_mb:.0f}", ""),
        ]  # fmt: skip
        print(f"  {'':<24} {'pipeline':>16} {'hand-written loop':>20}")
        for name, ours, theirs in rows:
            print(f"  {name:<24} {ours:>16} {theirs:>20}")
        print("  CPU by process: " + ", ".join(f"{n} {v:.2f}" for n, v in result.cpu_ms.items()))
        print("  stages, mean ms: " + ", ".join(f"{n} {v:.2f}" for n, v in result.stage_ms.items()))


def _quantile(before: Snapshot, after: Snapshot, name: str, q: float) -> float:
    """Milliseconds at a quantile, linear within its bucket as Prometheus does it."""
    edges = sorted(after.buckets.get((name, ""), {}))
    counts = [
        after.buckets[(name, "")][edge] - before.buckets.get((name, ""), {}).get(edge, 0.0)
        for edge in edges
    ]
    if not counts or not counts[-1]:
        return float("nan")
    rank, low, below = q * counts[-1], 0.0, 0.0
    for edge, count in zip(edges, counts, strict=True):
        if count >= rank:
            high = low if edge == float("inf") else edge
            return (low + (high - low) * (rank - below) / max(1e-9, count - below)) * 1e3
        low, below = edge, count
    return low * 1e3


def _p(values: list[float], q: int) -> float:
    if len(values) < 2:
        return float("nan")
    return statistics.quantiles(values, n=100, method="inclusive")[q - 1] * 1e3


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _rss_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES


if __name__ == "__main__":
    main()
