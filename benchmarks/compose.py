"""`make cold-start`: from `compose up` to the first event, with the images here already.

    python -m benchmarks.compose --runs 3 --without grafana

Containers, volumes, ports and secrets are of this measurement alone, and new in each run.
"""

from __future__ import annotations

import argparse
import statistics
import time

from tests.images.stack import ComposeStack

WITHIN_SECONDS = 60.0


def main() -> None:
    """Print a line per run, and the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--without", nargs="*", default=[], help="services to leave out")
    options = parser.parse_args()
    firsts = []
    for run in range(options.runs):
        with (
            ComposeStack(without=options.without) as stack,
            stack.events(seconds=WITHIN_SECONDS) as events,
        ):
            first = next(events)
            first_seconds = time.monotonic() - stack.began
            decided = next(e for e in events if e["type"].startswith("streamer.phase."))
            decided_seconds = time.monotonic() - stack.began
            image = stack.inspect(stack.container("ingest"))["Image"]
            size_mb = stack.inspect(image)["Size"] / 1e6
        firsts.append(first_seconds)
        print(
            f"run {run + 1}: `up` returned after {stack.up_seconds:.1f} s; first event "
            f"({first['type']}) after {first_seconds:.1f} s, first phase "
            f"({decided['data']['label']}) after {decided_seconds:.1f} s; "
            f"image {size_mb:.0f} MB",
            flush=True,
        )
    print(f"median to the first event: {statistics.median(firsts):.1f} s")


if __name__ == "__main__":
    main()
