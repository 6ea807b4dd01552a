"""A gateway over made-up cameras: what a page can be tried on without videos or models."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from prometheus_client import CollectorRegistry

from streamer.core.config import GatewaySettings, RedisSettings, Settings
from streamer.core.state import DecoderState, OpenSegment, StreamState
from streamer.sources.spec import SourceSpec
from streamer.transport.connection import connect
from streamer.transport.embedded import EmbeddedValkey
from streamer.transport.install import agree
from streamer.transport.keys import Keys
from streamer.transport.model_registry import ModelEntry, ModelRegistry
from streamer.transport.registry import StreamRegistry
from streamer.transport.state_codec import encode_state
from tests.eventlog import fields_of
from tests.histories import ACTIONS, PERIOD_NS, PHASES, History
from workers.gateway.metrics import GatewayMetrics
from workers.gateway.server import GatewayService

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import redis

TOKEN = "sk-made-up-for-tests"


@dataclass
class Wall:
    """Cameras whose events are made up.

    Attributes:
        url: Of the gateway.
        client: A connection to its Redis.
        corrections: The file they are appended to.
        histories: By camera.
        redis_url: Where it reads.
        gateway: Can be stopped and started again.
    """

    url: str
    client: redis.Redis
    corrections: Path
    histories: dict[str, History]
    gateway: _Gateway
    redis_url: str
    keys: Keys = field(default_factory=Keys)
    sent: dict[str, int] = field(default_factory=dict)

    def publish(self) -> int:
        """Write the events that are not in the log yet, and the states after them."""
        pipeline = self.client.pipeline(transaction=False)
        published = 0
        for stream, history in self.histories.items():
            fresh = history.events[self.sent.get(stream, 0) :]
            for event in fresh:
                pipeline.xadd(self.keys.events(0), fields_of(event), maxlen=20_000)
            self.sent[stream] = len(history.events)
            published += len(fresh)
            fields = {
                "version": b"v",
                "position": 1,
                "sequence": len(history.events),
                "model": "sha256:model",
                "attempts": 0,
                "state": encode_state(state_of(history)),
            }
            pipeline.hset(self.keys.state(stream), mapping=fields)
        pipeline.execute()
        return published

    def go_on(self, steps: int = 1) -> None:
        """Let so many more things happen, up to now."""
        for history in self.histories.values():
            for _ in range(steps):
                history.step()
            history.seq = max(history.seq, (time.time_ns() - history.begin_ns) // PERIOD_NS)
        self.publish()


def state_of(history: History) -> StreamState:
    """The stored state of a camera with that history."""
    labels = (*PHASES, *ACTIONS)
    rng = Random(history.seq)
    chances_C = np.array([rng.random() ** 4 for _ in labels], np.float32)
    phase = history.phases[-1] if history.phases and history.phases[-1].end_ns is None else None
    if phase is not None:
        chances_C[labels.index(phase.label)] = 3.0
    chances_C[: len(PHASES)] /= chances_C[: len(PHASES)].sum()

    def segment(label: str, start_ns: int, confidence: float) -> OpenSegment:
        return OpenSegment(
            label=labels.index(label),
            start_seq=0,
            start_ns=start_ns,
            start_pts_seconds=0.0,
            confirmed=True,
            confidence=confidence,
        )

    decoder = DecoderState(
        smoothed_C=chances_C,
        rise_seq_C=np.zeros(len(labels), np.int64),
        rise_ns_C=np.zeros(len(labels), np.int64),
        rise_pts_C=np.zeros(len(labels), np.float64),
        phase=None if phase is None else segment(phase.label, phase.start_ns, phase.confidence),
        actions=tuple(
            segment(a.label, a.start_ns, a.confidence) for a in history.actions if a.end_ns is None
        ),
    )
    return StreamState(
        stream_id=history.stream,
        model_id="sha256:model",
        encoder_id="sha256:encoder",
        row=0,
        epoch=history.epoch,
        next_seq=history.seq + 1,
        sequence=len(history.events),
        last_captured_ns=history.now_ns,
        hidden_LH=np.zeros((1, 4), np.float32),
        cell_LH=np.zeros((1, 4), np.float32),
        decoder=decoder,
    )


@contextlib.contextmanager
def made_up_wall(folder: Path, *, num_cameras: int = 4, minutes: float = 5.0) -> Iterator[Wall]:
    """A wall with that much past, while entered."""
    keys = Keys()
    with EmbeddedValkey() as server, contextlib.ExitStack() as stack:
        client = connect(server.url)
        stack.callback(client.close)
        agree(client, keys=keys)
        entry = ModelEntry(name="made-up", phases=PHASES, actions=ACTIONS)
        ModelRegistry(client, keys=keys).put("sha256:model", entry)
        histories = {}
        for number in range(num_cameras):
            stream = f"cam{number + 1}"
            spec = SourceSpec(stream_id=stream, url=f"rtsp://camera{number + 1}.example/stream")
            StreamRegistry(client, keys=keys).put(stream, msgspec.json.encode(spec))
            frames = int(minutes * 600)
            begin_ns = time.time_ns() - frames * PERIOD_NS
            history = History(Random(number), stream=stream, begin_ns=begin_ns).walk(0)
            while history.seq < frames - 20:
                history.step()
            histories[stream] = history
        corrections = folder / "corrections.csv"
        gateway = _Gateway(server.url, corrections)
        stack.callback(gateway.stop)
        wall = Wall(gateway.url, client, corrections, histories, gateway, server.url)
        wall.publish()
        gateway.start()
        yield wall


class _Gateway:
    """One that can be started again, on the same port."""

    def __init__(self, redis_url: str, corrections: Path) -> None:
        self._redis_url = redis_url
        self._corrections = str(corrections)
        self._service = self._make(port=0)
        self.url = f"http://127.0.0.1:{self._service.port}"

    def start(self) -> None:
        self._service.start()

    def stop(self) -> None:
        self._service.drain(deadline_seconds=10.0)
        self._service.close()

    def restart(self) -> None:
        self.stop()
        self._service = self._make(port=self._service.port)
        self.start()

    def _make(self, *, port: int) -> GatewayService:
        gateway = GatewaySettings(
            port=port, corrections=self._corrections, requests_per_minute=100_000
        )
        settings = Settings(redis=RedisSettings(url=self._redis_url), gateway=gateway)
        return GatewayService(settings, GatewayMetrics(CollectorRegistry()), run_token=TOKEN)
