"""The data plane's protocol as a state machine: producers, workers, and all that can befall them.

Producers are real outboxes, workers real pumps with leases, the server is a real one. After every
step, what it holds is compared with an offline fold of the entries in its log.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from streamer.core.feature import StreamStatus
from streamer.runtime.outbox import Outbox
from streamer.state.redis import RedisCheckpointStore
from streamer.transport.codec import encode_input, read_entry
from streamer.transport.redis import RedisStreamLog
from streamer.transport.transport import LogEntry, PublishAnswer
from tests.models import features_of
from tests.protocol.bench import ENCODERS, KEYS, STREAMS, WORKERS
from tests.protocol.camera import Camera, Scene
from tests.protocol.encoder import Encoder
from tests.protocol.judge import Judge
from tests.protocol.wires import Fault
from tests.protocol.worker import Time, Worker, WorkerParts

if TYPE_CHECKING:
    from collections.abc import Collection

    from tests.protocol.bench import Bench

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

    outbox: type[Outbox] = Outbox
    worker: WorkerParts = field(default_factory=WorkerParts)
    only_owners_commit: bool = True
    """Whether that is checked."""


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
        self._bench, self._parts = bench, parts
        bench.clear()
        self._judge = Judge(bench.server)
        self._scene, time = Scene(), Time()
        self._cameras = {s: Camera(s, bench=bench, scene=self._scene) for s in STREAMS}
        self._encoders = {
            name: Encoder(bench.wires[name], outbox=parts.outbox, cameras=self._cameras)
            for name in ENCODERS
        }
        self._encoder_of = {s: self._encoders[e] for e, names in ENCODERS.items() for s in names}
        self._workers = {
            name: Worker(name, bench.wires[name], parts=parts.worker, time=time) for name in WORKERS
        }

    # Producers

    @initialize()
    def begin(self) -> None:
        for stream_id in STREAMS:
            self._cameras[stream_id].open(new_session=True)

    @rule(stream_id=streams, label=st.sampled_from(sorted(LABELS)), cuts=st.integers(1, 5))
    def offer_frames(self, stream_id: str, label: str, cuts: int) -> None:
        """Five frames of one label, in so many chunks."""
        rows = np.array([features_of(*LABELS[label])] * 5)
        for part in np.array_split(rows, cuts):
            self._offer_chunk(stream_id, part)
        self._encoder_of[stream_id].publish()

    @rule(stream_id=streams, kind=st.sampled_from(sorted([*ODD, *HOLES, *NOTES])))
    def offer(self, stream_id: str, kind: str) -> None:
        """Something that is no frame of the kind that is expected."""
        camera = self._cameras[stream_id]
        if kind in ODD:
            self._offer_chunk(stream_id, **ODD[kind])
        elif kind in HOLES:
            camera.skip(HOLES[kind])
            self._offer_chunk(stream_id, features_of(1, 0)[None])
        else:
            self._encoder_of[stream_id].add(camera.note(NOTES[kind]))

    @rule(encoder=encoders, fault=faults)
    def publish(self, encoder: str, fault: tuple[Fault, int] | None) -> None:
        chosen = self._encoders[encoder]
        chosen.wire.fail(*_fault(fault))
        chosen.publish()
        chosen.wire.reset()

    @rule(stream_id=streams, new_session=st.booleans(), fault=faults)
    def open(self, stream_id: str, new_session: bool, fault: tuple[Fault, int] | None) -> None:
        """A camera opens its source again; or another worker does."""
        wire = self._bench.wires["camera"]
        wire.fail(*_fault(fault))
        self._cameras[stream_id].open(new_session=new_session)
        wire.reset()

    @rule(encoder=encoders, new_session=st.booleans())
    def crash_encoder(self, encoder: str, new_session: bool) -> None:
        """What it had not got into the log is lost, and so is its resend buffer."""
        self._encoders[encoder].start()
        if new_session:
            for stream_id in ENCODERS[encoder]:
                self._cameras[stream_id].open(new_session=True)

    @rule(stream_id=streams, place=st.integers(0, 100))
    def publish_again(self, stream_id: str, place: int) -> None:
        """An entry comes a second time, late."""
        rows = self._judge.logs.get(stream_id)
        if not rows:
            return
        entry = read_entry(stream_id, *rows[place % len(rows)])
        if isinstance(entry, LogEntry):
            log = RedisStreamLog(self._bench.wires["camera"].client, keys=KEYS)
            (published,) = log.publish([entry.entry], previous={})
            assert published.answer in (PublishAnswer.DUPLICATE, PublishAnswer.FENCED)

    @rule(stream_id=streams)
    def write_junk(self, stream_id: str) -> None:
        """Somebody writes into the log by hand."""
        there = {position for position, _ in self._judge.logs.get(stream_id, [])}
        owed = {entry_us for of, entry_us in self._encoder_of[stream_id].owed if of == stream_id}
        if not owed <= there:
            return  # these would have to go in before it
        self._bench.server.remember()
        self._scene.pass_by()
        key = KEYS.features(stream_id)
        self._bench.server.client.xadd(key, {"e": b"junk"}, id=f"{self._scene.now_ns // 1000}-0")

    # Workers

    @rule(worker=workers, partitions=shares, fault=faults)
    def tick(
        self, worker: str, partitions: tuple[int, ...], fault: tuple[Fault, int] | None
    ) -> None:
        chosen = self._workers[worker]
        if not chosen.frozen:
            chosen.wire.fail(*_fault(fault))
            chosen.tick(partitions)
            chosen.wire.reset()

    @rule()
    def work(self) -> None:
        """All goes well for a while."""
        for encoder in self._encoders.values():
            encoder.publish()
        for worker in self._workers.values():
            if not worker.frozen:
                worker.tick((0, 1))

    @rule(worker=workers, times=st.integers(1, 3))
    def crash_at_commit(self, worker: str, times: int) -> None:
        """It takes the leases, reads, steps, and dies of it; again and again."""
        for _ in range(times):
            self._expire((0, 1))
            self._workers[worker].crash()
            self._workers[worker].freeze((0, 1))
            self._workers[worker].crash()

    @rule(worker=workers, partitions=shares)
    def freeze(self, worker: str, partitions: tuple[int, ...]) -> None:
        """It has read and stepped; the commit comes later."""
        if not self._workers[worker].frozen:
            self._workers[worker].freeze(partitions)

    @rule(stream_id=streams, sleeper=workers, other=workers, works=st.booleans())
    def zombie(self, stream_id: str, sleeper: str, other: str, works: bool) -> None:
        """One is about to commit when its leases end and another takes over."""
        one, two = self._workers[sleeper], self._workers[other]
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
        if self._workers[worker].frozen:
            return
        self._expire((0, 1))
        self._workers[worker].tick((0, 1))
        self.offer_frames(stream_id, "work, lamp", 2)
        self._workers[worker].tick(())
        self.roll_back(writes, told=False)
        if more:
            self.offer_frames(stream_id, "rest, door", 2)
            self._workers[worker].tick(())
        else:
            self.settle()

    @rule(worker=workers)
    def thaw(self, worker: str) -> None:
        self._workers[worker].thaw()

    @rule(worker=workers)
    def crash(self, worker: str) -> None:
        self._workers[worker].crash()

    @rule(worker=workers)
    def release(self, worker: str) -> None:
        if not self._workers[worker].frozen:
            self._workers[worker].release()

    @rule(partitions=shares, worker=workers)
    def expire(self, partitions: tuple[int, ...], worker: str) -> None:
        """Leases end, and another worker is there at once."""
        self._expire(partitions)
        if partitions and not self._workers[worker].frozen:
            self._workers[worker].tick(partitions)

    # The server

    @rule(writes=st.integers(1, 8), told=st.booleans())
    def roll_back(self, writes: int, told: bool) -> None:
        """The server loses its newest writes.

        Connections do not outlive that: who was about to commit is told in any case. Others may
        not have had one open.
        """
        if not self._bench.server.roll_back(writes):
            return
        self._bench.server.seen["rollback"] += 1
        self._judge.forget()
        for worker in self._workers.values():
            if worker.frozen:
                worker.wire.fail(Fault.UNSENT)
            elif told:
                worker.recover()
        if told:
            for encoder in self._encoders.values():
                encoder.outbox.doubt()

    # What must be

    @invariant()
    def nobody_but_the_owner_commits(self) -> None:
        if self._parts.only_owners_commit:
            assert not self._bench.server.strangers, "committed without the lease"

    @invariant()
    def the_server_holds_the_offline_fold(self) -> None:
        self._judge.check()

    def teardown(self) -> None:
        failed = sys.exc_info()[0] is not None
        for worker in self._workers.values():
            worker.thaw(killed=failed)
        if not failed:
            self.settle()

    @rule()
    def settle(self) -> None:
        """Heal everything, work until all is quiet, and see that nothing is missing."""
        for worker in self._workers.values():
            worker.thaw()
        for wire in self._bench.wires.values():
            wire.reset()
        for stream_id in STREAMS:
            self._cameras[stream_id].reclaim()
        for encoder in self._encoders.values():
            encoder.outbox.doubt()
            encoder.outbox.publish()
            assert not encoder.outbox.waiting, "the outbox is not empty"
        self._expire(range(KEYS.num_partitions), of_the_living=False)
        self._work_until_quiet()
        self.nobody_but_the_owner_commits()
        self.the_server_holds_the_offline_fold()
        store = RedisCheckpointStore(self._bench.server.client, keys=KEYS)
        for stream_id, stored in store.load(STREAMS).items():
            rows = dict(self._judge.logs[stream_id])
            last, session = max(rows, default=0), self._cameras[stream_id].stored_session()
            assert getattr(stored, "position", None) == last, "an entry was never folded in"
            for (of, entry_us), entry in self._encoder_of[stream_id].owed.items():
                if of == stream_id and entry.session == session:
                    found = rows.get(entry_us)
                    assert found == encode_input(entry), "an entry that was taken is not in the log"

    def _work_until_quiet(self) -> None:
        # Three quiet rounds: a pump doubts only what was silent since its assignment before.
        quiet = 0
        for _ in range(MAX_ROUNDS):
            before = self._bench.server.contents()
            busy = [worker.tick((0, 1)) for worker in self._workers.values()]
            same = self._bench.server.contents() == before
            quiet = 0 if any(busy) or not same else quiet + 1
            if quiet == 3:
                return
        raise AssertionError("the workers never come to rest")

    def _offer_chunk(self, stream_id: str, features: Any, **changes: Any) -> None:
        entry = self._cameras[stream_id].chunk(features, **changes)
        self._encoder_of[stream_id].add(entry)

    def _expire(self, partitions: Collection[int], *, of_the_living: bool = True) -> None:
        server, living = self._bench.server, {worker.owner for worker in self._workers.values()}
        for partition in partitions:
            owner: Any = server.client.hget(KEYS.lease(partition), "owner")
            if owner is not None and (of_the_living or owner.decode() not in living):
                server.remember()
                server.client.hset(KEYS.lease(partition), "expires_ms", 0)


def _fault(fault: tuple[Fault, int] | None) -> tuple[Fault | None, int]:
    return (None, 0) if fault is None else fault
