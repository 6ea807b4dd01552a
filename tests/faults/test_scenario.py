"""Short seeded runs of the whole system, each with one family of faults, all oracles at its end."""

from __future__ import annotations

import pytest

from tests.faults.disturbances import Disturbance as D
from tests.faults.plan import Fault
from tests.faults.run import run
from tests.faults.scenario import SHORT_LOG, Scenario

MUTANT_SEEDS = (1, 2, 3)
CLUSTER = {"cluster": True, "partitions": 64, "fsync": "always"}


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
        short(1, D.SERVER_CLOCK, D.KILL),
        short(1, D.STOP, retained=False, settings=SHORT_LOG),
        short(1, D.KILL, D.WIRE, D.REDIS, D.MIGRATE, **CLUSTER),
        short(1, D.LOST, D.WIRE, server="redis", **CLUSTER),
    ],
    ids=lambda scenario: f"{scenario.name}-{'cluster-' * scenario.cluster}{scenario.server}",
)
def test_whatever_goes_wrong_the_log_is_the_fold_of_its_input(
    scenario, fault_model, tmp_path, clips
):
    report = run(scenario, fault_model, tmp_path, clips=clips)
    assert report.wrong == ()
    assert report.faults.total() >= 1
    if D.POISON in scenario.kinds:
        assert report.faults[D.POISON] >= 1
    if D.DEADLY in scenario.kinds:
        assert report.faults[D.DEADLY] >= 1
    assert report.num_events > 100


def test_without_the_owner_check_alone_nothing_goes_wrong(fault_model, tmp_path, clips):
    """The lease saves work. What makes it safe is the compare-and-set."""
    scenario = short(1, D.STOP, D.KILL, mutants=("no_owner_check",))
    assert run(scenario, fault_model, tmp_path, clips=clips).wrong == ()


@pytest.mark.parametrize(
    ("mutant", "kinds", "died_of"),
    [
        ("no_compare_and_set", (D.LOST,), ("event", "state")),
        ("events_and_state_apart", (D.WIRE,), ("event",)),
        ("identity_by_the_server", (D.LOST,), ("id",)),
        ("no_resend_buffer", (D.LOST,), ("frames from", "which is not in the log", "hole")),
    ],
)
def test_a_mutant_is_caught(mutant, kinds, died_of, fault_model, tmp_path, clips):
    """By one of a few seeds: a fault has to fall on an event to show."""
    cut = {"ratios": {"commit": 0.3}, "wire_faults": (Fault.CUT_BEFORE,)} if D.WIRE in kinds else {}
    found = []
    for seed in MUTANT_SEEDS:
        scenario = short(seed, *kinds, mutants=(mutant,), workers=(1, 1, 2), patient=False, **cut)
        found += run(scenario, fault_model, tmp_path / str(seed), clips=clips).wrong
        if any(sign in text for text in found for sign in died_of):
            return
    pytest.fail(f"{mutant} lived; seen: {found}")


def test_a_subscriber_that_ignores_sequence_is_caught(fault_model, tmp_path, clips):
    found = []
    for seed in MUTANT_SEEDS:
        scenario = short(seed, D.LOST, deaf=True, workers=(1, 1, 2))
        found += run(scenario, fault_model, tmp_path / str(seed), clips=clips).wrong
        assert all(text.startswith("subscriber: ") for text in found)
        if found:
            return
    pytest.fail("it lived")
