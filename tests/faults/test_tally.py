"""What is counted, and how it is written down."""

from __future__ import annotations

from collections import Counter

from tests.faults.campaign import FAMILIES
from tests.faults.report import Report
from tests.faults.tally import Tally


def report(name, *, wrong=(), **faults):
    return Report(
        scenario=FAMILIES[name].scenario(name, seed=3, seconds=5),
        faults=Counter({key.replace("__", ":"): count for key, count in faults.items()}),
        wrong=wrong,
        num_events=1,
        num_entries=1,
        dropped_frames=0,
        drained_seconds=0.0,
        ended=Counter(),
        rss_bytes={},
        server_bytes=0,
    )


def test_calls_are_summed_by_kind():
    tally = Tally()
    tally.add(report("workers-wire", kill=2, wire__late__send=3, wire__late__commit=1))
    tally.add(report("cluster", kill=1, wire__delay__send=4))
    assert tally.by_kind() == {"kill": 3, "wire": 8, "wire:delay": 4, "wire:late": 4}


def test_a_failure_is_told_and_counted():
    tally = Tally()
    assert tally.add(report("workers", wrong=("it",)))[1:] == ["     it"]
    tally.add(report("workers", kill=1))
    assert tally.lines() == ["2 runs, 1 failed", "     1 kill"]


def test_the_record_has_no_date_and_says_what_ran(tmp_path):
    tally = Tally()
    tally.add(report("workers", kill=2))
    tally.add(report("cluster", kill=3, wrong=("it",)))
    path = tmp_path / "record.md"
    tally.write(path, seeds=[3], seconds=5.0)
    lines = path.read_text().splitlines()
    assert "- Seeds: 3" in lines
    assert "- Runs: 2, failed: 1" in lines
    assert "| workers | valkey, everysec | 1 | 0 |" in lines
    assert "| cluster | valkey, cluster, always | 1 | 1 |" in lines
    assert "| `kill` | 5 | 2 |" in lines
    assert any(line.startswith("- Servers: Valkey ") for line in lines)
