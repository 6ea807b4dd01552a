"""The encoder worker: batches frames of many cameras into features, publishes them in order."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from math import nan
from typing import TYPE_CHECKING, cast

import numpy as np

from streamer.core.clock import ClockSource
from streamer.core.errors import ConfigError, ForeignKeysError, ModelError
from streamer.core.feature import StatusNote
from streamer.core.frame import FrameBatch
from streamer.models.bundle import Bundle
from streamer.models.encoders.registry import open_encoder
from streamer.runtime.batcher import Batcher
from streamer.runtime.clock import SystemClock
from streamer.runtime.measuring import Measuring
from streamer.runtime.outbox import Outbox
from streamer.runtime.traced import traced
from streamer.stages.encode import assemble_chunks
from streamer.telemetry.records.encoder import BatchEncoded, EncoderServed, FramesWaiting, GpuMemory
from streamer.telemetry.records.every import InputRefused, StreamReleased
from streamer.telemetry.records.frames import DropReason, FramesDropped
from streamer.transport.access import RedisAccess
from streamer.transport.backlog import FrameBacklog
from streamer.transport.connection import Threads, connect, reconnect
from streamer.transport.frame_receiver import RedisFrameReceiver
from streamer.transport.install import agree
from streamer.transport.keys import Keys
from streamer.transport.permissions import Role
from streamer.transport.pixels import PixelReader
from streamer.transport.redis import RedisStreamLog
from streamer.transport.registry import StreamRegistry
from streamer.transport.transport import Unreadable
from workers.main import main
from workers.shard import Shard

if TYPE_CHECKING:
    import redis

    from streamer.core.config import Settings
    from streamer.core.feature import InputEntry
    from streamer.core.frame import FrameStamp
    from streamer.core.trace import TraceContext
    from streamer.telemetry.observer import Observer, Record
    from streamer.transport.transport import FrameHandle

ASSIGN_SECONDS = 0.5
"""How often the worker looks which streams are its own: before a new one's first frame is lost."""

RETRY_FOREIGN_SECONDS = 10.0
"""A stream whose frame path is not ours is looked at again so often."""

MAX_WAITING_LIVE_FRAMES = 2
"""Frames of one live camera that may wait for a batch: two absorb the jitter of a network.

Once more than a batch waits it is one: the encoder is too slow, and waiting only ages them.
"""


class EncoderService:
    """Receives, batches, encodes, publishes."""

    port = None

    def __init__(self, settings: Settings, observer: Observer) -> None:
        encoder = settings.encoder
        if encoder.shard >= encoder.shards:
            raise ConfigError(
                f"encoder.shard: expected less than encoder.shards ({encoder.shards}), "
                f"found {encoder.shard}"
            )
        self._settings = settings
        self._observer = observer
        self._clock = SystemClock()
        self._keys = Keys(settings.redis.partitions)
        self._bundle = Bundle.load(settings.bundle)
        self._assigned_at = -ASSIGN_SECONDS
        self._backlog = FrameBacklog(keys=self._keys, clock=self._clock)
        self._measuring = Measuring(
            lambda: connect(settings.redis.url, access=RedisAccess.of(settings.redis)),
            self._measure,
            unknown=FramesWaiting(nan, nan),
            observer=observer,
        )

    @property
    def remark(self) -> str:
        """What is not as it should be."""
        return self._measuring.remark

    def start(self) -> None:
        """Load the encoder, warm it up, connect."""
        settings, bundle = self._settings.encoder, self._bundle
        self._encoder = open_encoder(
            settings.name or bundle.config.encoder,
            preprocess=bundle.preprocess,
            device=settings.device,
            num_threads=settings.threads,
        )
        if self._encoder.encoder_id != bundle.config.encoder_id:
            raise ModelError(
                f"bundle {bundle.config.name} expects encoder {bundle.config.encoder} "
                f"({bundle.config.encoder_id}), found {self._encoder.name} "
                f"({self._encoder.encoder_id}); choose that encoder, or a bundle trained with this"
            )
        served = EncoderServed(self._encoder.name, self._encoder.backend, self._encoder.device)
        self._observer.observe(served)
        policy = self._encoder.batch_policy
        max_size = settings.max_batch_size or policy.max_size
        wait = settings.max_wait_seconds
        self._batcher: Batcher[FrameHandle | StatusNote] = Batcher(
            max_size=max_size,
            max_wait_seconds=policy.max_wait_seconds if wait is None else wait,
        )
        self._images = np.zeros((max_size, *bundle.preprocess.shape), np.uint8)
        # The largest batch too, so that all memory is taken now and not under load.
        for size in (1, max_size):
            self._encoder.encode(self._images[:size])
        redis = self._settings.redis
        self._client = connect(
            redis.url, access=RedisAccess.of(redis), threads=Threads.ONE, role=Role.ENCODER
        )
        agree(self._client, keys=self._keys)
        self._shard = Shard(
            StreamRegistry(self._client, keys=self._keys),
            settings=settings,
            observer=self._observer,
        )
        self._receiver = RedisFrameReceiver(self._client, keys=self._keys, pixels=PixelReader())
        log = RedisStreamLog(
            self._client, keys=self._keys, max_unread=self._settings.redis.max_unread_entries
        )
        self._outbox = Outbox(
            log,
            observer=self._observer,
            refused=self._make_room,
            resend_bytes=settings.resend_bytes,
            resend_seconds=settings.resend_seconds,
        )
        self._assign()
        self._measuring.start()

    def turn(self, *, timeout_seconds: float) -> None:
        """Take in what has come; encode a batch if one is due; publish."""
        if time.monotonic() - self._assigned_at > ASSIGN_SECONDS:
            self._assign()
        due = self._batcher.due_in_seconds(now_ns=time.monotonic_ns())
        if self._outbox.waiting:
            timeout_seconds = min(timeout_seconds, 0.02)
        self._take_in(timeout_seconds if due is None else min(due, timeout_seconds))
        if self._batcher.due_in_seconds(now_ns=time.monotonic_ns()) == 0.0:
            self._encode(self._batcher.take())
        elif self._outbox.waiting:
            self._outbox.publish()

    def recover(self) -> None:
        """Connect anew. Chunks are kept; publishing them again is safe, and may be needed."""
        self._outbox.doubt()
        self._receiver.doubt()
        reconnect(self._client)

    def drain(self, *, deadline_seconds: float) -> None:
        """Encode and publish what is here, and what the ingest worker left in the frame path."""
        deadline = time.monotonic() + deadline_seconds
        while time.monotonic() < deadline:
            self._take_in(0.0)
            if not len(self._batcher) and not self._outbox.waiting:
                return
            self._encode(self._batcher.take())

    def close(self) -> None:
        """Free the model, the mappings and the connection."""
        self._measuring.close()
        if hasattr(self, "_encoder"):
            self._encoder.close()
        if hasattr(self, "_receiver"):
            self._receiver.close()
            self._client.close()

    def _assign(self) -> None:
        now = self._assigned_at = time.monotonic()
        for stream_id in self._shard.refresh(now_seconds=now):
            self._outbox.forget(stream_id)
            self._observer.observe(StreamReleased(stream_id))
        self._receiver.assign(set(self._shard.stream_ids))

    def _measure(self, client: redis.Redis) -> list[Record]:
        """In the measuring thread."""
        records: list[Record] = [self._backlog.measure(client, self._shard.stream_ids)]
        memory = self._encoder.memory_bytes()
        if memory:
            records.append(GpuMemory(self._encoder.device, memory))
        return records

    def _take_in(self, timeout_seconds: float) -> None:
        overtaken: dict[str, int] = {}
        try:
            received = self._receiver.receive(
                timeout_seconds=timeout_seconds, paused=self._outbox.waiting
            )
        except ForeignKeysError as error:
            for stream_id, key in error.key_of.items():
                why = f"{key}: expected a stream of ours; remove it"
                self._observer.observe(InputRefused(stream_id, "foreign", why))
                self._receiver.leave_out(stream_id, seconds=RETRY_FOREIGN_SECONDS)
            return
        for item in received:
            now_ns = time.monotonic_ns()
            if isinstance(item, Unreadable):
                self._observer.observe(InputRefused(item.stream_id, "unreadable", item.reason))
                overtaken[item.stream_id] = item.position
                continue
            if isinstance(item, StatusNote):
                self._batcher.add(item.stream_id, item, now_ns=now_ns)
                continue
            stream_id = item.stamp.stream_id
            # Newer frames took the place of those that never came.
            missing = self._shard.missing_before(item.stamp)
            if missing:
                self._drop(stream_id, DropReason.OVERWRITTEN, missing)
            self._batcher.add(stream_id, item, now_ns=now_ns)
            # Latest wins: when the encoder is behind, waiting longer would only make it all older.
            behind = len(self._batcher) > len(self._images)
            keep = 1 if behind else MAX_WAITING_LIVE_FRAMES
            for dropped in self._batcher.drop_oldest(
                stream_id, keep=keep, droppable=_is_live_frame
            ):
                handle = cast("FrameHandle", dropped)
                if self._receiver.is_current(stream_id, handle.stamp.session):
                    overtaken[stream_id] = handle.position
                self._drop(stream_id, DropReason.OVERWRITTEN, 1, trace=handle.stamp.trace)
        if overtaken:
            self._receiver.done(overtaken)

    def _encode(self, items: list[FrameHandle | StatusNote]) -> None:
        taken = self._clock.mark()
        stamps: list[FrameStamp] = []
        lost: dict[str, int] = {}
        for item in items:
            if isinstance(item, StatusNote):
                continue
            if self._fetch(item, len(stamps)):
                stamps.append(item.stamp)
            elif self._receiver.is_current(item.stamp.stream_id, item.stamp.session):
                lost[item.stamp.stream_id] = item.position
        entries: list[InputEntry] = []
        encode_seconds = 0.0
        if stamps:
            batch = FrameBatch(stamps, self._images[: len(stamps)])
            features_ND = self._encoder.encode(batch.images)
            ready = self._clock.mark()
            encode_seconds = ready.seconds_since(taken, otherwise=ready)
            entries += assemble_chunks(
                batch,
                features_ND,
                encoder_id=self._encoder.encoder_id,
                taken=taken,
                ready=ready,
            )
        for item in items:
            if isinstance(item, StatusNote):
                waited = taken.seconds_since(item.ready, otherwise=taken)
                entries.append(replace(item, ready=taken, frame_wait_seconds=waited))
        self._outbox.add(entries)
        # From here on nothing of the batch can be lost to a connection that breaks.
        published_at = time.monotonic()
        self._outbox.publish()
        if lost:
            self._receiver.done(lost)
        if stamps:
            publish_seconds = time.monotonic() - published_at
            waits = [taken.seconds_since(stamp.ready, otherwise=taken) for stamp in stamps]
            self._observer.observe(
                BatchEncoded(waits, encode_seconds, publish_seconds, traced(stamps, waits))
            )

    def _fetch(self, handle: FrameHandle, row: int) -> bool:
        """Get a frame's pixels, unless it is too late for it."""
        stamp = handle.stamp
        now = self._clock.mark()
        age_seconds = now.seconds_since(stamp.ready, otherwise=now)
        recorded = stamp.clock is ClockSource.FILE
        if not recorded and age_seconds > self._settings.encoder.frame_deadline_seconds:
            self._drop(stamp.stream_id, DropReason.LATE, 1, trace=stamp.trace)
            return False
        if not handle.read_into(self._images[row]):
            self._drop(stamp.stream_id, DropReason.OVERWRITTEN, 1, trace=stamp.trace)
            return False
        return True

    def _drop(
        self, stream_id: str, reason: DropReason, count: int, *, trace: TraceContext | None = None
    ) -> None:
        self._observer.observe(FramesDropped(stream_id, reason, count, trace))

    def _make_room(self, stream_id: str, position: int) -> None:
        self._receiver.done({stream_id: position})


def _is_live_frame(item: FrameHandle | StatusNote) -> bool:
    return not isinstance(item, StatusNote) and item.stamp.clock is not ClockSource.FILE


if __name__ == "__main__":
    sys.exit(main("encoder", lambda settings, observer, _: EncoderService(settings, observer)))
