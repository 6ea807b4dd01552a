"""The masters of a cluster, each behind a proxy: slots move, masters die and come back."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any, Self

from redis.exceptions import RedisError

from streamer.transport.connection import connect_to_read
from tests.cluster import EmbeddedCluster, slot_of
from tests.faults import aof
from tests.faults.disturbances import Disturbance
from tests.faults.farm import ROLES
from tests.faults.proxy import FaultProxy

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

    import redis

    from streamer.transport.keys import Keys
    from tests.faults.plan import Plan

DOWN_SECONDS = (0.1, 2.5)
"""A master is away for less or more than the others need to notice."""

KEY_SECONDS = 0.01
"""Between two keys of a slot that moves."""


class Masters:
    """To be entered. Clients are told of the proxies only; the bus and MIGRATE go past them.

    Args:
        binary: Valkey's or Redis's server.
        folder: For data and logs.
        keys: Key names.
        plan: What goes wrong on the wire.
        random: Decides.
    """

    aof_file = None

    def __init__(
        self, binary: str, folder: Path, *, keys: Keys, plan: Plan, random: Random
    ) -> None:
        self._cluster = EmbeddedCluster(
            binary=binary, appendonly=True, front=self._put_proxy, folder=folder
        )
        self._plan = plan
        self._random = random
        self._proxies: list[FaultProxy] = []
        self._moved_at: dict[str, int] = {}
        self._stack = contextlib.ExitStack()
        self._pause = threading.Event()
        names = [keys.streams, keys.install, keys.finished]
        names += [keys.members(role) for role in ROLES]
        names += [keys.lease(partition) for partition in range(keys.num_partitions)]
        self._slots = sorted({slot_of(name) for name in names})

    @property
    def url(self) -> str:
        """Through the proxies."""
        return self._cluster.url

    @property
    def direct_url(self) -> str:
        """The same: nodes name no other ports. Only function calls go wrong on this way."""
        return self._cluster.url

    def __enter__(self) -> Self:
        with self._stack:
            self._stack.enter_context(self._cluster)
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: Any) -> None:
        self._stack.close()

    def client(self) -> redis.Redis:
        """Of the cluster, without functions of its own."""
        return connect_to_read(self.url, of="url")

    def disturb(self, what: Disturbance) -> bool:
        """Do it, once, to its end. False: it could not be done now."""
        match what:
            case Disturbance.MIGRATE:
                return self._migrate()
            case Disturbance.REDIS | Disturbance.LOST:
                self._restart(lose=what is Disturbance.LOST)
            case _:
                raise ValueError(f"a cluster can't be disturbed by {what}")
        return True

    def hurt(self) -> None:
        """Let the wires go wrong."""
        for proxy in self._proxies:
            proxy.hurt()

    def heal(self) -> None:
        """The wires are well again."""
        for proxy in self._proxies:
            proxy.heal()

    def used_bytes(self) -> int:
        """Memory that data and buffers take, of the fullest master."""
        used = [0]
        for node in self._cluster.nodes:
            with contextlib.suppress(RedisError), node.client as client:
                used.append(int(client.info("memory")["used_memory"]))
        return max(used)

    def _migrate(self) -> bool:
        """Move a slot in which there is something."""
        for slot in self._random.sample(self._slots, len(self._slots)):
            source = self._cluster.owner(slot)
            with source.client as client:
                if not client.execute_command("CLUSTER COUNTKEYSINSLOT", slot):
                    continue
            others = [node for node in self._cluster.nodes if node is not source]
            target = self._random.choice(others)
            self._cluster.migrate_slot(slot, target, pause_seconds=KEY_SECONDS)
            for node in (source, target):
                self._moved_at[node.id] = aof.newest_file(node.directory).stat().st_size
            return True
        return False

    def _restart(self, *, lose: bool) -> None:
        node = self._random.choice(self._cluster.nodes)
        name = node.id
        node.server.kill()
        if lose:
            # Not back beyond a slot's arrival: the node that had it has deleted it. Nor beyond its
            # departure: a node that has keys of another's slot wants it back.
            aof.cut_last(
                aof.newest_file(node.directory),
                num_writes=self._random.randint(1, 100),
                after=self._moved_at.get(name, 0),
            )
        self._pause.wait(self._random.uniform(*DOWN_SECONDS))
        node.server.start()
        self._cluster.wait_until_ok()

    def _put_proxy(self, port: int) -> int:
        proxy = self._stack.enter_context(FaultProxy(port, plan=self._plan))
        proxy.heal()  # faults begin when everyone is there
        self._proxies.append(proxy)
        return proxy.port
