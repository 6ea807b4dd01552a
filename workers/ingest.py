"""The ingest worker: a thread per camera; one loop that moves their frames on."""

from __future__ import annotations

import contextlib
import secrets
import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import structlog

from streamer.core.errors import TransportError
from streamer.core.feature import StreamStatus
from streamer.models.bundle import Bundle
from streamer.runtime.camera import Camera
from streamer.runtime.clock import SystemClock
from streamer.runtime.shares import Shares
from streamer.runtime.wanted import WantedStreams
from streamer.sources.grammar import SourceSpec, open_source
from streamer.sources.guard import kind_of
from streamer.stages.ingest import IngestStage
from streamer.telemetry.records.every import (
    InputRefused,
    LeasesChanged,
    StreamReleased,
    StreamTakenUp,
)
from streamer.telemetry.records.frames import DropReason, FramesDropped
from streamer.telemetry.records.ingest import FramesRefused
from streamer.telemetry.tracing import HeadSampler
from streamer.transport.access import RedisAccess
from streamer.transport.connection import Threads, connect, reconnect
from streamer.transport.frame_sender import RedisFrameSender
from streamer.transport.install import agree
from streamer.transport.keys import Keys
from streamer.transport.lease import RedisRoster, watch_leases
from streamer.transport.permissions import Role
from streamer.transport.pixels import InlinePixels, SharedMemoryPixels
from streamer.transport.redis import RedisStreamLog
from streamer.transport.registry import StreamRegistry
from streamer.transport.shm import sweep
from workers.main import main
from workers.pictures import Pictures

if TYPE_CHECKING:
    from streamer.core.config import Settings
    from streamer.telemetry.observer import Observer

RECONCILE_SECONDS = 0.5
"""How often the desired sources are compared with the running ones."""


@dataclass(frozen=True, slots=True)
class _Watched:
    """A camera, and the registry's entry that it was made from."""

    source: bytes
    camera: Camera


class IngestService:
    """Shares the desired sources with others of its kind, and runs its own."""

    port = None

    def __init__(self, settings: Settings, observer: Observer) -> None:
        self._settings = settings
        self._observer = observer
        self._clock = SystemClock()
        self._member = secrets.token_hex(8)
        self._openings: Counter[str] = Counter()
        self._places: dict[str, tuple[int, int]] = {}
        self._keys = Keys(settings.redis.partitions)
        self._bundle = Bundle.load(settings.bundle)
        self._pictures = Pictures(
            settings, observer, keys=self._keys, preprocess=self._bundle.preprocess
        )
        tracing = settings.tracing
        self._sampler = None if tracing.endpoint is None else HeadSampler(tracing.sample_every)
        self._said: set[str] = set()
        self._over: set[str] = set()
        self._watched: dict[str, _Watched] = {}
        self._unusable: dict[str, bytes] = {}
        self._reconciled_at = -RECONCILE_SECONDS

    @property
    def remark(self) -> str:
        """What is not as it should be."""
        return self._pictures.remark

    def start(self) -> None:
        """Connect; clean up after a crashed predecessor; start the cameras."""
        ingest = self._settings.ingest
        swept = sweep()
        if swept:
            structlog.get_logger().info("removed rings of crashed workers", count=len(swept))
        redis = self._settings.redis
        access = RedisAccess.of(redis)
        self._client = connect(redis.url, access=access, threads=Threads.ONE, role=Role.INGEST)
        # The cameras' threads have connections of their own: the work loop hears of every loss.
        self._camera_client = connect(redis.url, access=access)
        agree(self._client, keys=self._keys)
        self._registry = StreamRegistry(self._client, keys=self._keys)
        self._wanted = WantedStreams(self._registry, self._observer)
        self._log, self._openings_log = (
            RedisStreamLog(
                client,
                keys=self._keys,
                max_unread=self._settings.redis.max_unread_entries,
                owner=self._member,
            )
            for client in (self._client, self._camera_client)
        )
        pixels = (
            SharedMemoryPixels(num_slots=ingest.frame_slots)
            if ingest.frame_path == "shared_memory"
            else InlinePixels()
        )
        self._sender = RedisFrameSender(
            self._client,
            keys=self._keys,
            pixels=pixels,
            reclaim=self._reclaim,
            num_slots=ingest.frame_slots,
        )
        self._shares = Shares(
            RedisRoster(self._client, keys=self._keys, role="ingest"),
            watch_leases(self._client, keys=self._keys),
            member=self._member,
            ttl_seconds=ingest.lease_seconds,
        )
        self._pictures.start()
        self._reconcile()
        self._share()

    def turn(self, *, timeout_seconds: float) -> None:
        """See to which cameras are ours; move on what they have queued."""
        if time.monotonic() - self._reconciled_at > RECONCILE_SECONDS:
            self._reconcile()
        self._share()
        self._flush(timeout_seconds)

    def recover(self) -> None:
        """Connect anew; make sure that what was sent is there, and that the leases are ours."""
        self._sender.doubt()
        self._shares.doubt()
        self._wanted.doubt()
        reconnect(self._client)

    def drain(self, *, deadline_seconds: float) -> None:
        """Stop the cameras; move on what they had queued."""
        deadline = time.monotonic() + deadline_seconds
        finished = {s: w.source for s, w in self._watched.items() if w.camera.finished}
        for watched in self._watched.values():
            watched.camera.stop()
        while any(watched.camera.running for watched in self._watched.values()):
            if time.monotonic() > deadline:
                break
            self._flush(0.02)
        self._flush(0.0)
        for stream_id, source in finished.items():
            self._registry.finish(stream_id, source)

    def close(self) -> None:
        """Give the leases back, free shared memory and the connection."""
        for watched in self._watched.values():
            watched.camera.stop()
        self._pictures.close()
        if hasattr(self, "_shares"):
            with contextlib.suppress(TransportError):  # then they expire
                self._shares.leave()
        if hasattr(self, "_sender"):
            self._sender.close()
        if hasattr(self, "_camera_client"):
            self._client.close()
            self._camera_client.close()

    def _flush(self, timeout_seconds: float) -> None:
        for record in self._sender.flush(timeout_seconds=timeout_seconds):
            self._observer.observe(record)
            if isinstance(record, FramesRefused):
                if record.frames:
                    self._observer.observe(
                        FramesDropped(record.stream_id, DropReason.REFUSED, record.frames)
                    )
                # Another worker has the stream, or had it for a while.
                watched = self._watched.get(record.stream_id)
                if record.answer in ("fenced", "forgotten") and watched is not None:
                    watched.camera.abandon()

    def _reclaim(self, stream_id: str) -> bool:
        """Redis has lost its newest writes, and with them that this stream was opened by us."""
        watched = self._watched.get(stream_id)
        if watched is None or stream_id not in self._shares.held:
            return False
        camera = watched.camera
        return self._log.reclaim(stream_id, session=camera.session, epoch=camera.epoch)

    def _reconcile(self) -> None:
        self._reconciled_at = time.monotonic()
        self._wanted.refresh()
        self._over = {s for s in self._said if self._log.folded_in(s)}

    def _share(self) -> None:
        """Hold the leases of our cameras; start and stop these accordingly."""
        sources, stopping = self._wanted.sources, self._wanted.stopping
        changes, surplus = self._shares.turn(sources.keys() | stopping.keys())
        for stream_id in changes.lost & self._watched.keys():
            self._watched[stream_id].camera.abandon()
        for stream_id, watched in list(self._watched.items()):
            self._ask(stream_id, watched, surplus=stream_id in surplus)
            if not watched.camera.running:
                # Only now may a successor begin: two threads would write one ring.
                self._flush(0.0)
                self._clear_away(stream_id, watched)
        given_back = surplus - self._watched.keys()
        self._shares.release(given_back)
        lost = len(changes.lost) + len(given_back)
        if changes.gained or lost:
            num_held = len(self._shares.held)
            self._observer.observe(LeasesChanged("streams", len(changes.gained), lost, num_held))
        if changes.gained:
            self._reconcile()  # who had one before may have ended it just before letting go
            sources, stopping = self._wanted.sources, self._wanted.stopping
        new = self._shares.held - surplus - self._watched.keys()
        for stream_id in new & (sources.keys() | stopping.keys()):
            self._start(stream_id, self._wanted.source(stream_id))

    def _ask(self, stream_id: str, watched: _Watched, *, surplus: bool) -> None:
        """Have a camera end if it is not to go on."""
        camera, wanted = watched.camera, self._wanted.sources.get(stream_id)
        if stream_id in self._wanted.stopping:
            camera.end(self._wanted.stopping[stream_id])
        elif wanted is None:
            camera.stop()
        elif surplus and not camera.recorded:
            camera.abandon()  # a file is read to its end by whom it was begun
        elif wanted != watched.source:
            camera.stop()

    def _clear_away(self, stream_id: str, watched: _Watched) -> None:
        """Of a camera that has ended, see to what is left to do."""
        camera, wanted = watched.camera, self._wanted.sources.get(stream_id)
        asked_for = self._wanted.stopping.get(stream_id)
        over = camera.finished or (asked_for is not None and camera.has_said(asked_for))
        if over and camera.said_its_end and stream_id not in self._over:
            # Until its end is folded in, others are to look for it, and we can send it again.
            self._said.add(stream_id)
            return
        if camera.failed and wanted == watched.source and stream_id in self._shares.held:
            return  # for good
        if camera.abandoned:
            # What is still on its way is of a life that is over: it must not be taken.
            self._openings[stream_id] += 1
        elif over:
            self._wanted.conclude(stream_id, source=watched.source)
        self._places[stream_id] = camera.place
        self._pictures.forget(stream_id, removed=over and asked_for is StreamStatus.ENDED)
        self._sender.forget(stream_id)
        self._said.discard(stream_id)
        del self._watched[stream_id]
        self._observer.observe(StreamReleased(stream_id))

    def _start(self, stream_id: str, source: bytes) -> None:
        last_word = self._wanted.stopping.get(stream_id)
        try:
            spec = msgspec.json.decode(source, type=SourceSpec)
        except msgspec.MsgspecError as error:
            if self._unusable.get(stream_id) != source:
                self._unusable[stream_id] = source
                self._observer.observe(InputRefused(stream_id, "source", str(error)))
            if last_word is not None:  # it never began
                self._wanted.conclude(stream_id, source=source)
            return
        camera = self._camera(spec)
        if last_word is not None:
            camera.end(last_word)
        self._watched[stream_id] = _Watched(source, camera)
        self._observer.observe(StreamTakenUp(stream_id))
        camera.start()

    def _camera(self, spec: SourceSpec) -> Camera:
        ingest, stream_id = self._settings.ingest, spec.stream_id
        session = f"{self._member}.{self._openings[stream_id]}"
        last_epoch, last_us = self._places.get(stream_id, (0, 0))
        return Camera(
            open_source=lambda: open_source(
                spec,
                clock=self._clock,
                open_timeout_seconds=ingest.open_timeout_seconds,
                frame_timeout_seconds=ingest.frame_timeout_seconds,
            ),
            stage=IngestStage(
                stream_id,
                session=session,
                analysis_fps=ingest.analysis_fps or self._bundle.config.analysis_fps,
                last_epoch=last_epoch,
                last_us=last_us,
            ),
            log=self._openings_log,
            sender=self._sender,
            preprocess=self._bundle.preprocess,
            clock=self._clock,
            observer=self._observer,
            session=session,
            kind=kind_of(spec.url),
            pictures=self._pictures.of(stream_id),
            sampler=self._sampler,
        )


if __name__ == "__main__":
    sys.exit(main("ingest", lambda settings, observer, _: IngestService(settings, observer)))
