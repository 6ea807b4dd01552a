"""`make soak`: memory of all workers over minutes, on cameras that come back again and again.

    python -m benchmarks.soak --cameras 4 --minutes 10

Each camera is a file played like one and looped, so that every loop is a new opening.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.cameras import make_clip
from benchmarks.pipeline import snapshot
from streamer.cli.local import LocalPipeline
from streamer.core.config import Settings
from streamer.sources.grammar import expand_sources

CLIP_SECONDS = 60
FLAT_RATIO = 1.05
"""The last third's median over the first third's: above this, memory grows."""


def main() -> None:
    """Watch, print a line every interval, and say whether memory is flat."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cameras", type=int, default=4)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--bundle", default="workcell", help="name or folder")
    parser.add_argument("--every", type=float, default=20.0, help="seconds between lines")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clip = make_clip(Path(folder), seconds=CLIP_SECONDS)
        specs = expand_sources([f"cam{n}={clip}#loop,realtime" for n in range(options.cameras)])
        pipeline = LocalPipeline(
            Settings(bundle=options.bundle),
            specs,
            secrets_by_name={},
            redis_url=None,
            num_encoders=2,
            gateway=True,
        )
        totals: list[float] = []
        with pipeline:
            end = time.monotonic() + options.minutes * 60
            while time.monotonic() < end:
                time.sleep(options.every)
                seen = snapshot(pipeline)
                by_name = {name: rss / 1e6 for name, rss in seen.rss_bytes.items()}
                totals.append(sum(mb for name, mb in by_name.items() if name != "server"))
                frames = seen.counters.get(("streamer_frame_age_seconds_count", ""), 0)
                parts = ", ".join(f"{name} {mb:.0f}" for name, mb in by_name.items())
                print(f"{len(totals) * options.every:6.0f} s  {totals[-1]:6.0f} MB  "
                      f"{frames:8.0f} frames  ({parts})", flush=True)  # fmt: skip
    third = max(1, len(totals) // 3)
    growth = statistics.median(totals[-third:]) / statistics.median(totals[:third])
    verdict = "flat" if growth <= FLAT_RATIO else "GROWING"
    print(
        f"memory of all workers: {totals[-1]:.0f} MB, "
        f"last third / first third {growth:.3f}: {verdict}"
    )
    raise SystemExit(growth > FLAT_RATIO)


if __name__ == "__main__":
    main()
