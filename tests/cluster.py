"""A real cluster of three masters on loopback, whose slots can be moved and nodes killed."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import redis
from redis.crc import key_slot

from streamer.transport.embedded import EmbeddedValkey
from tests.loopback import bus_port, connected, free_port, listening, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

NUM_SLOTS = 16_384
NODE_TIMEOUT_MS = 1_000
"""After so long a master that does not answer counts as failed."""


class ClusterNode:
    """A server with a TCP port. Its files stay when it is killed.

    Args:
        binary: Another server than the one in the package.
        front: Given the port, starts what stands before it for clients, and returns its port.
        options: Further configuration directives.
    """

    def __init__(
        self,
        *,
        binary: str | None,
        front: Callable[[int], int] | None,
        options: Mapping[str, str],
    ) -> None:
        self.port = free_port(bus=True)
        self.client_port = self.port if front is None else front(self.port)
        self.server = EmbeddedValkey(
            {
                **listening(self.port),
                "cluster-announce-port": str(self.client_port),
                # The nodes reach each other without a detour.
                "cluster-announce-bus-port": str(bus_port(self.port)),
                "cluster-enabled": "yes",
                "cluster-node-timeout": str(NODE_TIMEOUT_MS),
                "appendfsync": "always",
                **options,
            },
            binary=binary,
        )
        self.directory = Path(options.get("dir", self.server.directory))

    @property
    def client(self) -> redis.Redis:
        """A connection to this node alone, closed with the garbage."""
        return connected(self.port)

    @property
    def id(self) -> str:
        """Its name in the cluster."""
        with self.client as client:
            return client.execute_command("CLUSTER MYID")

    @property
    def replicates(self) -> bool:
        """Whether it is a replica that has caught up."""
        with self.client as client:
            replication = client.info("replication")
        return replication["role"] == "slave" and replication["master_link_status"] == "up"


class EmbeddedCluster:
    """Runs while entered. Slots are spread evenly over three masters; there are no replicas.

    Args:
        binary: Another server than the one in the package.
        appendonly: Whether a master that was killed has its data when it comes back.
        front: Given a node's port, starts what stands before it for clients, and returns its port.
        folder: Where data and logs are kept; else they go with the cluster.
    """

    def __init__(
        self,
        *,
        binary: str | None = None,
        appendonly: bool = False,
        front: Callable[[int], int] | None = None,
        folder: Path | None = None,
    ) -> None:
        self._stack = contextlib.ExitStack()
        self._binary = binary
        self._appendonly = appendonly
        self._front = front
        self._folder = folder
        self.nodes: list[ClusterNode] = []

    @property
    def url(self) -> str:
        """For `connect`."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.client_port}" for node in self.nodes)

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as starting:
            for _ in range(3):
                self.nodes.append(self._start_node(starting))
            bounds = [at * NUM_SLOTS // 3 for at in range(4)]
            for at, node in enumerate(self.nodes):
                with node.client as client:
                    client.execute_command("CLUSTER SET-CONFIG-EPOCH", at + 1)
                    client.execute_command("CLUSTER ADDSLOTSRANGE", bounds[at], bounds[at + 1] - 1)
            self._meet(self.nodes[1:])
            self._stack = starting.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def add_node(self) -> ClusterNode:
        """A further master, without slots and functions."""
        node = self._start_node(self._stack)
        self.nodes.append(node)
        self._meet([node])
        return node

    def add_replica(self, primary: ClusterNode) -> ClusterNode:
        """A replica, which takes over when its primary dies."""
        node = self.add_node()
        with node.client as client:
            client.execute_command("CLUSTER REPLICATE", primary.id)
        wait_for(lambda: node.replicates, "the replica")
        return node

    def flush(self) -> None:
        """Delete all keys."""
        for node in self.nodes:
            with node.client as client, contextlib.suppress(redis.ReadOnlyError):
                client.flushall()

    def owner(self, slot: int) -> ClusterNode:
        """The master that says it has a slot."""
        for node in self.nodes:
            if node.server.running:
                with node.client as client:
                    ranges = client.execute_command("CLUSTER SLOTS")
                for low, high, master, *_ in ranges:
                    if low <= slot <= high and master[1] == node.client_port:
                        return node
        raise LookupError(f"no node has slot {slot}")

    def begin_migration(self, slot: int, target: ClusterNode) -> None:
        """Mark a slot as moving."""
        source = self.owner(slot)
        with source.client as from_, target.client as to:
            to.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", source.id)
            from_.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", target.id)

    def move_keys(
        self, slot: int, target: ClusterNode, *, batch: int = 1, pause_seconds: float = 0.0
    ) -> int:
        """Move the keys of a slot that was marked. Returns how many there were."""
        moved = 0
        with self.owner(slot).client as source:
            while keys := source.execute_command("CLUSTER GETKEYSINSLOT", slot, batch):
                to = ("127.0.0.1", target.port, "", 0, 5_000)
                source.execute_command("MIGRATE", *to, "KEYS", *keys)
                moved += len(keys)
                time.sleep(pause_seconds)
        return moved

    def end_migration(self, slot: int, target: ClusterNode) -> None:
        """Give a slot to its new owner, who is told first."""
        name = target.id
        for node in [target, *(node for node in self.nodes if node is not target)]:
            with node.client as client:
                client.execute_command("CLUSTER SETSLOT", slot, "NODE", name)

    def migrate_slot(self, slot: int, target: ClusterNode, *, pause_seconds: float = 0.0) -> int:
        """Move a slot and its keys, under load. Returns how many keys."""
        self.begin_migration(slot, target)
        moved = self.move_keys(slot, target, pause_seconds=pause_seconds)
        self.end_migration(slot, target)
        return moved

    def migrate_slot_atomically(self, slot: int, target: ClusterNode) -> None:
        """As Valkey 9 can: the target follows the source like a replica, then takes over."""
        with self.owner(slot).client as source:
            source.execute_command(
                "CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", target.id
            )
        wait_for(lambda: self.owner(slot) is target, "the migration")

    def _start_node(self, stack: contextlib.ExitStack) -> ClusterNode:
        options = {"appendonly": "yes" if self._appendonly else "no"}
        if self._folder is not None:
            own = self._folder / f"node-{len(self.nodes)}"
            own.mkdir(parents=True)
            options |= {"dir": str(own), "logfile": str(own / "server.log")}
        node = ClusterNode(binary=self._binary, front=self._front, options=options)
        stack.enter_context(node.server)
        return node

    def _meet(self, newcomers: list[ClusterNode]) -> None:
        with self.nodes[0].client as client:
            for node in newcomers:
                client.execute_command("CLUSTER MEET", "127.0.0.1", node.port)
        self.wait_until_ok()

    def wait_until_ok(self) -> None:
        """Until every node knows all the others and serves its slots."""

        def complete() -> bool:
            return all(_is_ok(node, len(self.nodes)) for node in self.nodes)

        wait_for(complete, "the cluster")


def slot_of(key: str) -> int:
    """The slot of a key."""
    return key_slot(key.encode())


def _is_ok(node: ClusterNode, num_nodes: int) -> bool:
    with node.client as client:
        info = client.execute_command("CLUSTER INFO")
        nodes = client.execute_command("CLUSTER NODES")
    # redis-py parses both.
    alive = [n for n in nodes.values() if "handshake" not in n["flags"] and n["connected"]]
    return info["cluster_state"] == "ok" and len(alive) == num_nodes
