from __future__ import annotations

from random import Random

import pytest

from streamer.sources.backoff import Backoff


class Highest(Random):
    """Always the ceiling."""

    def uniform(self, a: float, b: float) -> float:
        return b


def test_ceilings_double_up_to_the_cap() -> None:
    backoff = Backoff(base_seconds=0.5, cap_seconds=5.0, random=Highest())
    assert [backoff.next_seconds() for _ in range(6)] == [0.5, 1, 2, 4, 5, 5]


def test_a_stable_run_starts_again_and_a_short_one_does_not() -> None:
    backoff = Backoff(base_seconds=1, cap_seconds=60, stable_seconds=30, random=Highest())
    assert [backoff.next_seconds() for _ in range(3)] == [1, 2, 4]
    assert backoff.next_seconds(ran_seconds=29) == 8
    assert backoff.next_seconds(ran_seconds=30) == 1
    backoff.next_seconds()
    backoff.reset()
    assert backoff.next_seconds() == 1


def test_delays_are_spread_and_repeatable() -> None:
    delays = [[Backoff(random=Random(seed)).next_seconds() for seed in range(50)] for _ in "12"]
    assert delays[0] == delays[1]
    assert all(0 <= delay <= 0.5 for delay in delays[0])
    assert max(delays[0]) - min(delays[0]) > 0.4


def test_thousands_of_failures_stay_at_the_cap() -> None:
    backoff = Backoff(cap_seconds=30.0, random=Highest())
    assert [backoff.next_seconds() for _ in range(5000)][-1] == 30.0


def test_refuses_a_schedule_that_can_not_be() -> None:
    with pytest.raises(ValueError, match="base_seconds"):
        Backoff(base_seconds=2, cap_seconds=1)
