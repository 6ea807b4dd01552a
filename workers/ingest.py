"""The ingest worker: a thread per camera; one loop that moves their frames on."""

from __future__ import annotations

import secrets
import sys
import time
from typing import TYPE_CHECKING

import msgspec
import structlog

from streamer.models.bundle import Bundle
from streamer.runtime.camera import Camera
from streamer.runtime.clock import SystemClock
from streamer.sources.grammar import SourceSpec, open_source
from streamer.stages.ingest import IngestStage
from streamer.telemetry.observer import InputRefused
from streamer.transport.connection import Keys, connect, reconnect
from streamer.transport.frames import RedisFrameSender
from streamer.transport.pixels import InlinePixels, SharedMemoryPixels
from streamer.transport.redis import RedisStreamLog
from streamer.transport.registry import StreamRegistry
from streamer.transport.shm import sweep
from workers.main import main

if TYPE_CHECKING:
    from streamer.core.config import Settings
    from streamer.telemetry.observer import Observer

RECONCILE_SECONDS = 1.0
"""How often the desired sources are compared with the running ones."""


class IngestService:
    """Runs every desired source."""

    port = None

    def __init__(self, settings: Settings, observer: Observer) -> None:
        self._settings = settings
        self._observer = observer
        self._clock = SystemClock()
        self._session = secrets.token_hex(8)
        self._keys = Keys(settings.redis.partitions)
        self._bundle = Bundle.load(settings.bundle)
        self._cameras: dict[str, tuple[bytes, Camera]] = {}
        self._unusable: dict[str, bytes] = {}
        self._reconciled_at = -RECONCILE_SECONDS

    def start(self) -> None:
        """Connect; clean up after a crashed predecessor; start the cameras."""
        ingest = self._settings.ingest
        swept = sweep()
        if swept:
            structlog.get_logger().info("removed rings of crashed workers", count=len(swept))
        self._client = connect(self._settings.redis.url)
        self._registry = StreamRegistry(self._client, keys=self._keys)
        self._log = RedisStreamLog(
            self._client, keys=self._keys, max_unread=self._settings.redis.max_unread_entries
        )
        pixels = (
            SharedMemoryPixels(num_slots=ingest.frame_slots)
            if ingest.frame_path == "shared_memory"
            else InlinePixels()
        )
        self._sender = RedisFrameSender(
            self._client, keys=self._keys, pixels=pixels, num_slots=ingest.frame_slots
        )
        self._reconcile()

    def turn(self, *, timeout_seconds: float) -> None:
        """Move on what cameras have queued."""
        self._flush(timeout_seconds)
        if time.monotonic() - self._reconciled_at > RECONCILE_SECONDS:
            self._reconcile()

    def recover(self) -> None:
        """Connections are made anew by the client's pool."""
        reconnect(self._client)

    def drain(self, *, deadline_seconds: float) -> None:
        """Stop the cameras; move on what they had queued."""
        deadline = time.monotonic() + deadline_seconds
        for _, camera in self._cameras.values():
            camera.stop()
        while any(camera.running for _, camera in self._cameras.values()):
            if time.monotonic() > deadline:
                break
            self._flush(0.02)
        self._flush(0.0)

    def close(self) -> None:
        """Free shared memory and the connection."""
        for _, camera in self._cameras.values():
            camera.stop()
        if hasattr(self, "_sender"):
            self._sender.close()
        if hasattr(self, "_client"):
            self._client.close()

    def _flush(self, timeout_seconds: float) -> None:
        sent = self._sender.flush(timeout_seconds=timeout_seconds)
        if sent is not None:
            self._observer.observe(sent)

    def _reconcile(self) -> None:
        self._reconciled_at = time.monotonic()
        desired = {
            stream_id: bytes(entry.source) for stream_id, entry in self._registry.entries().items()
        }
        for stream_id, (source, camera) in list(self._cameras.items()):
            if desired.get(stream_id) != source:
                camera.stop()
                # Its successor must wait: two threads would write one ring, and interleave epochs.
                if not camera.running:
                    del self._cameras[stream_id]
        for stream_id, source in desired.items():
            if stream_id not in self._cameras:
                self._start(stream_id, source)

    def _start(self, stream_id: str, source: bytes) -> None:
        try:
            spec = msgspec.json.decode(source, type=SourceSpec)
        except msgspec.MsgspecError as error:
            if self._unusable.get(stream_id) != source:
                self._unusable[stream_id] = source
                self._observer.observe(InputRefused(stream_id, "source", str(error)))
            return
        camera = self._camera(spec)
        self._cameras[stream_id] = (source, camera)
        camera.start()

    def _camera(self, spec: SourceSpec) -> Camera:
        ingest = self._settings.ingest
        return Camera(
            open_source=lambda: open_source(
                spec,
                clock=self._clock,
                open_timeout_seconds=ingest.open_timeout_seconds,
                frame_timeout_seconds=ingest.frame_timeout_seconds,
            ),
            stage=IngestStage(
                spec.stream_id,
                session=self._session,
                analysis_fps=ingest.analysis_fps or self._bundle.config.analysis_fps,
            ),
            log=self._log,
            sender=self._sender,
            preprocess=self._bundle.preprocess,
            clock=self._clock,
            observer=self._observer,
            session=self._session,
        )


if __name__ == "__main__":
    sys.exit(main("ingest", lambda settings, observer, _: IngestService(settings, observer)))
