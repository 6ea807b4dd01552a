"""What is done to a running farm: each a function that takes as long as it lasts."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from streamer.transport.keys import Keys
from tests.faults.poison import poison
from tests.faults.proxy import FaultProxy

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

    from tests.faults.clock import SkewedClock
    from tests.faults.farm import Farm
    from tests.faults.server import FaultyServer

JUMP_SECONDS = 600.0
MAX_DEADLY = 2
"""Entries that kill, in one run."""


class Disturbance(StrEnum):
    """What goes wrong."""

    KILL = "kill"
    """SIGKILL of a worker."""
    STOP = "stop"
    """SIGSTOP of a worker for longer than the lease."""
    REDIS = "redis"
    """SIGKILL of the server, and its restart."""
    TORN = "torn"
    """The same with the last write torn."""
    LOST = "lost"
    """The same with the last writes lost whole, acknowledged ones too."""
    PROMOTE = "promote"
    """The server dies; a replica that lags takes its place."""
    WIRE = "wire"
    """Function calls are cut, delayed, swallowed: all the time, by the proxy's plan."""
    MEMORY = "memory"
    DISK = "disk"
    CLOCK = "clock"
    """The UTC clock of workers jumps by ten minutes."""
    POISON = "poison"
    """An entry in the input log that no worker can use."""
    DEADLY = "deadly"
    """One that kills the worker that uses it."""


ROLLBACKS = {Disturbance.TORN, Disturbance.LOST, Disturbance.PROMOTE}
"""What undoes writes that were acknowledged."""


@dataclass(slots=True)
class Scene:
    """A running farm and what can be done to it.

    Attributes:
        server: The one that clients reach now.
        proxy: The way to it.
        farm: The workers.
        random: Decides.
        folder: For replicas.
        lease_seconds: Of the farm.
        clock: That the workers go by, if it is to jump.
        keys: Key names.
        streams: Those wanted so far.
        injected: Bad entries: stream and position.
        counts: What was done.
    """

    server: FaultyServer
    proxy: FaultProxy
    farm: Farm
    random: Random
    folder: Path
    lease_seconds: float
    clock: SkewedClock | None = None
    keys: Keys = field(default_factory=Keys)
    streams: list[str] = field(default_factory=list)
    injected: set[tuple[str, int]] = field(default_factory=set)
    counts: Counter[Disturbance] = field(default_factory=Counter)
    _replica: FaultyServer | None = None
    _wire: FaultProxy | None = None
    _resources: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _pause: threading.Event = field(default_factory=threading.Event)

    def follow(self) -> None:
        """Start a replica, before there is anything to copy, so that its file has it all."""
        self._wire = self._resources.enter_context(FaultProxy(self.server.port))
        self._replica = self.server.replica(self.folder / "replica", through=self._wire.port)
        self._resources.enter_context(self._replica)
        self._replica.wait_for_link()

    def disturb(self, what: Disturbance) -> None:
        """Do it, once, to its end."""
        match what:
            case Disturbance.KILL:
                self.farm.kill(*self._anyone())
            case Disturbance.STOP:
                self._stop()
            case Disturbance.REDIS | Disturbance.TORN | Disturbance.LOST:
                self._restart(what)
            case Disturbance.PROMOTE:
                if self._replica is None:
                    return  # it has been promoted already
                self._promote(self._replica)
            case Disturbance.MEMORY:
                self.server.fill_memory()
                self._wait(0.5, 3.0)
                self.server.free_memory()
            case Disturbance.DISK:
                self.server.fill_disk(left_bytes=self.random.randint(0, 5_000))
                self._wait(0.5, 3.0)
                self.server.free_disk()
                if not self.server.running:  # as it does under `always`
                    self.server.restart()
            case Disturbance.CLOCK:
                assert self.clock is not None
                self.clock.jump(self.random.choice((-JUMP_SECONDS, 0.0, JUMP_SECONDS)))
            case Disturbance.POISON | Disturbance.DEADLY:
                if not self._poison(deadly=what is Disturbance.DEADLY):
                    return
            case Disturbance.WIRE:
                return  # counted by the plan
        self.counts[what] += 1

    def heal(self) -> None:
        """End everything that still goes wrong."""
        self.proxy.heal()
        self.farm.resume_all()

    def close(self) -> None:
        """Stop what was started here. Idempotent."""
        self._resources.close()

    def _anyone(self) -> tuple[str, int]:
        return self.random.choice(sorted(self.farm.posts))

    def _wait(self, low: float, high: float) -> None:
        self._pause.wait(self.random.uniform(low, high))

    def _stop(self) -> None:
        who = self._anyone()
        self.farm.pause(*who)
        self._wait(1.5 * self.lease_seconds, 2.5 * self.lease_seconds)
        self.farm.resume(*who)

    def _restart(self, what: Disturbance) -> None:
        self.server.kill()
        if what is Disturbance.TORN:
            self.server.tear_tail(2_000, self.random)
        elif what is Disturbance.LOST:
            self.server.lose_tail(num_writes=self.random.randint(1, 100))
        self._wait(0.0, 1.0)
        self.server.start()

    def _poison(self, *, deadly: bool) -> bool:
        if deadly and self.counts[Disturbance.DEADLY] == MAX_DEADLY:
            return False  # each costs four workers: a supervisor's patience is part of the design
        with contextlib.closing(self.server.client()) as client:
            where = poison(client, self.streams, keys=self.keys, random=self.random, deadly=deadly)
        if where is not None:
            self.injected.add(where)
        return where is not None

    def _promote(self, replica: FaultyServer) -> None:
        assert self._wire is not None
        self._wire.freeze()
        self._wait(0.2, 1.0)  # what is written now is lost
        self.server.kill()
        replica.promote()
        self.proxy.switch(replica.port)
        self.server, self._replica = replica, None
