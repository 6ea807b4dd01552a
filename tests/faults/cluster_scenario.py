"""The same on a cluster of three masters: slots move under load, masters die and come back."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from random import Random
from typing import TYPE_CHECKING

from streamer.transport.connection import connect, reconnect
from streamer.transport.keys import Keys
from tests.cluster import EmbeddedCluster, slot_of
from tests.faults.binaries import binary_of
from tests.faults.clips import write_clips
from tests.faults.evidence import collect
from tests.faults.farm import Farm, unwant, want
from tests.faults.scenario import (
    CAMERA,
    DRAIN_SECONDS,
    FILM,
    PAUSE_SECONDS,
    READY_SECONDS,
    Report,
    Scenario,
    drained,
    judge,
    settings_of,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.model import FaultModel

KINDS = ("kill", "migrate", "master")
"""A worker is killed; a slot moves to another master; a master is killed and started again."""


def run_on_cluster(scenario: Scenario, model: FaultModel, folder: Path, *, clips: Path) -> Report:
    """Run it. The scenario's kinds are not used: it is always all of `KINDS`."""
    random, keys = Random(scenario.seed), Keys(scenario.partitions)
    counts: Counter[str] = Counter()
    films = write_clips(
        clips,
        seeds=range(scenario.seed * 100, scenario.seed * 100 + scenario.num_films),
        seconds=scenario.film_seconds,
    )
    cameras = write_clips(
        clips,
        seeds=range(scenario.seed * 100 + 50, scenario.seed * 100 + 50 + scenario.num_cameras),
        seconds=2 * scenario.seconds + DRAIN_SECONDS,
    )
    sources = [f"{FILM}{i}={path}" for i, path in enumerate(films)]
    sources += [f"{CAMERA}{i}={path}#realtime" for i, path in enumerate(cameras)]
    pause = threading.Event()
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(
            EmbeddedCluster(binary=binary_of(scenario.server), appendonly=True)
        )
        client = connect(cluster.url)
        stack.callback(client.close)
        farm = stack.enter_context(
            Farm(
                cluster.url,
                folder / "logs",
                settings=settings_of(scenario, model),
                num_ingest=scenario.workers[0],
                num_encoders=scenario.workers[1],
                num_temporal=scenario.workers[2],
            )
        )
        streams = want(cluster.url, *sources, num_partitions=scenario.partitions)
        begun = time.monotonic()
        while time.monotonic() - begun < scenario.seconds:
            pause.wait(random.uniform(*PAUSE_SECONDS))
            kind = random.choice(KINDS)
            counts[kind] += 1
            match kind:
                case "kill":
                    farm.kill(*random.choice(sorted(farm.posts)))
                case "migrate":
                    slot = slot_of(keys.state(random.choice(streams)))
                    owner = cluster.owner(slot)
                    others = [node for node in cluster.nodes if node is not owner]
                    cluster.migrate_slot(slot, random.choice(others), pause_seconds=0.01)
                case "master":
                    node = random.choice(cluster.nodes)
                    node.server.kill()
                    pause.wait(random.uniform(0.1, 2.5))
                    node.server.start()
                    cluster.wait_until_ok()
        healed = time.monotonic()
        farm.wait_ready(seconds=READY_SECONDS)
        reconnect(client)
        pause.wait(2.0)
        films_only = [s for s in streams if s.startswith(FILM)]
        unwant(
            cluster.url,
            *(s for s in streams if s not in films_only),
            num_partitions=scenario.partitions,
        )
        waiting: dict[str, str] = {}
        while (passed := time.monotonic() - healed) < DRAIN_SECONDS:
            waiting = drained(client, streams, keys=keys)
            if not waiting:
                break
            pause.wait(0.2)
        farm.stop()
        evidence = collect(client, streams, keys=keys)
    wrong, dropped = judge(evidence, model)
    late = [f"{s}: not drained {DRAIN_SECONDS:g} s after healing: {w}" for s, w in waiting.items()]
    return Report(
        scenario=scenario,
        faults=counts,
        wrong=(*late, *wrong),
        num_events=len(evidence.events),
        num_entries=sum(map(len, evidence.entries.values())),
        dropped_frames=dropped,
        drained_seconds=passed,
        ended=Counter(
            f"{role}:{code}"
            for (role, _), post in farm.posts.items()
            for code in post.ended.elements()
        ),
        rss_bytes={},
        server_bytes=0,
    )
