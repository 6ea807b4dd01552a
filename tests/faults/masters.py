"""The masters of a cluster: slots move under load, masters die and come back."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any, Self

from redis.exceptions import RedisError

from streamer.transport.connection import connect_to_read
from tests.cluster import slot_of
from tests.faults.disturbances import Disturbance

if TYPE_CHECKING:
    from random import Random

    import redis

    from streamer.transport.connection import Keys
    from tests.cluster import EmbeddedCluster

DOWN_SECONDS = (0.1, 2.5)
"""A master is away for less or more than the others need to notice."""

KEY_SECONDS = 0.01
"""Between two keys of a slot that moves."""


class Masters:
    """To be entered.

    Args:
        cluster: Not started.
        keys: Key names.
        random: Decides.
    """

    aof_file = None

    def __init__(self, cluster: EmbeddedCluster, *, keys: Keys, random: Random) -> None:
        self._cluster = cluster
        self._random = random
        self._pause = threading.Event()
        names = [keys.streams, keys.install, keys.finished, keys.members("ingest")]
        names += [keys.lease(partition) for partition in range(keys.num_partitions)]
        self._slots = sorted({slot_of(name) for name in names})

    @property
    def url(self) -> str:
        """Of the cluster."""
        return self._cluster.url

    @property
    def direct_url(self) -> str:
        """Of the cluster."""
        return self._cluster.url

    def __enter__(self) -> Self:
        self._cluster.__enter__()
        return self

    def __exit__(self, *_: Any) -> None:
        self._cluster.__exit__(None, None, None)

    def client(self) -> redis.Redis:
        """Of the cluster, without functions of its own."""
        return connect_to_read(self.url, of="url")

    def disturb(self, what: Disturbance) -> bool:
        """Do it, once, to its end. False: it could not be done now."""
        match what:
            case Disturbance.MIGRATE:
                return self._migrate()
            case Disturbance.REDIS:
                node = self._random.choice(self._cluster.nodes)
                node.server.kill()
                self._pause.wait(self._random.uniform(*DOWN_SECONDS))
                node.server.start()
                self._cluster.wait_until_ok()
            case _:
                raise ValueError(f"a cluster can't be disturbed by {what}")
        return True

    def hurt(self) -> None:
        """Nothing goes wrong on the wire."""

    def heal(self) -> None:
        """Nothing goes wrong on the wire."""

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
            return True
        return False
