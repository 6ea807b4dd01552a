"""What is to happen in a run of the whole system."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.faults.disturbances import Disturbance
from tests.faults.plan import Fault

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.faults.clock import SkewedClock
    from tests.faults.model import FaultModel

MUTANTS = Path(__file__).parent / "mutants"

SHORT_LOG = {"redis.replay_seconds": 1, "redis.max_unread_entries": 15}
"""Settings of a run that does not retain its input: the encoder has to wait now and then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What is to happen.

    Attributes:
        name: For people.
        seed: Of everything.
        kinds: What goes wrong, in a seeded order, as often as there is time.
        server: `valkey` or `redis`.
        fsync: `everysec` or `always`.
        cluster: Whether on three masters, which take `always`; else on one server.
        seconds: How long things go wrong.
        num_films: Streams from files, wanted one after the other.
        num_cameras: Streams as if live, from the start.
        workers: Ingest, encoder and temporal workers.
        partitions: P.
        settings: Further settings of all workers.
        retained: Whether the input log keeps what is committed; else it is read from the AOF. When
            memory is full nothing is kept, by design.
        wire_faults: What goes wrong on the wire.
        ratios: How many calls of a function go wrong on the wire, where it is not the usual.
        mutants: What is broken on purpose in the workers; see `mutants/sitecustomize.py`.
        deaf: Whether the subscriber ignores `sequence`, a mutant too.
        film_seconds: Length of the films.
        patient: False gives up soon after healing: of a mutant that never drains.
    """

    name: str
    seed: int
    kinds: tuple[Disturbance, ...]
    server: str = "valkey"
    fsync: str = "everysec"
    cluster: bool = False
    seconds: float = 20.0
    num_films: int = 6
    num_cameras: int = 6
    workers: tuple[int, int, int] = (2, 2, 3)
    partitions: int = 4
    lease_seconds: float = 1.0
    settings: Mapping[str, object] = field(default_factory=dict)
    retained: bool = True
    wire_faults: tuple[Fault, ...] = tuple(Fault)
    ratios: Mapping[str, float] = field(default_factory=dict)
    mutants: tuple[str, ...] = ()
    deaf: bool = False
    film_seconds: float = 30.0
    patient: bool = True


def settings_of(scenario: Scenario, model: FaultModel) -> dict[str, object]:
    """Of all workers."""
    return {
        "bundle": model.bundle.path,
        "encoder.name": model.encoder_path,
        "redis.partitions": scenario.partitions,
        "temporal.lease_seconds": scenario.lease_seconds,
        "ingest.lease_seconds": scenario.lease_seconds,
        **(
            {"redis.replay_seconds": 1e6, "redis.max_unread_entries": 10**7}
            if scenario.retained
            else {}
        ),
        **scenario.settings,
    }


def environment_of(scenario: Scenario, clock: SkewedClock | None) -> dict[str, str]:
    """Added to that of the workers."""
    environment = dict(clock.environment) if clock else {}
    names = [*scenario.mutants]
    if Disturbance.DEADLY in scenario.kinds:
        names.append("dies_of_poison")
    if names:
        environment["FAULTS_MUTANT"] = ",".join(names)
        paths = [str(MUTANTS), os.environ.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    return environment


def keeps_all(scenario: Scenario) -> bool:
    """Whether the input log has everything in the end."""
    return scenario.retained and Disturbance.MEMORY not in scenario.kinds
