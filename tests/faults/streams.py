"""The streams of a run: wanted one after the other, and drained at its end."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

from streamer.core.event import StatusData, decode_event
from streamer.transport.keys import Keys
from tests.faults.clips import write_clips
from tests.faults.disturbances import ROLLBACKS, Disturbance
from tests.faults.evidence import read_events, settled
from tests.faults.farm import missing, unwant, want

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import redis

    from tests.faults.scenario import Scenario
    from tests.faults.scene import Scene

FILM, CAMERA = "film", "camera"
"""A file waits, and nothing of it may be dropped; a camera's newest frames win."""

DRAIN_SECONDS = 30.0
READY_SECONDS = 20.0
"""Of `DRAIN_SECONDS`, until every worker is back."""

PAUSE_SECONDS = (0.3, 1.5)
"""Between two disturbances."""

LATER_SECONDS = (1.5, 2.2)
"""The same where writes are undone: longer than what is undone reaches back."""

_NEWS_SECONDS = 2.0
"""Until every worker has looked at the wanted sources again."""


def play(scenario: Scenario, scene: Scene, clips: Path) -> list[str]:
    """Let things go wrong for the scenario's time. Returns the streams."""
    first = scenario.seed * 100
    films = write_clips(
        clips, seeds=range(first, first + scenario.num_films), seconds=scenario.film_seconds
    )
    cameras = write_clips(
        clips,
        seeds=range(first + 50, first + 50 + scenario.num_cameras),
        seconds=2 * scenario.seconds + DRAIN_SECONDS,
    )
    sources = [f"{CAMERA}{i}={path}#realtime" for i, path in enumerate(cameras)]
    # A wish that is undone with the newest writes begins the stream again when it is made again.
    pauses = LATER_SECONDS if ROLLBACKS & set(scenario.kinds) else PAUSE_SECONDS
    scene.servers.hurt()
    begun, pause = time.monotonic(), threading.Event()
    kinds = [kind for kind in scenario.kinds if kind is not Disturbance.WIRE]
    tried: Counter[Disturbance] = Counter()
    while _goes_on(scenario, scene, passed := time.monotonic() - begun):
        due = min(len(films), 1 + int(len(films) * passed / scenario.seconds))
        known = len(sources) - len(cameras)
        sources += [f"{FILM}{i}={films[i]}" for i in range(known, due)]
        _want(scenario, scene, sources)
        pause.wait(scene.random.uniform(*pauses))
        if kinds:
            # What was tried least often, so that a short run has each.
            rarest = min(tried[kind] for kind in kinds)
            kind = scene.random.choice([kind for kind in kinds if tried[kind] == rarest])
            tried[kind] += 1
            scene.disturb(kind)
    return _want(scenario, scene, sources)


def _goes_on(scenario: Scenario, scene: Scene, passed_seconds: float) -> bool:
    """For its time; on a slow host for up to twice as long, so that each kind has been done."""
    if passed_seconds < scenario.seconds:
        return True
    kinds = [kind for kind in scenario.kinds if kind is not Disturbance.WIRE]
    undone = any(not scene.counts[kind] for kind in kinds)
    return undone and passed_seconds < 2 * scenario.seconds


def _want(scenario: Scenario, scene: Scene, sources: Sequence[str]) -> list[str]:
    """What is not wanted yet, or not any more: a rollback may have undone a wish."""
    new = missing(scene.servers.direct_url, *sources, num_partitions=scenario.partitions)
    if new:
        want(scene.servers.direct_url, *new, num_partitions=scenario.partitions)
    scene.streams = [source.partition("=")[0] for source in sources]
    return scene.streams


def drain(scenario: Scenario, scene: Scene, streams: Sequence[str]) -> tuple[float, dict[str, str]]:
    """Wait until all that was admitted is folded in and every stream has ended.

    Returns:
        Seconds since healing, and the streams that are not so far.
    """
    begun, pause = time.monotonic(), threading.Event()
    keys = Keys(scenario.partitions)
    with contextlib.suppress(TimeoutError):  # then it shows below
        scene.farm.wait_ready(seconds=READY_SECONDS)
    pause.wait(_NEWS_SECONDS)
    cameras = [stream_id for stream_id in streams if stream_id.startswith(CAMERA)]
    unwant(scene.servers.direct_url, *cameras, num_partitions=scenario.partitions)
    waiting: dict[str, str] = {}
    with contextlib.closing(scene.servers.client()) as client:
        patience = DRAIN_SECONDS if scenario.patient else DRAIN_SECONDS / 3
        while (passed := time.monotonic() - begun) < patience:
            waiting = drained(client, streams, keys=keys)
            if not waiting:
                break
            pause.wait(0.2)
    return passed, waiting


def drained(client: redis.Redis, streams: Sequence[str], *, keys: Keys) -> dict[str, str]:
    """Streams that are not through, and why; empty when all are."""
    return settled(client, streams, keys=keys) or _unended(client, streams, keys=keys)


def _unended(client: redis.Redis, streams: Sequence[str], *, keys: Keys) -> dict[str, str]:
    states: dict[str, str] = dict.fromkeys(streams, "unknown")
    for raw in read_events(client, keys):
        if b"streamer.stream.status" in raw:
            event = decode_event(raw)
            assert isinstance(event.data, StatusData)
            states[event.stream_id] = event.data.state
    return {stream_id: f"is {state}" for stream_id, state in states.items() if state != "ended"}
