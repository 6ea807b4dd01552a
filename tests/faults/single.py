"""One server behind a proxy, and perhaps a replica that is to take its place."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any, Self

from tests.faults.clock import JUMPS_SECONDS
from tests.faults.disturbances import Disturbance
from tests.faults.proxy import FaultProxy

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

    import redis

    from tests.faults.clock import SkewedClock
    from tests.faults.plan import Plan
    from tests.faults.server import FaultyServer


class SingleServer:
    """To be entered.

    Args:
        server: Not started.
        folder: For replicas.
        plan: What goes wrong on the wire.
        random: Decides.
        replicated: Whether there is a replica.
        clock: That the server goes by, if it is to jump.
    """

    def __init__(
        self,
        server: FaultyServer,
        folder: Path,
        *,
        plan: Plan,
        random: Random,
        replicated: bool = False,
        clock: SkewedClock | None = None,
    ) -> None:
        self._server = server
        self._folder = folder
        self._random = random
        self._replicated = replicated
        self._clock = clock
        self._replica: FaultyServer | None = None
        self._wire: FaultProxy | None = None
        self._proxy = FaultProxy(server.port, plan=plan)
        self._stack = contextlib.ExitStack()
        self._pause = threading.Event()

    @property
    def url(self) -> str:
        """Through the proxy."""
        return self._proxy.url

    @property
    def direct_url(self) -> str:
        """Past the proxy."""
        return self._server.url

    @property
    def aof_file(self) -> Path:
        """The server's."""
        return self._server.aof_file

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as starting:
            starting.enter_context(self._server)
            starting.enter_context(self._proxy)
            self._proxy.heal()  # faults begin when everyone is there
            if self._replicated:
                # Before there is anything to copy, so that its file has it all.
                self._wire = starting.enter_context(FaultProxy(self._server.port))
                self._replica = self._server.replica(
                    self._folder / "replica", through=self._wire.port
                )
                starting.enter_context(self._replica)
                self._replica.wait_for_link()
            self._stack = starting.pop_all()
        return self

    def __exit__(self, *_: Any) -> None:
        self._stack.close()

    def client(self) -> redis.Redis:
        """Straight to the server."""
        return self._server.client()

    def disturb(self, what: Disturbance) -> bool:
        """Do it, once, to its end. False: it could not be done now."""
        match what:
            case Disturbance.REDIS | Disturbance.TORN | Disturbance.LOST:
                self._restart(what)
            case Disturbance.PROMOTE:
                return self._promote()
            case Disturbance.MEMORY:
                self._server.fill_memory()
                self._wait(0.5, 3.0)
                self._server.free_memory()
            case Disturbance.DISK:
                self._server.fill_disk(left_bytes=self._random.randint(0, 5_000))
                self._wait(0.5, 3.0)
                self._server.free_disk()
                if not self._server.running:  # as it does under `always`
                    self._server.restart()
            case Disturbance.SERVER_CLOCK:
                assert self._clock is not None
                self._clock.jump(self._random.choice(JUMPS_SECONDS))
            case _:
                raise ValueError(f"one server can't be disturbed by {what}")
        return True

    def hurt(self) -> None:
        """Let the wire go wrong."""
        self._proxy.hurt()

    def heal(self) -> None:
        """The wire is well again."""
        self._proxy.heal()

    def used_bytes(self) -> int:
        """Memory that data and buffers take."""
        return self._server.used_bytes()

    def _wait(self, low: float, high: float) -> None:
        self._pause.wait(self._random.uniform(low, high))

    def _restart(self, what: Disturbance) -> None:
        self._server.kill()
        if what is Disturbance.TORN:
            self._server.tear_tail(2_000, self._random)
            self._server.repair()
        elif what is Disturbance.LOST:
            self._server.lose_tail(num_writes=self._random.randint(1, 100))
        self._wait(0.0, 1.0)
        self._server.start()

    def _promote(self) -> bool:
        replica, self._replica = self._replica, None
        if replica is None:
            return False  # it has been promoted already
        assert self._wire is not None
        self._wire.freeze()
        self._wait(0.2, 1.0)  # what is written now is lost
        self._server.kill()
        replica.promote()
        self._proxy.switch(replica.port)
        self._server = replica
        return True
