"""Every family of faults, on every seed: `make faults`. A line per run, and a table of counts.

The seeds that the counts in docs/faults.md rest on are named there; `SEEDS` are the first of them.
"""

# ruff: noqa: T201  # it prints its table
from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.faults.disturbances import Disturbance as D
from tests.faults.model import write_model
from tests.faults.run import run
from tests.faults.scenario import SHORT_LOG, Scenario
from tests.faults.tally import Tally

SEEDS = (101, 102, 103, 104, 105)


@dataclass(frozen=True, slots=True)
class Family:
    """Faults that go together, and where."""

    kinds: tuple[D, ...]
    server: str = "valkey"
    fsync: str = "everysec"
    cluster: bool = False
    bounded: bool = False
    """Whether the input log is as short as it can be; else it keeps everything."""

    def scenario(self, name: str, *, seed: int, seconds: float) -> Scenario:
        """A run of it."""
        return Scenario(
            name=name,
            seed=seed,
            kinds=self.kinds,
            server=self.server,
            fsync=self.fsync,
            cluster=self.cluster,
            seconds=seconds,
            partitions=64 if self.cluster else 4,
            retained=not self.bounded,
            settings=SHORT_LOG if self.bounded else {},
        )


FAMILIES = {
    "workers": Family((D.KILL, D.STOP)),
    "workers-wire": Family((D.KILL, D.STOP, D.WIRE), server="redis"),
    "short-log": Family((D.KILL, D.STOP), bounded=True),
    "restart-wire": Family((D.REDIS, D.WIRE), fsync="always"),
    "rollback": Family((D.REDIS, D.TORN, D.LOST), server="redis"),
    "lost-poison": Family((D.LOST, D.POISON)),
    "promote-deadly": Family((D.PROMOTE, D.DEADLY)),
    "full": Family((D.MEMORY, D.DISK), server="redis"),
    "clocks": Family((D.CLOCK, D.SERVER_CLOCK, D.KILL)),
    "cluster": Family((D.KILL, D.STOP, D.WIRE, D.REDIS, D.MIGRATE), fsync="always", cluster=True),
    "cluster-lost": Family(
        (D.LOST, D.WIRE, D.MIGRATE), server="redis", fsync="always", cluster=True
    ),
}


def main() -> int:
    """Run them one after the other; 1 if any failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.campaign")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument(
        "--families",
        type=_name,
        nargs="+",
        default=list(FAMILIES),
        help=f"numbers from 0, or names: {' '.join(FAMILIES)}",
    )
    parser.add_argument("--record", type=Path, help="write the counts there, as Markdown")
    parser.add_argument("--folder", type=Path, help="keep data and logs there")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="streamer-faults-"))
    model = write_model(folder / "model")
    tally = Tally()
    for seed in options.seeds:
        for name in options.families:
            scenario = FAMILIES[name].scenario(name, seed=seed, seconds=options.seconds)
            report = run(scenario, model, folder / f"seed-{seed}-{name}", clips=folder / "clips")
            print(*tally.add(report), sep="\n", flush=True)
            if options.record is not None:  # what there is counts, should this be ended early
                seeds = sorted({report.scenario.seed for report in tally.reports})
                tally.write(options.record, seeds=seeds, seconds=options.seconds)
    print("", *tally.lines(), f"data and logs: {folder}", sep="\n")
    return 1 if tally.failed else 0


def _name(text: str) -> str:
    name = list(FAMILIES)[int(text)] if text.isdigit() and int(text) < len(FAMILIES) else text
    if name not in FAMILIES:
        raise argparse.ArgumentTypeError(f"expected a number or a name, found {text}")
    return name


if __name__ == "__main__":
    sys.exit(main())
