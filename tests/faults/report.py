"""What happened in a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections import Counter

    from tests.faults.scenario import Scenario


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What happened.

    Attributes:
        scenario: What was to happen.
        faults: How often each thing went wrong; calls of functions as `wire:KIND:FUNCTION`.
        wrong: Everything that was not as it should be; empty for a pass.
        num_events: In the log.
        num_entries: In the input log.
        dropped_frames: Of cameras: missing within their epochs.
        drained_seconds: From healing until all was folded in.
        ended: How often workers ended, by role and exit code.
        rss_bytes: Most memory any worker had, by role.
        server_bytes: Most memory the server's data took.
    """

    scenario: Scenario
    faults: Counter[str]
    wrong: tuple[str, ...]
    num_events: int
    num_entries: int
    dropped_frames: int
    drained_seconds: float
    ended: Counter[str]
    rss_bytes: dict[str, int]
    server_bytes: int

    def __str__(self) -> str:
        verdict = "ok  " if not self.wrong else "FAIL"
        rss = max(self.rss_bytes.values(), default=0) / 1e6
        return (
            f"{verdict} {self.scenario.name} {self.scenario.server}"
            f"{' cluster' if self.scenario.cluster else ''} seed={self.scenario.seed} "
            f"faults={self.faults.total()} events={self.num_events} entries={self.num_entries} "
            f"dropped={self.dropped_frames} drained={self.drained_seconds:.1f}s rss={rss:.0f}MB "
            f"redis={self.server_bytes / 1e6:.0f}MB ended={dict(self.ended)}"
        )
