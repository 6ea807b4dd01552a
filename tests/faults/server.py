"""A Redis or Valkey that can be killed, torn, lagged, filled up and started again."""

from __future__ import annotations

import ctypes
import resource
import shutil
import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.faults import aof
from tests.loopback import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from random import Random
    from types import TracebackType

HOST = "127.0.0.1"
START_SECONDS = 20.0
STEADY_LOOKS = 5
"""A replica is one when it has been so for as many looks."""

_PR_SET_PDEATHSIG = 1
_UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


class FaultyServer:
    """A server with an append-only file, on a port and in a folder that survive restarts.

    The file is never rewritten, so that it holds the whole history. To be entered; dies with this
    process.

    Args:
        binary: Valkey's or Redis's server.
        folder: An empty folder of its own.
        fsync: `everysec` or `always`.
        environment: Of the process; None takes ours. See `clock.py`.
        replica_of: Port of the server to replicate.
    """

    def __init__(
        self,
        binary: str,
        folder: Path,
        *,
        fsync: str = "everysec",
        environment: Mapping[str, str] | None = None,
        replica_of: int | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.fsync = fsync
        self.port = free_port()
        self._binary = binary
        self._environment = environment
        self._replica_of = replica_of
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Straight to it, without a proxy."""
        return f"redis://{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        """False once it has ended, by whatever."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """What it said."""
        path = self.folder / "server.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    def client(self) -> redis.Redis:
        """A connection of its own, which does not retry."""
        return redis.Redis(host=HOST, port=self.port, socket_timeout=5, retry=Retry(NoBackoff(), 0))

    def start(self) -> None:
        """Start it, or start it again on the same port with the same data."""
        options = {
            "port": str(self.port),
            "bind": HOST,
            "dir": str(self.folder),
            "logfile": str(self.folder / "server.log"),
            "save": "",
            "appendonly": "yes",
            "appendfsync": self.fsync,
            "aof-load-truncated": "yes",
            "aof-timestamp-enabled": "yes",
            "auto-aof-rewrite-percentage": "0",
            "enable-debug-command": "local",
            "repl-diskless-sync-delay": "0",
        }
        if self._replica_of is not None:
            options["replicaof"] = f"{HOST} {self._replica_of}"
        arguments = [self._binary]
        for name, value in options.items():
            arguments += [f"--{name}", *(value.split() if name == "replicaof" else [value])]
        libc = ctypes.CDLL(None)
        self._process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=None if self._environment is None else dict(self._environment),
            start_new_session=True,
            # Python ignores SIGXFSZ, and so does the child: a full disk is an error, not a death.
            restore_signals=False,
            preexec_fn=lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL),
        )
        self._wait_until_ready()

    def kill(self) -> None:
        """SIGKILL. Idempotent."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def restart(self) -> None:
        """Start it again after its end."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """SIGSTOP: connections stay, nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def tear_tail(self, num_bytes: int, random: Random) -> int:
        """While it is down: the last write is torn, at a random byte of the last `num_bytes`.

        Returns:
            Bytes lost.
        """
        return aof.tear(self.aof_file, num_bytes=random.randint(1, num_bytes))

    def repair(self) -> None:
        """While it is down: cut off a torn write, as the guarantees page asks, with Redis' tool.

        Left to themselves, Redis 7.0 and Valkey 9.1 may keep a part of a torn call in the file, and
        replay it, mixed with later ones, at the start after the next.
        """
        tool = shutil.which("redis-check-aof")
        assert tool is not None, "install redis-tools"
        subprocess.run(
            [tool, "--fix", self.aof_file], input=b"y\n", check=True, capture_output=True
        )

    def lose_tail(self, *, num_writes: int | None = None, seconds: float | None = None) -> int:
        """While it is down: lose the last writes whole, so many or so many seconds of them.

        Acknowledged ones too: what a crash of the machine does under `everysec`.

        Returns:
            Writes lost.
        """
        assert not self.running
        if num_writes is not None:
            return aof.cut_last(self.aof_file, num_writes=num_writes)
        assert seconds is not None
        return aof.cut_since(self.aof_file, since=time.time() - seconds)

    @property
    def aof_file(self) -> Path:
        """What it appends to."""
        return aof.newest_file(self.folder)

    def fill_memory(self) -> None:
        """Every write that needs memory fails with OOM."""
        with self.client() as client:
            client.config_set("maxmemory-policy", "noeviction")
            client.config_set("maxmemory", 1)

    def free_memory(self) -> None:
        """Memory without bound again."""
        with self.client() as client:
            client.config_set("maxmemory", 0)

    def fill_disk(self, *, left_bytes: int = 0) -> None:
        """Its file can grow by so many bytes more.

        Under `everysec` writes are refused with MISCONF from then on; under `always` it exits.
        """
        limit = self.aof_file.stat().st_size + left_bytes
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    def free_disk(self) -> None:
        """Room again. The server notices within a second."""
        if self.running:
            resource.prlimit(self.pid, resource.RLIMIT_FSIZE, _UNLIMITED)

    def replica(self, folder: Path, *, through: int | None = None) -> FaultyServer:
        """A server that replicates this one; not started.

        Args:
            folder: Its own.
            through: Port of a proxy to this one. Frozen, it makes the replica lag.
        """
        return FaultyServer(
            self._binary,
            folder,
            fsync=self.fsync,
            environment=self._environment,
            replica_of=through or self.port,
        )

    def wait_for_link(self, *, seconds: float = START_SECONDS) -> None:
        """Wait until this replica has its first copy, in its own file too, and follows."""
        steady = 0
        with self.client() as client:

            def follows() -> bool:
                nonlocal steady
                replication, own = client.info("replication"), client.info("persistence")
                link = replication["master_link_status"] == "up"
                busy = own["aof_rewrite_in_progress"] or own["aof_rewrite_scheduled"]
                loading = own["loading"] or replication["master_sync_in_progress"]
                copied = link and own["aof_enabled"] and not busy and not loading
                # A first copy may be followed by a second, which begins with nothing.
                steady = steady + 1 if copied else 0
                return steady > STEADY_LOOKS

            _until(follows, seconds)

    def promote(self) -> None:
        """A primary from now on, with what it has got so far."""
        self._replica_of = None
        with self.client() as client:
            client.replicaof("NO", "ONE")

    def used_bytes(self) -> int:
        """Memory its data and buffers take."""
        with self.client() as client:
            return int(client.info("memory")["used_memory"])

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _wait_until_ready(self) -> None:
        with self.client() as client:

            def ready() -> bool:
                if not self.running:
                    raise RuntimeError(f"the server ended: {self.log[-500:]}")
                try:
                    return bool(client.ping())
                except (redis.ConnectionError, redis.TimeoutError):  # also: still loading
                    return False

            _until(ready, START_SECONDS)


def _until(condition: Callable[[], bool], seconds: float) -> None:
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("it did not happen in time")
        pause.wait(0.02)
