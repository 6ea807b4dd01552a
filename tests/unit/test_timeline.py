from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.sources.timeline import Timeline

NS = 1_000_000_000


def place(stamps: list[float | None], receipts: list[float] | None = None) -> list[float]:
    """Of a live source if there are receipts, else of a recording with 25 frames a second."""
    timeline = Timeline(frame_seconds=0.04, live=receipts is not None)
    times = receipts or [0.0] * len(stamps)
    return [
        timeline.place(stamp, received_ns=round(time * NS))
        for stamp, time in zip(stamps, times, strict=True)
    ]


def test_a_variable_rate_stays_and_begins_at_zero() -> None:
    assert place([7.0, 7.1, 7.5, 97.5]) == pytest.approx([0, 0.1, 0.5, 90.5])


def test_missing_times_follow_the_rate_of_a_recording() -> None:
    assert place([None] * 4) == pytest.approx([0, 0.04, 0.08, 0.12])


def test_missing_times_follow_the_receipt_of_a_live_source() -> None:
    assert place([None] * 3, [5.0, 5.3, 5.4]) == pytest.approx([0, 0.3, 0.4])


def test_times_that_begin_late_go_on_from_there() -> None:
    assert place([None, None, 9.0, 9.5]) == pytest.approx([0, 0.04, 0.08, 0.58])


def test_a_doubled_time_is_nudged_and_shifts_nothing() -> None:
    assert place([0, 0.04, 0.04, 0.12]) == pytest.approx([0, 0.04, 0.041, 0.12])


def test_constant_times_are_replaced_by_receipt() -> None:
    receipts = [number * 0.04 for number in range(100)]
    placed = place([0.0] * 100, receipts)
    assert placed[-1] == pytest.approx(99 * 0.04, abs=0.1)


def test_a_clock_set_back_costs_two_frames() -> None:
    stamps = [1000 + number * 0.04 for number in range(10)] + [n * 0.04 for n in range(10)]
    placed = place(list(stamps), [number * 0.04 for number in range(20)])
    assert placed[-1] == pytest.approx(19 * 0.04, abs=0.1)
    assert placed[-1] - placed[-2] == pytest.approx(0.04)


def test_a_clock_set_ahead_does_not_make_a_gap() -> None:
    placed = place([0.0, 0.04, 3600.0, 3600.04], [0.0, 0.04, 0.08, 0.12])
    assert placed == pytest.approx([0, 0.04, 0.08, 0.12])


@given(
    st.lists(
        st.tuples(st.none() | st.floats(-1e6, 1e6), st.floats(0, 5)), min_size=1, max_size=100
    ),
    st.booleans(),
)
def test_always_from_zero_and_increasing(frames: list[tuple[float | None, float]], live: bool):
    timeline = Timeline(frame_seconds=0.04, live=live)
    received, placed = 0.0, []
    for stamp, step in frames:
        received += step
        placed.append(timeline.place(stamp, received_ns=round(received * NS)))
    assert placed[0] == 0
    assert all(earlier < later for earlier, later in pairwise(placed))
