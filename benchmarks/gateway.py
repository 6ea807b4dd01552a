"""From the commit of an event to its arrival at a client of the gateway, on loopback.

One event every 40 ms, for each of N clients. The server that is measured has one core to itself;
Redis, the writer and the clients share the others. Beside it, in the same run: a subscriber that
reads Redis, and the least a server can do (`benchmarks.bare_stream`). Then a client that does not
read is added.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from benchmarks.sse_clients import Heard, listen
from streamer.core.event import EventType, encode_event
from streamer.transport.connection import Threads, connect
from streamer.transport.embedded import EmbeddedValkey
from streamer.transport.keys import Keys
from tests.eventlog import fields_of, make_event
from tests.gateways import Gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis

SERVER_CORE, OTHER_CORE = 0, 1
EVENTS_PER_SECOND = 25
FILLING_EVENTS = 600
"""Written before anything is measured: the buffers of a client that does not read are full then."""

FILLING_PER_SECOND = 80

_EVENT = make_event(0, type=EventType.PHASE_TRANSITION)
_KEY = Keys().events(0)


@dataclass(frozen=True, slots=True)
class Measured:
    """One measurement.

    Attributes:
        ages_ms: Of each event at each client.
        core: CPU seconds of the server per second.
        ended: Clients that were cut off.
    """

    ages_ms: np.ndarray
    core: float
    ended: int

    def row(self, name: str) -> str:
        """A row of the table."""
        p50, p99 = np.percentile(self.ages_ms, [50, 99])
        return (
            f"| {name} | {len(self.ages_ms)} | {p50:.2f} | {p99:.2f} | {self.ages_ms.max():.1f} "
            f"| {self.core:.0%} |"
        )

    @property
    def p99(self) -> float:
        """Of the ages, in milliseconds."""
        return float(np.percentile(self.ages_ms, 99))


class Writer:
    """Commits events at a steady pace, each with the time just before its commit."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._fields = fields_of(_EVENT)
        head, key, tail = encode_event(_EVENT).partition(b'"emitted_ns":"')
        self._head, self._tail = head + key, tail[tail.index(b'"') :]

    def write(self) -> None:
        """One event."""
        now = str(time.time_ns()).encode()
        event = self._head + now + self._tail
        self._client.xadd(_KEY, self._fields | {"event": event}, maxlen=20_000)

    def run(self, seconds: float, *, per_second: float = EVENTS_PER_SECOND) -> None:
        """Keep the pace."""
        pause = threading.Event()
        begun = time.monotonic()
        for number in range(int(seconds * per_second)):
            pause.wait(max(0.0, begun + number / per_second - time.monotonic()))
            self.write()
        pause.wait(0.5)


@contextlib.contextmanager
def gateway(url: str) -> Iterator[tuple[int, int]]:
    """The gateway's process, on its core: port and pid."""
    process = Gateway(url, settings=["gateway.connections_per_token=10000", "log.level=error"])
    # Before it has threads: they inherit it.
    os.sched_setaffinity(process.process.pid, {SERVER_CORE})
    try:
        yield process.ready().port, process.process.pid
    finally:
        process.close()


@contextlib.contextmanager
def bare_server(url: str) -> Iterator[tuple[int, int]]:
    """The bare writer's process, on the same core: port and pid."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.bare_stream", url],
        stdout=subprocess.PIPE,
        preexec_fn=lambda: os.sched_setaffinity(0, {SERVER_CORE}),
    )
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline()), process.pid
    finally:
        process.kill()
        process.communicate()


def measure_clients(
    port: int, pid: int, writer: Writer, *, clients: int, stalled: int, seconds: float
) -> Measured:
    """Connect the clients, write, and collect what they heard."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    listener = context.Process(
        target=listen,
        args=(theirs, port),
        kwargs={
            "path": "/v1/events",
            "readers": clients,
            "stalled": stalled,
            "core": OTHER_CORE,
        },
    )
    listener.start()
    assert ours.recv() == "ready"
    writer.run(FILLING_EVENTS / FILLING_PER_SECOND, per_second=FILLING_PER_SECOND)
    writer.run(1.0)
    ours.send("start")
    before, begun = _cpu_seconds(pid), time.monotonic()
    writer.run(seconds)
    used, elapsed = _cpu_seconds(pid) - before, time.monotonic() - begun
    ours.send("stop")
    heard = ours.recv()
    assert isinstance(heard, Heard)
    listener.join()
    expected = clients * int(seconds * EVENTS_PER_SECOND)
    if len(heard.ages_ms) != expected:
        print(f"expected {expected} arrivals, found {len(heard.ages_ms)}", file=sys.stderr)
    return Measured(np.array(heard.ages_ms), used / elapsed, heard.ended)


def measure_redis(url: str, writer: Writer, *, seconds: float) -> Measured:
    """One subscriber that reads Redis, and nothing else."""
    ages: list[float] = []
    done = threading.Event()
    client = connect(url, threads=Threads.ONE)

    def follow() -> None:
        place: Any = "$"
        while not done.is_set():
            answer: Any = client.xread({_KEY: place}, block=200)
            now_ns = time.time_ns()
            for _, rows in answer or []:
                for entry_id, fields in rows:
                    place = entry_id
                    event = msgspec.json.decode(fields[b"event"])
                    ages.append((now_ns - int(event["data"]["timing"]["emitted_ns"])) / 1e6)

    thread = threading.Thread(target=follow)
    thread.start()
    before, begun = time.process_time(), time.monotonic()
    writer.run(seconds)
    done.set()
    thread.join()
    core = (time.process_time() - before) / (time.monotonic() - begun)
    client.close()
    return Measured(np.array(ages), core, 0)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway")
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    os.sched_setaffinity(0, {OTHER_CORE})
    quiet: list[Measured] = []
    beside: list[Measured] = []
    print(
        f"{options.clients} clients, {EVENTS_PER_SECOND} events/s each, {options.seconds:.0f} s\n"
    )
    print("| | arrivals | p50 ms | p99 ms | most ms | core |")
    print("|---|---:|---:|---:|---:|---:|")
    with EmbeddedValkey() as server:
        client = connect(server.url, threads=Threads.ONE)
        writer = Writer(client)
        alone = measure_redis(server.url, writer, seconds=options.seconds)
        print(alone.row("one subscriber of Redis (with the writer)"), flush=True)
        load = {"clients": options.clients, "seconds": options.seconds}
        with bare_server(server.url) as (port, pid):
            bare = measure_clients(port, pid, writer, stalled=0, **load)
        print(bare.row("bare writer"), flush=True)
        for _ in range(options.rounds):
            for stalled, found in ((0, quiet), (1, beside)):
                with gateway(server.url) as (port, pid):
                    found.append(measure_clients(port, pid, writer, stalled=stalled, **load))
                name = "gateway, beside a stalled client" if stalled else "gateway"
                print(found[-1].row(name), flush=True)
        client.close()
    calm, stuck = (statistics.median(one.p99 for one in many) for many in (quiet, beside))
    spread = max(one.p99 for one in quiet) - min(one.p99 for one in quiet)
    print(f"\nmedian p99: {calm:.2f} ms (spread {spread:.2f}); beside a stalled client "
          f"{stuck:.2f} ms ({stuck / calm - 1:+.1%})")  # fmt: skip


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
