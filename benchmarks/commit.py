"""What a commit costs beside the work it makes safe: its CPU, its share of the whole, its p99.

The states of N streams are stepped once and committed in one call, again and again, with real
events, against an embedded server with AOF everysec. Beside it, in the same run: the bare parts of
a frame (decode and resize are left out, so the share is overstated), and the same call with AOF
off and with AOF always.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from streamer.core.clock import ClockSource, Mark
from streamer.core.feature import FeatureChunk
from streamer.core.state import Commit
from streamer.models.bundle import Bundle
from streamer.models.encoders.registry import open_encoder
from streamer.models.temporal.registry import open_temporal_model
from streamer.runtime.outbox import Outbox
from streamer.stages.temporal import TemporalStage
from streamer.state.redis import RedisCheckpointStore
from streamer.telemetry.observer import Observers
from streamer.transport.connection import Threads, connect
from streamer.transport.embedded import EmbeddedValkey
from streamer.transport.keys import Keys
from streamer.transport.lease import partition_leases
from streamer.transport.redis import RedisInputReader, RedisStreamLog

OWNER = "benchmark"


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one commit call, over all rounds.

    Attributes:
        wall_ms: Of each call.
        client_us: CPU of this process per stream and step.
        server_us: CPU of the server per stream and step.
        step_us: CPU of stepping the model and decoding, per stream and step.
    """

    wall_ms: list[float]
    client_us: float
    server_us: float
    step_us: float

    @property
    def p50_ms(self) -> float:
        """Median of the calls."""
        return statistics.median(self.wall_ms)

    @property
    def p99_ms(self) -> float:
        """Of the calls."""
        return float(np.percentile(self.wall_ms, 99))


def measure(num_streams: int, *, aof: str, rounds: int, bundle: Bundle) -> Cost:
    """Commit `num_streams` streams per call.

    Args:
        num_streams: In one call.
        aof: `off`, `everysec` or `always`.
        rounds: Calls.
        bundle: Whose states.
    """
    options = {"appendonly": "no" if aof == "off" else "yes"}
    if aof != "off":
        options["appendfsync"] = aof
    model = open_temporal_model(bundle)
    stage = TemporalStage(bundle, model)
    keys = Keys()
    with EmbeddedValkey(options) as server:
        client = connect(server.url, threads=Threads.ONE)
        log, reader = RedisStreamLog(client, keys=keys), RedisInputReader(client, keys=keys)
        store = RedisCheckpointStore(client, keys=keys)
        partition_leases(client, keys=keys).acquire([0], owner=OWNER, ttl_seconds=3600)
        names = [f"camera-{number}" for number in range(num_streams)]
        for name in names:
            log.open_source(name, session="s")
        checkpoints = {
            name: stage.initial(name, row=row % stage.num_rows) for row, name in enumerate(names)
        }
        outbox = Outbox(log, observer=Observers(), refused=lambda *_: None)
        random = np.random.default_rng(0)
        walls, client_seconds, step_seconds, server_seconds = [], 0.0, 0.0, 0.0
        for seq in range(rounds):
            outbox.add(make_chunk(name, seq, random, bundle) for name in names)
            outbox.publish()
            positions = {name: c.position for name, c in checkpoints.items()}
            read = reader.read(positions, timeout_seconds=1, limit=32)
            begun = time.process_time()
            work = [(checkpoints[name], rows) for name, rows in read.items()]
            advanced = stage.advance(work, taken=Mark("benchmark", seq))
            step_seconds += time.process_time() - begun
            before = _cpu_seconds(client)
            begun, wall = time.process_time(), time.perf_counter()
            commits = [
                Commit(expected=one.before.version, checkpoint=one.after, events=one.events)
                for one in advanced
            ]
            store.commit(commits, owner=OWNER)
            walls.append((time.perf_counter() - wall) * 1e3)
            client_seconds += time.process_time() - begun
            server_seconds += _cpu_seconds(client) - before
            checkpoints |= {one.after.state.stream_id: one.after for one in advanced}
        client.close()
    model.close()
    steps = rounds * num_streams / 1e6
    return Cost(walls, client_seconds / steps, server_seconds / steps, step_seconds / steps)


def encode_us(bundle: Bundle, *, rounds: int = 100) -> float:
    """CPU of encoding one picture."""
    encoder = open_encoder(bundle.config.encoder, preprocess=bundle.preprocess)
    image = np.random.default_rng(0).integers(0, 255, (1, *bundle.preprocess.shape), np.uint8)
    encoder.encode(image)
    begun = time.process_time()
    for _ in range(rounds):
        encoder.encode(image)
    used = (time.process_time() - begun) / rounds * 1e6
    encoder.close()
    return used


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.commit")
    parser.add_argument("--rounds", type=int, default=1_000)
    parser.add_argument("--bundle", default="workcell")
    options = parser.parse_args()
    bundle = Bundle.load(options.bundle)
    picture_us = encode_us(bundle)
    print(f"encoding one picture: {picture_us / 1e3:.2f} ms of CPU\n")
    print("| streams per call | AOF | client µs | server µs | step µs | share | p50 ms | p99 ms |")
    print("|---:|---|---:|---:|---:|---:|---:|---:|")
    for num_streams, aof in ((1, "everysec"), (16, "off"), (16, "everysec"), (16, "always"),
                             (32, "everysec"), (64, "everysec")):  # fmt: skip
        cost = measure(num_streams, aof=aof, rounds=options.rounds, bundle=bundle)
        whole = picture_us + cost.step_us + cost.client_us + cost.server_us
        share = (cost.client_us + cost.server_us) / whole
        print(
            f"| {num_streams} | {aof} | {cost.client_us:.0f} | {cost.server_us:.0f} "
            f"| {cost.step_us:.0f} | {share:.1%} | {cost.p50_ms:.2f} | {cost.p99_ms:.2f} |",
            flush=True,
        )


def _cpu_seconds(client: Any) -> float:
    used = client.info("cpu")
    return float(used["used_cpu_sys"] + used["used_cpu_user"])


def make_chunk(name: str, seq: int, random: np.random.Generator, bundle: Bundle) -> FeatureChunk:
    """A frame of noise."""
    captured_ns = 1_767_225_600_000_000_000 + seq * 100_000_000
    return replace(
        FeatureChunk(
            stream_id=name,
            session="s",
            epoch=1,
            first_seq=seq,
            entry_us=captured_ns // 1000,
            features=random.normal(size=(1, bundle.config.feature_dim)).astype(np.float16),
            pts_seconds=np.array([seq * 0.1]),
            captured_at_ns=np.array([captured_ns]),
            received_at_ns=np.array([captured_ns]),
            latency=np.zeros((1, 3), np.float32),
            clock=ClockSource.HOST,
            encoder_id=bundle.config.encoder_id,
            ready=Mark("benchmark", seq),
        )
    )


if __name__ == "__main__":
    main()
