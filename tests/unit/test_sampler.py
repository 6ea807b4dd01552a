from __future__ import annotations

import math
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.core.errors import ConfigError
from streamer.sources.sampler import Sampler


def taken(times: list[float], analysis_fps: float) -> list[float]:
    sampler = Sampler(analysis_fps)
    return [time for time in times if sampler.take(time)]


@pytest.mark.parametrize("fps", [0, -1, math.nan, math.inf, -math.inf])
def test_refuses_what_is_no_rate(fps: float) -> None:
    with pytest.raises(ConfigError, match="above 0"):
        Sampler(fps)


def test_25_to_10_takes_two_of_five() -> None:
    times = taken([number / 25 for number in range(250)], 10)
    assert len(times) == 101  # at 0, and near each tenth of a second up to 10
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert min(gaps) > 0.079
    assert max(gaps) < 0.121


@pytest.mark.parametrize("fps", [10.0, 9.97, 5.0, 0.5])
def test_a_source_no_faster_passes_whole(fps: float) -> None:
    times = [1000 + number / fps for number in range(500)]
    assert taken(times, 10) == times


@given(st.lists(st.floats(-0.045, 0.045), min_size=2, max_size=300))
def test_jitter_costs_a_source_of_the_same_rate_nothing(jitter: list[float]) -> None:
    times = [0.0] + [number / 10 + shift for number, shift in enumerate(jitter, start=1)]
    assert taken(times, 10) == times


@given(st.integers(0, 2**32))
def test_jitter_of_a_faster_source_keeps_the_mean_rate(seed: int) -> None:
    random = Random(seed)
    times = [number / 25 + random.uniform(-0.019, 0.019) for number in range(500)]
    assert abs(len(taken(times, 10)) - 200) <= 2


@given(
    st.lists(st.floats(1e-4, 3.0), min_size=1, max_size=200),
    st.floats(0.2, 60.0),
)
def test_never_more_than_the_rate_in_any_window(steps: list[float], fps: float) -> None:
    time, times = 5.0, [5.0]
    for step in steps:
        time += step
        times.append(time)
    got = taken(times, fps)
    for first in range(len(got)):
        for last in range(first, len(got)):
            assert last - first + 1 <= (got[last] - got[first]) * fps + 2 + 1e-6


def test_no_burst_after_a_gap_and_no_drift() -> None:
    times = [number / 25 for number in range(50)] + [60 + number / 25 for number in range(50)]
    got = taken(times, 10)
    assert sum(60 <= time < 61 for time in got) <= 11
    assert got[:2] == [0.0, 0.08]
    long = taken([number / 29.97 for number in range(29970)], 10)
    assert abs(len(long) - 10_000) <= 1
