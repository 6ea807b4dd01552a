"""A run of the whole system with seeded faults, judged at its end."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import redis

from streamer.core.event import StatusData, decode_event, encode_event
from streamer.core.feature import FeatureChunk
from streamer.transport.keys import Keys
from streamer.transport.transport import LogEntry
from tests.faults.binaries import binary_of
from tests.faults.clips import write_clips
from tests.faults.clock import SkewedClock
from tests.faults.disturbances import ROLLBACKS, Disturbance, Scene
from tests.faults.evidence import Evidence, collect, read_events, settled
from tests.faults.farm import Farm, missing, unwant, want
from tests.faults.oracle import (
    check_admitted,
    check_sequences,
    compare_events,
    compare_states,
    fold_offline,
    timeless,
)
from tests.faults.plan import Fault, Plan
from tests.faults.proxy import FaultProxy
from tests.faults.server import FaultyServer
from tests.faults.subscriber import LiveSubscriber

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from streamer.transport.transport import Unreadable
    from tests.faults.model import FaultModel

FILM, CAMERA = "film", "camera"
"""A file waits, and nothing of it may be dropped; a camera's newest frames win."""

DRAIN_SECONDS = 30.0
READY_SECONDS = 20.0
"""Of `DRAIN_SECONDS`, until every worker is back."""

SUBSCRIBER_SECONDS = 10.0
"""Until the live subscriber has what the log has."""

MAX_RSS_BYTES = 600e6
"""Of any worker: about three times what one needs in calm."""

MUTANTS = Path(__file__).parent / "mutants"

PAUSE_SECONDS = (0.3, 1.5)
"""Between two disturbances."""

LATER_SECONDS = (1.5, 2.2)
"""The same where writes are undone: longer than what is undone reaches back."""

_NEWS_SECONDS = 2.0
"""Until every worker has looked at the wanted sources again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What is to happen.

    Attributes:
        name: For people.
        seed: Of everything.
        kinds: What goes wrong, in a seeded order, as often as there is time.
        server: `valkey` or `redis`.
        fsync: `everysec` or `always`.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What happened.

    Attributes:
        scenario: What was to happen.
        faults: How often each thing went wrong; calls of functions as `wire:KIND:FUNCTION`.
        wrong: Everything that was not as it should be; empty for a pass.
        num_events: In the log.
        num_entries: In the input log.
        dropped_frames: Of cameras: missing within their epochs.
        drained_seconds: From healing until all was folded in.
        ended: How often workers ended, by role and exit code.
        rss_bytes: Most memory any worker had, by role.
        server_bytes: Most memory the server's data took.
    """

    scenario: Scenario
    faults: Counter[str]
    wrong: tuple[str, ...]
    num_events: int
    num_entries: int
    dropped_frames: int
    drained_seconds: float
    ended: Counter[str]
    rss_bytes: dict[str, int]
    server_bytes: int

    def __str__(self) -> str:
        verdict = "ok  " if not self.wrong else "FAIL"
        rss = max(self.rss_bytes.values(), default=0) / 1e6
        return (
            f"{verdict} {self.scenario.name} {self.scenario.server} seed={self.scenario.seed} "
            f"faults={self.faults.total()} events={self.num_events} entries={self.num_entries} "
            f"dropped={self.dropped_frames} drained={self.drained_seconds:.1f}s rss={rss:.0f}MB "
            f"redis={self.server_bytes / 1e6:.0f}MB ended={dict(self.ended)}"
        )


def run(scenario: Scenario, model: FaultModel, folder: Path, *, clips: Path) -> Report:
    """Run it.

    Args:
        scenario: What is to happen.
        model: Bundle and encoder.
        folder: For the server's data and the logs.
        clips: Where clips are kept from run to run.
    """
    random = Random(scenario.seed)
    plan = Plan(
        scenario.seed,
        ratio=0.02 if Disturbance.WIRE in scenario.kinds else 0.0,
        kinds=scenario.wire_faults,
    )
    plan.ratio_of |= {"open_source": 0.2, "release": 0.5} if plan.ratio else {}
    plan.ratio_of |= scenario.ratios
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        server = FaultyServer(binary_of(scenario.server), folder / "primary", fsync=scenario.fsync)
        stack.enter_context(server)
        proxy = stack.enter_context(FaultProxy(server.port, plan=plan))
        clock = SkewedClock(folder) if Disturbance.CLOCK in scenario.kinds else None
        farm = Farm(
            proxy.url,
            folder / "logs",
            settings=settings_of(scenario, model),
            num_ingest=scenario.workers[0],
            num_encoders=scenario.workers[1],
            num_temporal=scenario.workers[2],
            environment=_environment(scenario, clock),
        )
        scene = Scene(
            server, proxy, farm, random, folder, scenario.lease_seconds, clock,
            keys=Keys(scenario.partitions),
        )  # fmt: skip
        stack.callback(scene.close)
        if Disturbance.PROMOTE in scenario.kinds:
            scene.follow()
        proxy.heal()  # faults begin when everyone is there
        stack.enter_context(farm)
        watch = stack.enter_context(_Watch(scene))
        subscriber = stack.enter_context(LiveSubscriber(proxy.url, deaf=scenario.deaf))
        streams = _play(scenario, scene, clips)
        scene.heal()
        drained_seconds, waiting = _drain(scenario, scene, streams)
        accounts = _accounts(farm)
        farm.stop()
        with contextlib.closing(scene.server.client()) as client:
            evidence = collect(
                client,
                streams,
                keys=Keys(scenario.partitions),
                aof_file=None if _keeps_all(scenario) else scene.server.aof_file,
            )
        subscriber.wait_for(len(evidence.events), seconds=SUBSCRIBER_SECONDS)
        subscriber.stop()
    wrong, dropped = judge(evidence, model, injected=scene.injected)
    if not wrong:
        wrong += judge_subscriber(subscriber, evidence, scenario)
        undone = set(ROLLBACKS) | ({Disturbance.REDIS} if scenario.fsync == "everysec" else set())
        if not undone & set(scenario.kinds):  # frames that were counted come back with those
            wrong += judge_accounts(accounts, evidence, scene.injected)
    wrong += [
        f"{role}: {size / 1e6:.0f} MB of memory, expected at most {MAX_RSS_BYTES / 1e6:.0f}"
        for role, size in watch.rss_bytes.items()
        if size > MAX_RSS_BYTES
    ]
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


def judge(
    evidence: Evidence, model: FaultModel, *, injected: Collection[tuple[str, int]] = ()
) -> tuple[list[str], int]:
    """The log, the states and the input, judged by the fold.

    Args:
        evidence: What the run left.
        model: That it ran.
        injected: Stream and position of entries that are no encoder's.

    Returns:
        What is wrong, and the frames that cameras lost.
    """
    rows = {stream_id: stored.row for stream_id, stored in evidence.stored.items()}
    wrong, holes = check_admitted(encoded(evidence, injected))
    lost = [
        f"{hole.stream_id}: {hole.num_frames} frames from {hole.first_seq} of epoch "
        f"{hole.epoch} are missing, and a file's frames must not be"
        for hole in holes
        if hole.stream_id.startswith(FILM)
    ]
    dropped = sum(hole.num_frames for hole in holes if hole.stream_id.startswith(CAMERA))
    if wrong:
        return [*map(str, wrong), *lost], dropped  # the fold would stumble over it
    folded = fold_offline(model.bundle, evidence.entries, rows=rows)
    wrong += compare_events(evidence.events, folded)
    wrong += compare_states(evidence.stored, folded)
    wrong += check_sequences(evidence.events)
    return [*map(str, wrong), *lost], dropped


def encoded(
    evidence: Evidence, injected: Collection[tuple[str, int]]
) -> dict[str, list[LogEntry | Unreadable]]:
    """The input log without what was put into it by hand."""
    return {
        stream_id: [entry for entry in own if (stream_id, entry.position) not in injected]
        for stream_id, own in evidence.entries.items()
    }


def judge_subscriber(
    subscriber: LiveSubscriber, evidence: Evidence, scenario: Scenario
) -> list[str]:
    """What a subscriber saw as it happened, against what one sees who comes late."""
    if subscriber.failure is not None:
        return [f"subscriber: {subscriber.failure!r}"]
    wrong = [f"subscriber: {one}" for one in check_sequences(subscriber.events)]
    lossy = {Disturbance.KILL, Disturbance.STOP} & set(scenario.kinds)
    if ROLLBACKS & set(scenario.kinds) and lossy:
        # What was undone and whose author was killed too may be said again in other words.
        return wrong
    late = Counter(map(_essence, evidence.events))
    live = Counter(map(_essence, subscriber.events))
    wrong += [f"subscriber: never saw {raw[:160]!r}" for raw in late - live]
    wrong += [f"subscriber: saw {raw[:160]!r}, which is not in the log" for raw in live - late]
    wrong += [f"subscriber: told of a hole: {hole}" for hole in subscriber.holes]
    return wrong


def judge_accounts(
    accounts: Mapping[str, float] | None,
    evidence: Evidence,
    injected: Collection[tuple[str, int]],
) -> list[str]:
    """Offered = admitted + dropped by reason, where no worker took its books with it."""
    if accounts is None:
        return []
    admitted = sum(
        len(entry.entry)
        for own in encoded(evidence, injected).values()
        for entry in own
        if isinstance(entry, LogEntry) and isinstance(entry.entry, FeatureChunk)
    )
    dropped = sum(n for name, n in accounts.items() if name != "analysed")
    if accounts["analysed"] == admitted + dropped:
        return []
    return [f"offered {accounts['analysed']:g} frames, {admitted} were admitted, {accounts}"]


def _accounts(farm: Farm) -> dict[str, float] | None:
    """Frames analysed, and dropped by reason, of all workers; None if one has ended on the way."""
    books: Counter[str] = Counter()
    for (role, _), post in farm.posts.items():
        if role == "temporal":
            continue
        if post.ended:
            return None
        metrics = post.metrics()
        if not metrics:
            return None
        for name, value in metrics.items():
            if name[0] == "streamer_frames_dropped_total":
                books[name[1]] += int(value)
            elif name == ("streamer_frames_total", "analysed"):
                books["analysed"] += int(value)
    return dict(books)


def _essence(raw: bytes) -> bytes:
    return encode_event(timeless(decode_event(raw)))


def _keeps_all(scenario: Scenario) -> bool:
    return scenario.retained and Disturbance.MEMORY not in scenario.kinds


def _environment(scenario: Scenario, clock: SkewedClock | None) -> dict[str, str]:
    environment = dict(clock.environment) if clock else {}
    names = [*scenario.mutants]
    if Disturbance.DEADLY in scenario.kinds:
        names.append("dies_of_poison")
    if names:
        environment["FAULTS_MUTANT"] = ",".join(names)
        paths = [str(MUTANTS), os.environ.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    return environment


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


def _play(scenario: Scenario, scene: Scene, clips: Path) -> list[str]:
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
    scene.proxy.hurt()
    begun, pause = time.monotonic(), threading.Event()
    kinds = [kind for kind in scenario.kinds if kind is not Disturbance.WIRE]
    while (passed := time.monotonic() - begun) < scenario.seconds:
        due = min(len(films), 1 + int(len(films) * passed / scenario.seconds))
        known = len(sources) - len(cameras)
        sources += [f"{FILM}{i}={films[i]}" for i in range(known, due)]
        _want(scenario, scene, sources)
        pause.wait(scene.random.uniform(*pauses))
        if kinds:
            scene.disturb(scene.random.choice(kinds))
    return _want(scenario, scene, sources)


def _want(scenario: Scenario, scene: Scene, sources: Sequence[str]) -> list[str]:
    """What is not wanted yet, or not any more: a rollback may have undone a wish."""
    new = missing(scene.server.url, *sources, num_partitions=scenario.partitions)
    if new:
        want(scene.server.url, *new, num_partitions=scenario.partitions)
    scene.streams = [source.partition("=")[0] for source in sources]
    return scene.streams


def _drain(
    scenario: Scenario, scene: Scene, streams: Sequence[str]
) -> tuple[float, dict[str, str]]:
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
    unwant(scene.server.url, *cameras, num_partitions=scenario.partitions)
    waiting: dict[str, str] = {}
    with contextlib.closing(scene.server.client()) as client:
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


class _Watch:
    """Remembers how much memory was taken, at most."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.rss_bytes: dict[str, int] = {}
        self.server_bytes = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="watch", daemon=True)

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.5):
            for (role, _), post in self._scene.farm.posts.items():
                self.rss_bytes[role] = max(self.rss_bytes.get(role, 0), post.rss_bytes())
            with contextlib.suppress(redis.RedisError, OSError):
                self.server_bytes = max(self.server_bytes, self._scene.server.used_bytes())
