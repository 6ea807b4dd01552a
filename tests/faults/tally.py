"""Counts of what went wrong, over runs: for people, and as a record in Markdown."""

from __future__ import annotations

import subprocess
from collections import Counter
from typing import TYPE_CHECKING

from tests.faults.binaries import binary_of

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from tests.faults.report import Report

MAX_TOLD = 10
"""Mismatches told of one run."""


class Tally:
    """Of a campaign.

    Attributes:
        faults: What went wrong; calls of functions as `wire:KIND:FUNCTION`.
        reports: Of the runs.
    """

    def __init__(self) -> None:
        self.faults: Counter[str] = Counter()
        self.reports: list[Report] = []

    @property
    def failed(self) -> int:
        """Runs with something wrong."""
        return sum(bool(report.wrong) for report in self.reports)

    def add(self, report: Report) -> list[str]:
        """Count a run in. Returns what is to be told of it."""
        self.reports.append(report)
        self.faults += report.faults
        told = [str(report), *(f"     {text}" for text in report.wrong[:MAX_TOLD])]
        more = len(report.wrong) - MAX_TOLD
        return [*told, f"     and {more} more"] if more > 0 else told

    def by_kind(self) -> dict[str, int]:
        """Main kinds; calls as `wire`, and summed over functions as `wire:KIND`."""
        return _by_kind(self.faults)

    def lines(self) -> list[str]:
        """For people."""
        head = f"{len(self.reports)} runs, {self.failed} failed"
        return [head, *(f"{count:6} {name}" for name, count in self.by_kind().items())]

    def write(self, path: Path, *, seeds: Collection[int], seconds: float) -> None:
        """Write the record."""
        servers = sorted({report.scenario.server for report in self.reports})
        runs = Counter(_family_of(report) for report in self.reports)
        failed = Counter(_family_of(report) for report in self.reports if report.wrong)
        met = Counter(name for report in self.reports for name in _by_kind(report.faults))
        lines = [
            "# Faults, as counted",
            "",
            f"- Seeds: {' '.join(map(str, seeds))}",
            f"- Seconds of faults per run: {seconds:g}",
            f"- Servers: {', '.join(version_of(server) for server in servers)}",
            f"- Runs: {len(self.reports)}, failed: {self.failed}",
            "",
            "| family | server | runs | failed |",
            "|---|---|--:|--:|",
            *(f"| {' | '.join(one)} | {count} | {failed[one]} |" for one, count in runs.items()),
            "",
            "| fault | times | in runs |",
            "|---|--:|--:|",
            *(f"| `{name}` | {n} | {met[name]} |" for name, n in self.by_kind().items()),
            "",
        ]
        path.write_text("\n".join(lines))


def version_of(server: str) -> str:
    """What a server's program says of itself: `Valkey 9.1.2`."""
    answer = subprocess.run(
        [binary_of(server), "--version"], check=True, capture_output=True, text=True
    )
    name, _, version, *_ = answer.stdout.split()
    return f"{name} {version.removeprefix('v=')}"


def _family_of(report: Report) -> tuple[str, str]:
    scenario = report.scenario
    where = f"{scenario.server}, {'cluster, ' * scenario.cluster}{scenario.fsync}"
    return scenario.name, where


def _by_kind(faults: Counter[str]) -> dict[str, int]:
    summed: Counter[str] = Counter()
    for name, count in faults.items():
        kind, *rest = name.split(":")
        summed[kind] += count
        if rest:
            summed[f"{kind}:{rest[0]}"] += count
    return dict(sorted(summed.items()))
