"""Short seeded runs of the whole system, each with one family of faults, all oracles at its end."""

from __future__ import annotations

import pytest

from tests.faults.disturbances import Disturbance as D
from tests.faults.scenario import Scenario, run


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return tmp_path_factory.mktemp("clips")


def short(seed, *kinds, **changes):
    """A few seconds of faults, with fewer streams than `make faults` has."""
    fields = {
        "name": ",".join(kinds),
        "seed": seed,
        "kinds": kinds,
        "seconds": 6.0,
        "num_films": 3,
        "num_cameras": 2,
        "film_seconds": 12.0,
    }
    return Scenario(**(fields | changes))


@pytest.mark.parametrize(
    "scenario",
    [
        short(1, D.KILL, D.STOP, D.WIRE),
        short(1, D.REDIS, D.POISON, server="redis"),
        short(1, D.LOST, D.TORN),
        short(1, D.PROMOTE, D.DEADLY),
        short(1, D.MEMORY, D.DISK, D.CLOCK, server="redis"),
    ],
    ids=lambda scenario: f"{scenario.name}-{scenario.server}",
)
def test_whatever_goes_wrong_the_log_is_the_fold_of_its_input(
    scenario, fault_model, tmp_path, clips
):
    report = run(scenario, fault_model, tmp_path, clips=clips)
    assert report.wrong == ()
    assert report.faults.total() >= 1
    assert report.num_events > 100


def test_without_the_owner_check_alone_nothing_goes_wrong(fault_model, tmp_path, clips):
    """The lease saves work. What makes it safe is the compare-and-set."""
    scenario = short(1, D.STOP, D.KILL, mutants=("no_owner_check",))
    assert run(scenario, fault_model, tmp_path, clips=clips).wrong == ()


@pytest.mark.parametrize(
    ("mutant", "kinds", "died_of"),
    [
        ("no_compare_and_set", (D.LOST,), "event"),
        ("events_and_state_apart", (D.WIRE,), "event"),
        ("identity_by_the_server", (D.LOST,), "id"),
        ("no_resend_buffer", (D.LOST,), ""),  # holes, or other events than were seen live
    ],
)
def test_a_mutant_is_caught(mutant, kinds, died_of, fault_model, tmp_path, clips):
    ratios = {"commit": 0.2} if D.WIRE in kinds else {}
    scenario = short(1, *kinds, mutants=(mutant,), workers=(1, 1, 2), patient=False, ratios=ratios)
    wrong = run(scenario, fault_model, tmp_path, clips=clips).wrong
    assert any(died_of in text for text in wrong), wrong


def test_a_subscriber_that_ignores_sequence_is_caught(fault_model, tmp_path, clips):
    scenario = short(1, D.LOST, deaf=True, workers=(1, 1, 2))
    wrong = run(scenario, fault_model, tmp_path, clips=clips).wrong
    assert wrong
    assert all(text.startswith("subscriber: ") for text in wrong)
