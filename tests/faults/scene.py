"""A running farm, its servers, and what is done to them: each takes as long as it lasts."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from streamer.transport.keys import Keys
from tests.faults.clock import JUMPS_SECONDS
from tests.faults.disturbances import Disturbance
from tests.faults.poison import poison

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

    import redis

    from tests.faults.clock import SkewedClock
    from tests.faults.farm import Farm

MAX_DEADLY = 2
"""Entries that kill, in one run."""


class Servers(Protocol):
    """Where the data is: one server or the masters of a cluster."""

    @property
    def url(self) -> str:
        """For workers and subscribers: things go wrong on this way."""

    @property
    def direct_url(self) -> str:
        """For those who judge."""

    @property
    def aof_file(self) -> Path | None:
        """What holds the whole history, if one file does."""

    def client(self) -> redis.Redis:
        """A connection at `direct_url`, to be closed."""

    def disturb(self, what: Disturbance) -> bool:
        """Do it, once, to its end. False: it could not be done now."""

    def hurt(self) -> None:
        """Let the wire go wrong."""

    def heal(self) -> None:
        """End everything that still goes wrong."""

    def used_bytes(self) -> int:
        """Memory that data and buffers take, of the fullest server."""


@dataclass(slots=True)
class Scene:
    """What a run takes place in.

    Attributes:
        servers: Where the data is.
        farm: The workers.
        random: Decides.
        lease_seconds: Of the farm.
        clock: That the workers go by, if it is to jump.
        keys: Key names.
        streams: Those wanted so far.
        injected: Bad entries: stream and position.
        counts: What was done.
    """

    servers: Servers
    farm: Farm
    random: Random
    lease_seconds: float
    clock: SkewedClock | None = None
    keys: Keys = field(default_factory=Keys)
    streams: list[str] = field(default_factory=list)
    injected: set[tuple[str, int]] = field(default_factory=set)
    counts: Counter[Disturbance] = field(default_factory=Counter)
    _pause: threading.Event = field(default_factory=threading.Event)

    def disturb(self, what: Disturbance) -> None:
        """Do it, once, to its end."""
        done = True
        match what:
            case Disturbance.KILL:
                self.farm.kill(*self._anyone())
            case Disturbance.STOP:
                self._stop()
            case Disturbance.CLOCK:
                assert self.clock is not None
                self.clock.jump(self.random.choice(JUMPS_SECONDS))
            case Disturbance.POISON | Disturbance.DEADLY:
                done = self._poison(deadly=what is Disturbance.DEADLY)
            case _:
                done = self.servers.disturb(what)
        self.counts[what] += done

    def heal(self) -> None:
        """End everything that still goes wrong."""
        self.servers.heal()
        self.farm.resume_all()

    def _anyone(self) -> tuple[str, int]:
        return self.random.choice(sorted(self.farm.posts))

    def _stop(self) -> None:
        who = self._anyone()
        self.farm.pause(*who)
        self._pause.wait(self.lease_seconds * self.random.uniform(1.5, 2.5))
        self.farm.resume(*who)

    def _poison(self, *, deadly: bool) -> bool:
        if deadly and self.counts[Disturbance.DEADLY] == MAX_DEADLY:
            return False  # each costs four workers: a supervisor's patience is part of the design
        with contextlib.closing(self.servers.client()) as client:
            where = poison(client, self.streams, keys=self.keys, random=self.random, deadly=deadly)
        if where is not None:
            self.injected.add(where)
        return where is not None
