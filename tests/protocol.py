"""The data plane's protocol as a state machine: producers, workers, and all that can befall them.

Producers are real outboxes, workers real pumps with leases, the server is a real one. After every
step, what it holds is compared with an offline fold of the entries in its log.
"""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from streamer.core.clock import Mark
from streamer.core.errors import TransportError
from streamer.core.feature import StreamStatus
from streamer.runtime.outbox import Outbox
from streamer.runtime.pump import Pump, PumpOptions
from streamer.stages.temporal import TemporalStage
from streamer.state.redis import RedisCheckpointStore, Retention
from streamer.transport.codec import encode_input, read_entry
from streamer.transport.keys import Keys
from streamer.transport.lease import partition_leases, watch_leases
from streamer.transport.redis import RedisInputReader, RedisStreamLog
from streamer.transport.state_codec import encode_state
from streamer.transport.transport import LogEntry, PublishAnswer
from tests.models import LeakyModel, bundle, features_of
from tests.offline import OfflineFold, untimed_json
from tests.samples import START_NS, STEP_NS, chunk, note
from tests.wires import PATIENCE_SECONDS, Contents, Fault, Gate, Killed, Server, Wire

if TYPE_CHECKING:
    from collections.abc import Collection

    from streamer.core.feature import InputEntry

CAMERAS = "cameras"
"""Holds the leases of all sources."""

KEYS = Keys(2)
STREAMS = ("cam0", "cam1", "cam2")
"""The first two are of partition 0, the last of 1."""
ENCODERS = {"x": ("cam0", "cam2"), "y": ("cam1",)}
WORKERS = ("a", "b", "c")
KEEP = Retention(replay_seconds=1e6)
"""Nothing of the log is trimmed."""
MAX_ATTEMPTS = 2
LEASE_SECONDS = 3_600.0
MAX_ROUNDS = 100
"""Of healthy work, after which all must be done."""

LABELS = {"idle": (0,), "work": (1,), "work, lamp": (1, 0), "rest, door": (2, 1)}
ODD = {
    "unreadable": {"features": np.zeros((1, 0))},
    "foreign": {"encoder_id": "sha256:other", "features": np.zeros((1, 5))},
    "infinite": {"features": np.full((1, 5), np.inf)},
}
HOLES = {"hole": 3, "long hole": 15}
NOTES = {"live": StreamStatus.LIVE, "ended": StreamStatus.ENDED}


@dataclass
class Parts:
    """What the machine is made of; mutants change one."""

    store: type[RedisCheckpointStore] = RedisCheckpointStore
    outbox: type[Outbox] = Outbox
    pump: type[Pump] = Pump
    workers_doubt: bool = True
    """Whether a worker whose connection broke drops what it has in memory."""
    only_owners_commit: bool = True
    """Whether that is checked."""


class Bench:
    """The server and the connections to it, for all examples.

    Args:
        url: The server's.
    """

    def __init__(self, url: str) -> None:
        self.server = Server(url)
        self.wires = {name: Wire(self.server, url) for name in (*ENCODERS, *WORKERS, "camera")}

    def clear(self) -> None:
        self.server.clear()
        for wire in self.wires.values():
            wire.reset()

    def close(self) -> None:
        for wire in self.wires.values():
            wire.client.close()
        self.server.client.close()


class Time:
    """A clock that never says the same twice."""

    def __init__(self) -> None:
        self._now_ns = 10**18

    def mark(self) -> Mark:
        return Mark("test", self.utc_ns())

    def utc_ns(self) -> int:
        self._now_ns += 1_000_000
        return self._now_ns


class Deaf:
    def observe(self, record: Any) -> None:
        pass


@dataclass
class Camera:
    """What an ingest worker knows of its source."""

    stream_id: str
    session: str = ""
    epoch: int = 0
    next_seq: int = 0
    next_note: int = 0
    fenced: bool = True


class Encoder:
    """An outbox, and what it owes: all that was added and not refused."""

    def __init__(self, machine: Protocol, name: str) -> None:
        self._machine = machine
        self.wire = machine.bench.wires[name]
        self.start()

    def start(self) -> None:
        """Begin with nothing in memory."""
        self.owed: dict[tuple[str, int], InputEntry] = {}
        self.outbox = self._machine.parts.outbox(
            RedisStreamLog(self.wire.client, keys=KEYS),
            observer=Deaf(),
            refused=self._refused,
            clock=lambda: 0.0,
        )

    def add(self, entry: InputEntry) -> None:
        self.owed[entry.stream_id, entry.entry_us] = entry
        self.outbox.add([entry])

    def publish(self) -> None:
        try:
            self.outbox.publish()
        except TransportError:
            self.outbox.doubt()

    def _refused(self, stream_id: str, entry_us: int) -> None:
        entry = self.owed.pop((stream_id, entry_us))
        stored = self._machine.session(stream_id)
        assert stored != entry.session, "an entry of the current session was refused"
        camera = self._machine.cameras[stream_id]
        camera.fenced = camera.fenced or camera.session == entry.session


class Worker:
    """A pump, and the leases it believes to hold."""

    def __init__(self, machine: Protocol, name: str) -> None:
        self._machine = machine
        self._name = name
        self._lives = 0
        self.wire = machine.bench.wires[name]
        self._thread: threading.Thread | None = None
        self._gate = Gate()
        self._error: BaseException | None = None
        self.start()

    @property
    def frozen(self) -> bool:
        return self._thread is not None

    def start(self) -> None:
        """Begin with nothing in memory, in a new name."""
        parts, client = self._machine.parts, self.wire.client
        self._lives += 1
        self.owner = f"{self._name}{self._lives}"
        self._held: set[int] = set()
        self._leases = partition_leases(client, keys=KEYS)
        self.pump = parts.pump(
            stage=TemporalStage(bundle(), LeakyModel(4)),
            reader=RedisInputReader(client, keys=KEYS),
            store=parts.store(client, keys=KEYS, retention=KEEP),
            models=None,  # nobody takes over from another model
            clock=self._machine.time,
            observer=Deaf(),
            options=PumpOptions(owner=self.owner, max_attempts=MAX_ATTEMPTS, replay_seconds=1e6),
        )

    def tick(self, partitions: Collection[int]) -> bool:
        """As the temporal worker's turn. Returns whether there was anything to do."""
        try:
            if partitions:
                self.share(partitions)
            busy = self.pump.turn(timeout_seconds=0)
        except TransportError:
            self.recover()
            return True
        if self.pump.fenced:
            self.recover()
        return busy

    def share(self, partitions: Collection[int]) -> None:
        """Renew and take leases, as `Shares` does; hold the streams that go with them."""
        granted = self._leases.acquire(
            sorted(self._held.union(partitions)), owner=self.owner, ttl_seconds=LEASE_SECONDS
        )
        self._held = set(granted)
        slots = {s: slot for slot, s in enumerate(STREAMS)}
        mine = {s: slot for s, slot in slots.items() if KEYS.partition(s) in self._held}
        self.pump.assign(mine)

    def release(self) -> None:
        """Give all leases back, at a boundary."""
        self.pump.drop(self.pump.streams)
        try:
            self._leases.release(self._held, owner=self.owner)
        except TransportError:
            self.recover()
        self._held.clear()

    def recover(self) -> None:
        """As the temporal worker does when its connection broke, or a commit was fenced."""
        self.pump.fenced = False
        self._held.clear()
        if self._machine.parts.workers_doubt:
            self.pump.clear()

    def freeze(self, partitions: Collection[int]) -> None:
        """Tick until just before a commit. If there is none, that was all."""
        self._gate = self.wire.gate = Gate()
        self._thread = threading.Thread(target=self._tick_in_thread, args=[partitions])
        self._thread.start()
        assert self._gate.reached.wait(PATIENCE_SECONDS)
        if self.wire.gate is not None:  # never got there
            self.thaw()

    def thaw(self, *, killed: bool = False) -> None:
        """Go on from there, or die there."""
        if self._thread is None:
            return
        self.wire.gate = None
        self._gate.killed = killed
        self._gate.opened.set()
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive()
        error, self._thread, self._error = self._error, None, None
        if error is not None and not killed:
            raise error

    def crash(self) -> None:
        self.thaw(killed=True)
        self.wire.reset()
        self.start()

    def _tick_in_thread(self, partitions: Collection[int]) -> None:
        try:
            self.tick(partitions)
        except Killed:
            pass
        except BaseException as error:
            self._error = error
        finally:
            self._gate.reached.set()


streams = st.sampled_from(STREAMS)
encoders = st.sampled_from(sorted(ENCODERS))
workers = st.sampled_from(WORKERS)
shares = st.sampled_from([(0, 1), (0, 1), (0,), (1,), ()])
faults = st.one_of(st.none(), st.tuples(st.sampled_from(list(Fault)), st.integers(0, 3)))


class Protocol(RuleBasedStateMachine):
    """Publish, read, commit; crash, expire, zombie, lost answers, rollback.

    Args:
        bench: Where it happens.
        parts: What it is made of.
    """

    def __init__(self, bench: Bench, parts: Parts) -> None:
        super().__init__()
        self.bench, self.parts = bench, parts
        bench.clear()
        self.time = Time()
        self._offline = OfflineFold()
        self._now_ns = START_NS
        self._num_sessions = 0
        self._logs: dict[str, list[tuple[int, bytes]]] = {}
        self._checked: Contents | None = None
        self.cameras = {name: Camera(name) for name in STREAMS}
        self.encoders = {name: Encoder(self, name) for name in ENCODERS}
        self.encoder_of = {s: self.encoders[e] for e, names in ENCODERS.items() for s in names}
        self.workers = {name: Worker(self, name) for name in WORKERS}

    def session(self, stream_id: str) -> str:
        """Who may publish now: as the server has it."""
        stored: Any = self.bench.server.client.hget(KEYS.source(stream_id), "session")
        return (stored or b"").decode()

    # Producers

    @initialize()
    def begin(self) -> None:
        for stream_id in STREAMS:
            self._open(stream_id, new_session=True)

    @rule(stream_id=streams, label=st.sampled_from(sorted(LABELS)), cuts=st.integers(1, 5))
    def offer_frames(self, stream_id: str, label: str, cuts: int) -> None:
        """Five frames of one label, in so many chunks."""
        rows = np.array([features_of(*LABELS[label])] * 5)
        for part in np.array_split(rows, cuts):
            self._offer_chunk(stream_id, part)
        self.encoder_of[stream_id].publish()

    @rule(stream_id=streams, kind=st.sampled_from(sorted([*ODD, *HOLES, *NOTES])))
    def offer(self, stream_id: str, kind: str) -> None:
        """Something that is no frame of the kind that is expected."""
        camera = self._camera(stream_id)
        if kind in ODD:
            self._offer_chunk(stream_id, **ODD[kind])
        elif kind in HOLES:
            camera.next_seq += HOLES[kind]
            self._offer_chunk(stream_id, features_of(1, 0)[None])
        else:
            self._now_ns += STEP_NS
            entry = note(
                stream_id,
                NOTES[kind],
                session=camera.session,
                epoch=camera.epoch,
                note_seq=camera.next_note,
                entry_us=self._now_ns // 1000,
                noted_at_ns=self._now_ns,
            )
            camera.next_note += 1
            self.encoder_of[stream_id].add(entry)

    @rule(encoder=encoders, fault=faults)
    def publish(self, encoder: str, fault: tuple[Fault, int] | None) -> None:
        chosen = self.encoders[encoder]
        chosen.wire.fail(*_fault(fault))
        chosen.publish()
        chosen.wire.reset()

    @rule(stream_id=streams, new_session=st.booleans(), fault=faults)
    def open(self, stream_id: str, new_session: bool, fault: tuple[Fault, int] | None) -> None:
        """A camera opens its source again; or another worker does."""
        wire = self.bench.wires["camera"]
        wire.fail(*_fault(fault))
        self._open(stream_id, new_session=new_session)
        wire.reset()

    @rule(encoder=encoders, new_session=st.booleans())
    def crash_encoder(self, encoder: str, new_session: bool) -> None:
        """What it had not got into the log is lost, and so is its resend buffer."""
        self.encoders[encoder].start()
        if new_session:
            for stream_id in ENCODERS[encoder]:
                self._open(stream_id, new_session=True)

    @rule(stream_id=streams, place=st.integers(0, 100))
    def publish_again(self, stream_id: str, place: int) -> None:
        """An entry comes a second time, late."""
        rows = self._logs.get(stream_id)
        if not rows:
            return
        entry = read_entry(stream_id, *rows[place % len(rows)])
        if isinstance(entry, LogEntry):
            log = RedisStreamLog(self.bench.wires["camera"].client, keys=KEYS)
            (published,) = log.publish([entry.entry], previous={})
            assert published.answer in (PublishAnswer.DUPLICATE, PublishAnswer.FENCED)

    @rule(stream_id=streams)
    def write_junk(self, stream_id: str) -> None:
        """Somebody writes into the log by hand."""
        there = {position for position, _ in self._logs.get(stream_id, [])}
        owed = {entry_us for of, entry_us in self.encoder_of[stream_id].owed if of == stream_id}
        if not owed <= there:
            return  # these would have to go in before it
        self.bench.server.remember()
        self._now_ns += STEP_NS
        key = KEYS.features(stream_id)
        self.bench.server.client.xadd(key, {"e": b"junk"}, id=f"{self._now_ns // 1000}-0")

    # Workers

    @rule(worker=workers, partitions=shares, fault=faults)
    def tick(
        self, worker: str, partitions: tuple[int, ...], fault: tuple[Fault, int] | None
    ) -> None:
        chosen = self.workers[worker]
        if not chosen.frozen:
            chosen.wire.fail(*_fault(fault))
            chosen.tick(partitions)
            chosen.wire.reset()

    @rule()
    def work(self) -> None:
        """All goes well for a while."""
        for encoder in self.encoders.values():
            encoder.publish()
        for worker in self.workers.values():
            if not worker.frozen:
                worker.tick((0, 1))

    @rule(worker=workers, times=st.integers(1, 3))
    def crash_at_commit(self, worker: str, times: int) -> None:
        """It takes the leases, reads, steps, and dies of it; again and again."""
        for _ in range(times):
            self._expire((0, 1))
            self.workers[worker].crash()
            self.workers[worker].freeze((0, 1))
            self.workers[worker].crash()

    @rule(worker=workers, partitions=shares)
    def freeze(self, worker: str, partitions: tuple[int, ...]) -> None:
        """It has read and stepped; the commit comes later."""
        if not self.workers[worker].frozen:
            self.workers[worker].freeze(partitions)

    @rule(stream_id=streams, sleeper=workers, other=workers, works=st.booleans())
    def zombie(self, stream_id: str, sleeper: str, other: str, works: bool) -> None:
        """One is about to commit when its leases end and another takes over."""
        one, two = self.workers[sleeper], self.workers[other]
        if one is two or one.frozen or two.frozen:
            return
        self._expire((0, 1))
        one.tick((0, 1))
        self.offer_frames(stream_id, "work, lamp", 2)
        one.freeze(())
        self._expire((0, 1))
        two.share((0, 1))
        if works:
            two.tick(())
        one.thaw()

    @rule(stream_id=streams, worker=workers, writes=st.integers(1, 4), more=st.booleans())
    def memory_ahead(self, stream_id: str, worker: str, writes: int, more: bool) -> None:
        """The server loses what a worker has in memory; more input comes, or none ever."""
        if self.workers[worker].frozen:
            return
        self._expire((0, 1))
        self.workers[worker].tick((0, 1))
        self.offer_frames(stream_id, "work, lamp", 2)
        self.workers[worker].tick(())
        self.roll_back(writes, told=False)
        if more:
            self.offer_frames(stream_id, "rest, door", 2)
            self.workers[worker].tick(())
        else:
            self.settle()

    @rule(worker=workers)
    def thaw(self, worker: str) -> None:
        self.workers[worker].thaw()

    @rule(worker=workers)
    def crash(self, worker: str) -> None:
        self.workers[worker].crash()

    @rule(worker=workers)
    def release(self, worker: str) -> None:
        if not self.workers[worker].frozen:
            self.workers[worker].release()

    @rule(partitions=shares, worker=workers)
    def expire(self, partitions: tuple[int, ...], worker: str) -> None:
        """Leases end, and another worker is there at once."""
        self._expire(partitions)
        if partitions and not self.workers[worker].frozen:
            self.workers[worker].tick(partitions)

    # The server

    @rule(writes=st.integers(1, 8), told=st.booleans())
    def roll_back(self, writes: int, told: bool) -> None:
        """The server loses its newest writes.

        Connections do not outlive that: who was about to commit is told in any case. Others may
        not have had one open.
        """
        if not self.bench.server.roll_back(writes):
            return
        self.bench.server.seen["rollback"] += 1
        self._logs.clear()
        for worker in self.workers.values():
            if worker.frozen:
                worker.wire.fail(Fault.UNSENT)
            elif told:
                worker.recover()
        if told:
            for encoder in self.encoders.values():
                encoder.outbox.doubt()

    # What must be

    @invariant()
    def nobody_but_the_owner_commits(self) -> None:
        if self.parts.only_owners_commit:
            assert not self.bench.server.strangers, "committed without the lease"

    @invariant()
    def the_server_holds_the_offline_fold(self) -> None:
        contents = self.bench.server.contents()
        if contents == self._checked:
            return
        client = self.bench.server.client
        pipeline = client.pipeline(transaction=False)
        for partition in range(KEYS.num_partitions):
            pipeline.xrange(KEYS.events(partition))
            pipeline.xrange(KEYS.dead(partition))
        for stream_id in STREAMS:
            pipeline.xrange(KEYS.features(stream_id))
        *shared, log0, log1, log2 = pipeline.execute()
        events = [fields for rows in shared[::2] for _, fields in rows]
        letters = [fields for rows in shared[1::2] for _, fields in rows]
        logs = zip(STREAMS, (log0, log1, log2), strict=True)
        for stream_id, log in logs:
            rows = [(int(key.partition(b"-")[0]), fields[b"e"]) for key, fields in log]
            known = self._logs.get(stream_id, [])
            assert rows[: len(known)] == known, "the log lost or changed an entry"
            self._logs[stream_id] = rows
            self._check(
                stream_id,
                rows,
                [fields for fields in events if fields[b"stream"] == stream_id.encode()],
                [f for f in letters if f[b"key"] == KEYS.features(stream_id).encode()],
            )
        self._checked = contents

    def _check(
        self,
        stream_id: str,
        rows: list[tuple[int, bytes]],
        events: list[dict[bytes, bytes]],
        letters: list[dict[bytes, bytes]],
    ) -> None:
        numbers = [int(fields[b"sequence"]) for fields in events]
        assert numbers == list(range(len(events))), "event numbers are not contiguous"
        ids = [fields[b"id"] for fields in events]
        assert len(set(ids)) == len(ids), "an event id occurs twice"
        poison = {
            int(f[b"position"]): f[b"detail"].decode() for f in letters if f[b"reason"] == b"poison"
        }
        self.bench.server.seen.update(f"letter {f[b'reason'].decode()}" for f in letters)
        steps = self._offline.fold(stream_id, rows, poison=poison)
        stored: Any = RedisCheckpointStore(self.bench.server.client, keys=KEYS).load([stream_id])[
            stream_id
        ]
        at = [step.after.position for step in steps]
        assert stored.position in at, "the state is after an entry that the log has not"
        steps = steps[: at.index(stored.position) + 1]
        after = steps[-1].after
        assert stored.version == after.version, "the state is of another input"
        told = [untimed_json(fields[b"event"]) for fields in events]
        expected = [event for step in steps for event in step.events]
        assert told == expected, "the events are not those of the offline fold"
        assert stored.sequence == len(events), "the state's event number is not the next"
        if stored.state is not None:
            state = replace(after.state, row=stored.state.row)
            assert stored.raw == encode_state(state), "the state is not that of the offline fold"
        kept = [(int(f[b"position"]), f[b"reason"].decode(), f[b"bytes"]) for f in letters]
        assert kept == [(m.position, m.reason, m.payload) for step in steps for m in step.letters]

    def teardown(self) -> None:
        failed = sys.exc_info()[0] is not None
        for worker in self.workers.values():
            worker.thaw(killed=failed)
        if not failed:
            self.settle()

    @rule()
    def settle(self) -> None:
        """Heal everything, work until all is quiet, and see that nothing is missing."""
        for worker in self.workers.values():
            worker.thaw()
        for wire in self.bench.wires.values():
            wire.reset()
        for stream_id in STREAMS:
            self._reclaim(stream_id)
        for encoder in self.encoders.values():
            encoder.outbox.doubt()
            encoder.outbox.publish()
            assert not encoder.outbox.waiting, "the outbox is not empty"
        self._expire(range(KEYS.num_partitions), of_the_living=False)
        self._work_until_quiet()
        self.nobody_but_the_owner_commits()
        self.the_server_holds_the_offline_fold()
        store = RedisCheckpointStore(self.bench.server.client, keys=KEYS)
        for stream_id, stored in store.load(STREAMS).items():
            rows = dict(self._logs[stream_id])
            last = max(rows, default=0)
            assert getattr(stored, "position", None) == last, "an entry was never folded in"
            for (of, entry_us), entry in self.encoder_of[stream_id].owed.items():
                if of == stream_id and entry.session == self.session(stream_id):
                    found = rows.get(entry_us)
                    assert found == encode_input(entry), "an entry that was taken is not in the log"

    def _work_until_quiet(self) -> None:
        # Three quiet rounds: a pump doubts only what was silent since its assignment before.
        quiet = 0
        for _ in range(MAX_ROUNDS):
            before = self.bench.server.contents()
            busy = [worker.tick((0, 1)) for worker in self.workers.values()]
            same = self.bench.server.contents() == before
            quiet = 0 if any(busy) or not same else quiet + 1
            if quiet == 3:
                return
        raise AssertionError("the workers never come to rest")

    def _camera(self, stream_id: str) -> Camera:
        if self.cameras[stream_id].fenced:
            self._open(stream_id, new_session=True)
        self._reclaim(stream_id)
        return self.cameras[stream_id]

    def _reclaim(self, stream_id: str) -> None:
        """What an ingest worker does that is told that Redis has forgotten its session."""
        camera, client = self.cameras[stream_id], self.bench.server.client
        if camera.session and client.hget(KEYS.source(stream_id), "session") != (
            camera.session.encode()
        ):
            self.bench.server.remember()
            leases = watch_leases(client, keys=KEYS)
            leases.acquire([stream_id], owner=CAMERAS, ttl_seconds=1e6)
            log = RedisStreamLog(client, keys=KEYS, owner=CAMERAS)
            assert log.reclaim(stream_id, session=camera.session, epoch=camera.epoch)

    def _open(self, stream_id: str, *, new_session: bool) -> None:
        before = self.cameras[stream_id]
        session, epoch = before.session, before.epoch
        if new_session or not session:
            self._num_sessions += 1
            session, epoch = f"s{self._num_sessions}", 0
        log = RedisStreamLog(self.bench.wires["camera"].client, keys=KEYS, owner=CAMERAS)
        opened = None
        while opened is None:
            try:
                opened = log.open_source(
                    stream_id, session=session, at_least_epoch=before.epoch + 1
                )
            except TransportError:
                continue  # it tries again
        epoch = max(opened.epoch, epoch + 1)
        self.cameras[stream_id] = Camera(stream_id, session, epoch, fenced=False)

    def _offer_chunk(self, stream_id: str, features: Any, **changes: Any) -> None:
        camera = self._camera(stream_id)
        times_ns = self._now_ns + STEP_NS * np.arange(1, len(features) + 1)
        self._now_ns = int(times_ns[-1])
        entry = chunk(
            stream_id,
            camera.next_seq,
            length=len(features),
            features=features,
            session=camera.session,
            epoch=camera.epoch,
            entry_us=self._now_ns // 1000,
            captured_at_ns=times_ns,
            received_at_ns=times_ns,
            **changes,
        )
        camera.next_seq += len(features)
        self.encoder_of[stream_id].add(entry)

    def _expire(self, partitions: Collection[int], *, of_the_living: bool = True) -> None:
        server, living = self.bench.server, {worker.owner for worker in self.workers.values()}
        for partition in partitions:
            owner: Any = server.client.hget(KEYS.lease(partition), "owner")
            if owner is not None and (of_the_living or owner.decode() not in living):
                server.remember()
                server.client.hset(KEYS.lease(partition), "expires_ms", 0)


def _fault(fault: tuple[Fault, int] | None) -> tuple[Fault | None, int]:
    return (None, 0) if fault is None else fault
