"""A primary, a replica, and a sentinel that watches them: real processes on loopback."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import subprocess
from typing import TYPE_CHECKING, Self

import redis

from streamer.transport.embedded import EmbeddedValkey, _packaged_binary
from tests.loopback import connected, free_port, listening, wait_for

if TYPE_CHECKING:
    from types import TracebackType

SERVICE = "main"
PASSWORD = "pa,ss@w/rd"
_PR_SET_PDEATHSIG = 1


class EmbeddedSentinel:
    """Runs while entered. The servers want a password, the sentinel wants none.

    Args:
        binary: Another server than the one in the package.
    """

    def __init__(self, *, binary: str | None = None) -> None:
        self._binary = binary or _packaged_binary()
        self._stack = contextlib.ExitStack()
        self.servers: dict[int, EmbeddedValkey] = {}
        self.port = 0

    @property
    def primary(self) -> EmbeddedValkey:
        """The server that the sentinel takes for the primary."""
        return self.servers[self._primary_port()]

    def fail_over(self) -> None:
        """Make the other server the primary; returns when the sentinel says so.

        For ten seconds more the old one takes itself for the primary.
        """
        before = self._primary_port()
        with connected(self.port) as client:
            client.execute_command("SENTINEL FAILOVER", SERVICE)
        wait_for(lambda: self._primary_port() != before, "the failover")

    def kill_primary(self) -> None:
        """SIGKILL; returns when the sentinel has made the replica the primary."""
        before = self._primary_port()
        self.servers[before].kill()
        wait_for(lambda: self._primary_port() != before, "the failover")

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as starting:
            ports = [free_port() for _ in range(2)]
            for port in ports:
                server = EmbeddedValkey(listening(port), binary=self._binary)
                self.servers[port] = starting.enter_context(server)
                # Not earlier: EmbeddedValkey asks without a password whether it runs.
                with connected(port) as client:
                    client.config_set("masterauth", PASSWORD)
                    client.config_set("requirepass", PASSWORD)
            with connected(ports[1], password=PASSWORD) as client:
                client.replicaof("127.0.0.1", ports[0])
            self._start_sentinel(ports[0], starting)
            wait_for(self._knows_the_replica, "the sentinel")
            self._stack = starting.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _start_sentinel(self, primary_port: int, starting: contextlib.ExitStack) -> None:
        self.port = free_port()
        config = self.servers[primary_port].directory / "sentinel.conf"
        config.write_text(
            f"port {self.port}\nbind 127.0.0.1\n"
            f"sentinel monitor {SERVICE} 127.0.0.1 {primary_port} 1\n"
            f'sentinel auth-pass {SERVICE} "{PASSWORD}"\n'
            f"sentinel down-after-milliseconds {SERVICE} 1000\n"
        )
        libc = ctypes.CDLL(None)
        process = subprocess.Popen(
            [self._binary, str(config), "--sentinel"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            preexec_fn=lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM),
        )
        starting.callback(process.wait)
        starting.callback(process.kill)

    def _knows_the_replica(self) -> bool:
        try:
            with connected(self.port) as client:
                replicas = client.sentinel_slaves(SERVICE)
        except redis.ConnectionError:
            return False
        healthy = [one for one in replicas if one["master-link-status"] == "ok"]
        return len(healthy) == 1 and not healthy[0]["is_disconnected"]

    def _primary_port(self) -> int:
        with connected(self.port) as client:
            # As redis-py asks; GET-MASTER-ADDR-BY-NAME tells the new one a second earlier.
            return int(client.sentinel_masters()[SERVICE]["port"])
