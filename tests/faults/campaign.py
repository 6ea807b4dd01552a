"""Every family of faults, on every seed: `make faults`. A line per run, and a table of counts.

The seeds that a count in the documentation rests on are `SEEDS`.
"""

# ruff: noqa: T201  # it prints its table
from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.faults.disturbances import Disturbance as D
from tests.faults.model import write_model
from tests.faults.run import run
from tests.faults.scenario import SHORT_LOG, Scenario

SEEDS = (1, 2, 3)
MAX_TOLD = 10


@dataclass(frozen=True, slots=True)
class Family:
    """Faults that go together, and where."""

    kinds: tuple[D, ...]
    server: str = "valkey"
    fsync: str = "everysec"
    cluster: bool = False
    bounded: bool = False
    """Whether the input log is as short as it can be; else it keeps everything."""


FAMILIES = (
    Family((D.KILL, D.STOP)),
    Family((D.KILL, D.STOP, D.WIRE), server="redis"),
    Family((D.KILL, D.STOP), bounded=True),
    Family((D.REDIS, D.WIRE), fsync="always"),
    Family((D.REDIS, D.TORN, D.LOST), server="redis"),
    Family((D.LOST, D.POISON)),
    Family((D.PROMOTE, D.DEADLY)),
    Family((D.MEMORY, D.DISK), server="redis"),
    Family((D.CLOCK, D.SERVER_CLOCK, D.KILL)),
    Family((D.KILL, D.STOP, D.WIRE, D.REDIS, D.MIGRATE), fsync="always", cluster=True),
    Family((D.LOST, D.WIRE, D.MIGRATE), server="redis", fsync="always", cluster=True),
)


def main() -> int:
    """Run them one after the other; 1 if any failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.campaign")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--folder", type=Path, help="keep data and logs there")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="streamer-faults-"))
    model = write_model(folder / "model")
    total: Counter[str] = Counter()
    failed = runs = 0
    for seed in options.seeds:
        for number, family in enumerate(FAMILIES):
            scenario = Scenario(
                name=",".join(family.kinds),
                seed=seed,
                kinds=family.kinds,
                server=family.server,
                fsync=family.fsync,
                cluster=family.cluster,
                retained=not family.bounded,
                settings=SHORT_LOG if family.bounded else {},
                seconds=options.seconds,
                partitions=64 if family.cluster else 4,
            )
            where = folder / f"seed-{seed}-{number}"
            report = run(scenario, model, where, clips=folder / "clips")
            print(report, flush=True)
            for text in report.wrong[:MAX_TOLD]:
                print(f"     {text}")
            total += report.faults
            failed += bool(report.wrong)
            runs += 1
    print(f"\n{runs} runs, {failed} failed; data and logs: {folder}")
    for name, count in sorted(total.items()):
        print(f"{count:6} {name}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
