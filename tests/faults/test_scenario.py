"""A short scenario from end to end."""

from __future__ import annotations

from tests.faults.disturbances import Disturbance
from tests.faults.scenario import Scenario, run


def test_a_short_run_with_a_kill_passes_all_oracles(fault_model, tmp_path):
    scenario = Scenario(
        name="short",
        seed=2,
        kinds=(Disturbance.KILL, Disturbance.WIRE),
        seconds=4,
        num_films=2,
        num_cameras=1,
    )
    report = run(scenario, fault_model, tmp_path, clips=tmp_path / "clips")
    assert report.wrong == ()
    assert report.faults["kill"] >= 1
    assert report.num_events > 100
    assert report.drained_seconds < 30
