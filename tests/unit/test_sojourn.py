"""The chain of stages against the distributions it stands for."""

from __future__ import annotations

import math

import numpy as np
import pytest

from streamer.models.phase_filter import PhaseFilterConfig
from streamer.stages.sojourn import CACHED_STEPS, PhaseChain, stochastic_exponential


def config(**changes):
    fields = {
        "initial_P": (1.0, 0.0, 0.0),
        "transition_PP": ((0.0, 1.0, 0.0), (0.5, 0.0, 0.5), (0.0, 0.0, 0.0)),
        "mean_seconds_P": (3.0, 1.0, 2.0),
        "stages_P": (3, 1, 2),
        "prior_P": (0.5, 0.3, 0.2),
    }
    return PhaseFilterConfig(**(fields | changes))


def chain(**changes):
    return PhaseChain(config(**changes), period_seconds=0.1)


def test_the_exponential_is_that_of_the_power_series():
    rates_SS = np.random.default_rng(0).random((4, 4))
    np.fill_diagonal(rates_SS, 0)
    np.fill_diagonal(rates_SS, -rates_SS.sum(axis=1))
    series, term = np.eye(4), np.eye(4)
    for n in range(1, 60):
        term = term @ rates_SS / n
        series += term
    np.testing.assert_allclose(stochastic_exponential(rates_SS), series, atol=1e-12)


@pytest.mark.parametrize("seconds", [1e-6, 0.1, 5.0, 1e4])
def test_steps_are_probabilities_whatever_their_length(seconds):
    step_SS = chain().step(seconds)
    assert (step_SS >= 0).all()
    np.testing.assert_allclose(step_SS.sum(axis=1), 1, rtol=1e-12)


def test_a_phase_lasts_as_an_erlang_distribution_says():
    # Nothing follows phase 1 here, so that what left phase 0 never comes back.
    made = chain(transition_PP=((0.0, 1.0, 0.0), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)))
    seconds = 0.1 * math.exp(106 / 32)  # on the grid, so that nothing is rounded
    left = 1 - made.step(seconds)[0, made.phase_S == 0].sum()
    jumps = seconds * 3 / 3.0
    erlang = 1 - sum(math.exp(-jumps) * jumps**n / math.factorial(n) for n in range(3))
    assert left == pytest.approx(erlang, rel=1e-9)


def test_two_steps_are_one_of_their_length():
    made = PhaseChain(config(), period_seconds=1.0)
    half = stochastic_exponential(made.rates_SS * 0.5)
    np.testing.assert_allclose(half @ half, made.step(1.0), atol=1e-12)


def test_no_time_changes_nothing_and_backward_time_is_none():
    np.testing.assert_array_equal(chain().step(0.0), np.eye(6))
    np.testing.assert_array_equal(chain().step(-0.1), np.eye(6))


def test_what_the_graph_forbids_never_comes():
    # 0 → 1 → 2, and nothing back.
    made = chain(transition_PP=((0, 1.0, 0), (0, 0, 1.0), (0, 0, 0)))
    step_SS = made.step(1000.0)
    after = np.add.reduceat(step_SS, made.first_P, axis=1)
    assert (after[made.phase_S == 1, 0] == 0).all()
    assert (after[made.phase_S == 2] == [0, 0, 1]).all()
    assert after[0, 2] > 0.99


def test_steps_are_remembered_up_to_a_bound_and_given_again_alike():
    made = chain()
    first = made.step(0.1).copy()
    for n in range(3 * CACHED_STEPS):
        made.step(0.1 * 1.05**n)
    assert len(made._steps) == CACHED_STEPS
    np.testing.assert_array_equal(made.step(0.1), first)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"initial_P": (0.5, 0.5)}, "one value per phase"),
        ({"initial_P": (0.5, 0.1, 0.1)}, "initial_P: .*add up to 1"),
        ({"transition_PP": ((0.5, 0.5, 0), (1.0, 0, 0), (0, 1.0, 0))}, "row 0"),
        ({"transition_PP": ((0, 0.5, 0), (1.0, 0, 0), (0, 1.0, 0))}, "row 0"),
        ({"mean_seconds_P": (0.0, 1.0, 1.0)}, "means and priors above 0"),
        ({"stages_P": (0, 1, 1)}, "stages of 1 or more"),
        ({"evidence_weight": 0.0}, "evidence_weight"),
        ({"prior_exponent": 1.5}, "prior_exponent"),
        ({"lag_frames": -1}, "at least 0"),
    ],
)
def test_a_filter_that_makes_no_sense_is_refused(changes, expected):
    with pytest.raises(ValueError, match=expected):
        config(**changes)
