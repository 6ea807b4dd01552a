"""The fault suite by hand: `python -m tests.faults --seeds 1 2 --faults kill,stop --server redis`.

One line per scenario, what was wrong with it, and a table of all faults at the end.
"""

# ruff: noqa: T201  # it prints its table
from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.faults.disturbances import Disturbance
from tests.faults.model import write_model
from tests.faults.run import run
from tests.faults.scenario import Scenario
from tests.faults.tally import Tally


def main() -> int:
    """Run scenarios one after the other; 1 if any failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--faults", default="kill", help=",".join(Disturbance))
    parser.add_argument("--cluster", action="store_true", help="on three masters")
    parser.add_argument("--server", choices=("valkey", "redis"), default="valkey")
    parser.add_argument("--fsync", choices=("everysec", "always"), default="everysec")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--workers", type=int, nargs=3, default=(2, 2, 3))
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--mutants", default="", help="what to break in the workers")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--folder", type=Path, help="keep data and logs there")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="streamer-faults-"))
    model = write_model(folder / "model")
    tally = Tally()
    for seed in options.seeds:
        scenario = Scenario(
            name=options.faults,
            seed=seed,
            kinds=tuple(map(Disturbance, options.faults.split(","))),
            server=options.server,
            fsync="always" if options.cluster else options.fsync,
            cluster=options.cluster,
            seconds=options.seconds,
            workers=tuple(options.workers),
            partitions=options.partitions,
            settings=dict(pair.split("=", 1) for pair in options.set),
            mutants=tuple(filter(None, options.mutants.split(","))),
        )
        report = run(scenario, model, folder / f"seed-{seed}", clips=folder / "clips")
        print(*tally.add(report), sep="\n", flush=True)
    print("", *tally.lines(), f"data and logs: {folder}", sep="\n")
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
