"""What pictures cost: the pipeline without them, with snapshots, and with every camera watched.

    python -m benchmarks.pictures --cameras 4 --seconds 15 --rounds 3

The ways take turns, so that a machine whose speed drifts drifts for all of them. Read the ratios.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.cameras import make_clip, rtsp_server
from benchmarks.pipeline import SETTLE_SECONDS, compare, snapshot
from streamer.cli.local import LocalPipeline
from streamer.core.config import IngestSettings, Settings
from streamer.sources.grammar import expand_sources
from streamer.transport.connection import connect
from streamer.transport.keys import Keys
from streamer.transport.pictures import WATCHED_SECONDS, PictureStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.pipeline import PipelineResult

WAYS = {"none": (0, 0.0), "snapshots": (100, 0.0), "watched at 2 a second": (100, 2.0)}
"""By name: snapshots kept, and previews per second of each camera."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cameras", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=15.0, help="measured time of each run")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    results: dict[str, list[PipelineResult]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        clip = make_clip(Path(folder), seconds=options.seconds + 25)
        with rtsp_server(clip) as url:
            for _ in range(options.rounds):
                for way in WAYS:
                    results[way].append(measure(url, way, options.cameras, options.seconds))
    without = statistics.median(r.workers_cpu_ms for r in results["none"])
    print(f"{options.cameras} cameras; medians of {options.rounds} runs, CPU ms per analysed frame")
    print(f"{'':<24}{'ingest':>8}{'workers':>9}{'ratio':>7}{'age p50/p95 ms':>17}{'dropped':>9}")
    for way, runs in results.items():
        ingest = statistics.median(r.cpu_ms["ingest"] for r in runs)
        workers = statistics.median(r.workers_cpu_ms for r in runs)
        ages = [statistics.median(r.age_ms[q] for r in runs) for q in ("p50", "p95")]
        dropped = sum(sum(r.dropped.values()) for r in runs)
        print(
            f"{way:<24}{ingest:>8.2f}{workers:>9.2f}{workers / without:>7.2f}"
            f"{ages[0]:>11.0f} /{ages[1]:>4.0f}{dropped:>9}"
        )


def measure(url: str, way: str, num_cameras: int, seconds: float) -> PipelineResult:
    """Run the pipeline one way."""
    snapshots, fps = WAYS[way]
    ids = [f"cam{n}" for n in range(num_cameras)]
    pipeline = LocalPipeline(
        Settings(ingest=IngestSettings(snapshots=snapshots)),
        expand_sources([f"{stream_id}={url}" for stream_id in ids]),
        secrets_by_name={},
        redis_url=None,
        num_encoders=2,
        gateway=False,
    )
    with pipeline, _watching(pipeline.redis_url, ids, fps=fps):
        time.sleep(SETTLE_SECONDS)
        before = snapshot(pipeline)
        time.sleep(seconds)
        after = snapshot(pipeline)
    return compare(before, after, cameras=num_cameras)


@contextlib.contextmanager
def _watching(redis_url: str, ids: Sequence[str], *, fps: float) -> Iterator[None]:
    """While entered, somebody wants to see so many pictures a second."""
    over = threading.Event()

    def watch() -> None:
        with contextlib.closing(connect(redis_url)) as client:
            store = PictureStore(client, keys=Keys())
            while fps and not over.is_set():
                store.watch(dict.fromkeys(ids, fps))
                over.wait(WATCHED_SECONDS / 3)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


if __name__ == "__main__":
    main()
