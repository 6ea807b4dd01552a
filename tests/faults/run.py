"""A run of the whole system with seeded faults, judged at its end."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from random import Random
from typing import TYPE_CHECKING

from streamer.transport.keys import Keys
from tests.faults.accounts import books_of, judge_accounts
from tests.faults.binaries import binary_of
from tests.faults.bounds import Bounds
from tests.faults.clock import SkewedClock
from tests.faults.disturbances import ROLLBACKS, Disturbance
from tests.faults.evidence import collect
from tests.faults.farm import Farm
from tests.faults.judgement import judge, judge_subscriber
from tests.faults.masters import Masters
from tests.faults.plan import Plan
from tests.faults.report import Report
from tests.faults.scenario import environment_of, keeps_all, settings_of
from tests.faults.scene import Scene
from tests.faults.server import FaultyServer
from tests.faults.single import SingleServer
from tests.faults.streams import DRAIN_SECONDS, drain, play
from tests.faults.subscriber import LiveSubscriber
from tests.faults.watch import Watch

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.evidence import Evidence
    from tests.faults.model import FaultModel
    from tests.faults.scenario import Scenario

SUBSCRIBER_SECONDS = 10.0
"""Until the live subscriber has what the log has."""


def run(scenario: Scenario, model: FaultModel, folder: Path, *, clips: Path) -> Report:
    """Run it.

    Args:
        scenario: What is to happen.
        model: Bundle and encoder.
        folder: For the servers' data and the logs.
        clips: Where clips are kept from run to run.
    """
    random, keys, plan = Random(scenario.seed), Keys(scenario.partitions), _plan(scenario)
    settings = settings_of(scenario, model)
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        servers = stack.enter_context(_servers(scenario, folder, plan=plan, random=random))
        clock = SkewedClock(folder) if Disturbance.CLOCK in scenario.kinds else None
        farm = stack.enter_context(
            Farm(
                servers.url,
                folder / "logs",
                settings=settings,
                num_ingest=scenario.workers[0],
                num_encoders=scenario.workers[1],
                num_temporal=scenario.workers[2],
                environment=environment_of(scenario, clock),
            )
        )
        scene = Scene(servers, farm, random, scenario.lease_seconds, clock, keys)
        watch = stack.enter_context(Watch(scene, Bounds.of(settings)))
        subscriber = stack.enter_context(LiveSubscriber(servers.url, deaf=scenario.deaf))
        streams = play(scenario, scene, clips)
        scene.heal()
        drained_seconds, waiting = drain(scenario, scene, streams)
        books = books_of(farm)
        farm.stop()
        aof_file = None if keeps_all(scenario) else servers.aof_file
        with contextlib.closing(servers.client()) as client:
            evidence = collect(client, streams, keys=keys, aof_file=aof_file)
        subscriber.wait_for(len(evidence.events), seconds=SUBSCRIBER_SECONDS)
        subscriber.stop()
    wrong, dropped = judge(evidence, model, injected=scene.injected)
    if not wrong:
        wrong += judge_subscriber(subscriber, evidence, scenario)
        wrong += _judge_books(scenario, books, evidence, scene)
    wrong += watch.judge(evidence)
    late = [f"{s}: not drained {DRAIN_SECONDS:g} s after healing: {w}" for s, w in waiting.items()]
    wire = {f"wire:{kind}:{name}": count for (kind, name), count in plan.counts.items()}
    return Report(
        scenario=scenario,
        faults=Counter({kind.value: count for kind, count in scene.counts.items()} | wire),
        wrong=(*late, *wrong),
        num_events=len(evidence.events),
        num_entries=sum(map(len, evidence.entries.values())),
        dropped_frames=dropped,
        drained_seconds=drained_seconds,
        ended=Counter(
            {
                f"{role}:{code}": count
                for (role, _), post in farm.posts.items()
                for code, count in post.ended.items()
            }
        ),
        rss_bytes=watch.rss_bytes,
        server_bytes=watch.server_bytes,
    )


def _plan(scenario: Scenario) -> Plan:
    wire = Disturbance.WIRE in scenario.kinds
    usual = {"open_source": 0.2, "release": 0.5} if wire else {}
    return Plan(
        scenario.seed,
        ratio=0.02 if wire else 0.0,
        ratio_of={**usual, **scenario.ratios},
        kinds=scenario.wire_faults,
    )


def _servers(
    scenario: Scenario, folder: Path, *, plan: Plan, random: Random
) -> SingleServer | Masters:
    binary = binary_of(scenario.server)
    if scenario.cluster:
        keys = Keys(scenario.partitions)
        return Masters(binary, folder, keys=keys, plan=plan, random=random)
    jumps = Disturbance.SERVER_CLOCK in scenario.kinds
    clock = SkewedClock(folder / "server-clock") if jumps else None
    return SingleServer(
        FaultyServer(
            binary,
            folder / "primary",
            fsync=scenario.fsync,
            environment=os.environ | clock.environment if clock else None,
        ),
        folder,
        plan=plan,
        random=random,
        replicated=Disturbance.PROMOTE in scenario.kinds,
        clock=clock,
    )


def _judge_books(
    scenario: Scenario, books: dict[str, float] | None, evidence: Evidence, scene: Scene
) -> list[str]:
    undone = set(ROLLBACKS) | ({Disturbance.REDIS} if scenario.fsync == "everysec" else set())
    if undone & set(scenario.kinds):
        return []  # frames that were counted come back
    return judge_accounts(books, evidence, scene.injected)
