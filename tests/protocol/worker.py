"""A temporal worker that can be crashed, frozen before a commit, and robbed of its leases."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamer.core.clock import Mark
from streamer.core.errors import TransportError
from streamer.runtime.pump import Pump, PumpOptions
from streamer.stages.temporal import TemporalStage
from streamer.state.redis import RedisCheckpointStore, Retention
from streamer.transport.lease import partition_leases
from streamer.transport.redis import RedisInputReader
from tests.models import LeakyModel, bundle
from tests.protocol.bench import KEYS, STREAMS, Deaf
from tests.protocol.wires import PATIENCE_SECONDS, Gate, Killed

if TYPE_CHECKING:
    from collections.abc import Collection

    from tests.protocol.wires import Wire

KEEP = Retention(replay_seconds=1e6)
"""Nothing of the log is trimmed."""
MAX_ATTEMPTS = 2
LEASE_SECONDS = 3_600.0


@dataclass
class WorkerParts:
    """What a worker is made of."""

    store: type[RedisCheckpointStore] = RedisCheckpointStore
    pump: type[Pump] = Pump
    doubts: bool = True
    """Whether it drops what it has in memory when its connection broke."""


class Time:
    """A clock that never says the same twice."""

    def __init__(self) -> None:
        self._now_ns = 10**18

    def mark(self) -> Mark:
        return Mark("test", self.utc_ns())

    def utc_ns(self) -> int:
        self._now_ns += 1_000_000
        return self._now_ns


class Worker:
    """A pump, and the leases it believes to hold.

    Args:
        name: Its owner's name begins with it.
        wire: Its connection.
        parts: What it is made of.
        time: Its clock.
    """

    def __init__(self, name: str, wire: Wire, *, parts: WorkerParts, time: Time) -> None:
        self._name = name
        self._lives = 0
        self._parts = parts
        self._time = time
        self.wire = wire
        self._thread: threading.Thread | None = None
        self._gate = Gate()
        self._error: BaseException | None = None
        self.start()

    @property
    def frozen(self) -> bool:
        return self._thread is not None

    def start(self) -> None:
        """Begin with nothing in memory, in a new name."""
        parts, client = self._parts, self.wire.client
        self._lives += 1
        self.owner = f"{self._name}{self._lives}"
        self._held: set[int] = set()
        self._leases = partition_leases(client, keys=KEYS)
        self.pump = parts.pump(
            stage=TemporalStage(bundle(), LeakyModel(4)),
            reader=RedisInputReader(client, keys=KEYS),
            store=parts.store(client, keys=KEYS, retention=KEEP),
            models=None,  # nobody takes over from another model
            clock=self._time,
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
        if self._parts.doubts:
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
