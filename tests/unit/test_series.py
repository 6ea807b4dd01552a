"""Which streams have series of their own, how many, and for how long."""

from __future__ import annotations

import threading

import pytest
from prometheus_client import CollectorRegistry

from streamer.telemetry.families import Family, Kind, Level, Role
from streamer.telemetry.series import LINGER_SECONDS, Series
from tests.metrics import values

ROLES = (Role.INGEST,)
DROPS = Family(
    name="streamer_drops_total",
    kind=Kind.COUNTER,
    meaning="Drops.",
    roles=ROLES,
    labels={"stream": "", "why": ""},
    level=Level.DETAIL,
)
STATE = Family(
    name="streamer_state",
    kind=Kind.GAUGE,
    meaning="State.",
    roles=ROLES,
    labels={"stream": "", "what": ""},
    level=Level.DETAIL,
)
FRAMES = Family(
    name="streamer_seen_total",
    kind=Kind.COUNTER,
    meaning="Frames.",
    roles=ROLES,
    labels={"stream": ""},
    level=Level.CORE,
)
LEFT_OUT = ("streamer_metrics_left_out",)


class Bench:
    def __init__(self, detail_limit):
        self.now = 0.0
        self.registry = CollectorRegistry()
        self.series = Series(self.registry, detail_limit=detail_limit, clock=lambda: self.now)
        self.drops = self.series.stream_counter(DROPS)
        self.state = self.series.stream_gauge(STATE)
        self.frames = self.series.stream_counter(FRAMES)

    def seen(self, name):
        return {key[1:]: v for key, v in values(self.registry).items() if key[0] == name}

    @property
    def left_out(self):
        return values(self.registry)[LEFT_OUT]


def test_beyond_the_budget_counters_are_summed_and_gauges_left_out():
    bench = Bench(detail_limit=3)
    for n in range(5):
        bench.drops.inc(f"cam{n}", "late", count=n + 1)
        bench.frames.inc(f"cam{n}")
    bench.state.set("cam0", "live")
    drops = bench.seen("streamer_drops_total")
    assert drops == {
        ("cam0", "late"): 1,
        ("cam1", "late"): 2,
        ("cam2", "late"): 3,
        ("", "late"): 4 + 5,
    }
    assert bench.seen("streamer_state") == {}
    assert bench.left_out == 3
    # Core series are no part of it.
    assert len(bench.seen("streamer_seen_total")) == 5


def test_a_budget_of_nothing_still_counts():
    bench = Bench(detail_limit=0)
    bench.drops.inc("cam", "late", count=2)
    bench.drops.inc("cam", "late", count=3)
    assert bench.seen("streamer_drops_total") == {("", "late"): 5}
    assert bench.left_out == 1


def test_a_gauge_has_one_label_set_of_a_stream():
    bench = Bench(detail_limit=1)
    for state in ("live", "failed", "live"):
        bench.state.set("cam", state)
        assert bench.seen("streamer_state") == {("cam", state): 1}
    bench.state.clear("cam")
    assert bench.seen("streamer_state") == {}
    # The room is free again.
    bench.drops.inc("cam", "late")
    assert bench.seen("streamer_drops_total") == {("cam", "late"): 1}


def test_a_released_stream_takes_its_gauges_at_once_and_its_counters_later():
    bench = Bench(detail_limit=2)
    bench.drops.inc("cam", "late")
    bench.frames.inc("cam")
    bench.state.set("cam", "live")
    bench.state.set("left-out", "live")
    assert bench.left_out == 1
    bench.series.release("cam")
    bench.series.release("left-out")
    assert bench.seen("streamer_state") == {}
    assert bench.left_out == 0
    # What is counted late counts; what is said late of a stream that is another's does not.
    bench.drops.inc("cam", "late")
    bench.state.set("cam", "failed")
    assert bench.seen("streamer_state") == {}
    bench.now = LINGER_SECONDS - 1
    assert bench.seen("streamer_drops_total") == {("cam", "late"): 2}
    assert bench.seen("streamer_seen_total") == {("cam",): 1}
    bench.now = LINGER_SECONDS
    assert bench.seen("streamer_drops_total") == {}
    assert bench.seen("streamer_seen_total") == {}
    # All of its room is free again.
    for n in range(3):
        bench.drops.inc(f"next{n}", "late")
    assert bench.left_out == 1


def test_a_stream_that_comes_back_keeps_its_counters():
    bench = Bench(detail_limit=5)
    bench.frames.inc("cam", count=7)
    bench.series.release("cam")
    bench.series.hold("cam")
    bench.state.set("cam", "live")
    bench.now = 10 * LINGER_SECONDS
    assert bench.seen("streamer_seen_total") == {("cam",): 7}
    assert bench.seen("streamer_state") == {("cam", "live"): 1}


def test_streams_that_come_and_go_leave_nothing_behind():
    """Without a scrape too."""
    bench = Bench(detail_limit=10)
    for n in range(200):
        bench.frames.inc(f"cam{n}")
        bench.drops.inc(f"cam{n}", "late")
        bench.state.set(f"cam{n}", "live")
        bench.series.release(f"cam{n}")
        bench.now += LINGER_SECONDS / 2
    assert len(bench.frames._children) <= 2
    assert len(bench.drops._children) <= 2
    assert not bench.state._children
    assert len(bench.series._released) <= 2


@pytest.mark.parametrize("count", [-1, 0, float("nan")])
def test_less_than_nothing_counts_nothing(count):
    bench = Bench(detail_limit=1)
    bench.drops.inc("cam", "late", count=count)
    assert bench.seen("streamer_drops_total") == {("cam", "late"): 0}


def test_threads_may_count_while_streams_come_and_go():
    bench = Bench(detail_limit=4)
    errors = []

    def work(name):
        try:
            for n in range(300):
                stream = f"{name}-{n % 7}"
                bench.drops.inc(stream, "late")
                bench.state.set(stream, str(n % 3))
                if n % 5 == 0:
                    bench.series.release(stream)
                    bench.series.hold(stream)
                if n % 50 == 0:
                    values(bench.registry)
        except Exception as error:  # told by the assertion
            errors.append(error)

    threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert sum(bench.seen("streamer_drops_total").values()) == 4 * 300
    named = [key for key in bench.seen("streamer_drops_total") if key[0]]
    assert len(named) + len(bench.seen("streamer_state")) <= 4
