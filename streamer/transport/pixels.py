"""Where a frame's pixels go: into shared memory on this host, or along in the entry to another."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

import numpy as np

from streamer.core.errors import TransportError
from streamer.transport.codec import StampWire
from streamer.transport.shm import DIRECTORY, RingReader, RingWriter

if TYPE_CHECKING:
    from pathlib import Path

    from streamer.core.frame import Frame


class PixelStore(Protocol):
    """Puts a frame's pixels where the encoder can get them."""

    def put(self, frame: Frame) -> StampWire | None:
        """Store the pixels; the entry that leads to them. None once closed.

        From any thread, of one stream at a time.
        """
        ...

    def close(self) -> None:
        """Free everything. Idempotent."""
        ...


class SharedMemoryPixels:
    """One ring per stream. The encoder must run on this host."""

    def __init__(self, *, num_slots: int, directory: Path = DIRECTORY) -> None:
        self._num_slots = num_slots
        self._directory = directory
        self._rings: dict[str, RingWriter] = {}
        self._lock = threading.Lock()
        self._closed = False

    def put(self, frame: Frame) -> StampWire | None:
        """Write into the stream's ring, over the oldest frame."""
        shape = frame.image.shape
        stream_id = frame.stamp.stream_id
        with self._lock:
            # A camera that was stuck may come back while everything is being closed.
            if self._closed:
                return None
            ring = self._rings.get(stream_id)
            if ring is None:
                ring = RingWriter(shape=shape, num_slots=self._num_slots, directory=self._directory)
                self._rings[stream_id] = ring
            generation = ring.write(frame.image)
        return StampWire.of(frame.stamp, shape=shape, ring=ring.name, generation=generation)

    def close(self) -> None:
        """Remove the rings."""
        with self._lock:
            self._closed = True
            while self._rings:
                self._rings.popitem()[1].close()


class InlinePixels:
    """The entry itself carries the raw pixels. Works across hosts, at ten times the cost."""

    def put(self, frame: Frame) -> StampWire | None:
        """Copy the pixels into the entry."""
        return StampWire.of(frame.stamp, shape=frame.image.shape, pixels=frame.image.tobytes())

    def close(self) -> None:
        """Nothing to free."""


class PixelReader:
    """Gets the pixels an entry leads to, wherever they are. Used by one thread."""

    def __init__(self, *, directory: Path = DIRECTORY) -> None:
        self._directory = directory
        self._rings: dict[str, tuple[str, RingReader]] = {}

    def read_into(self, wire: StampWire, image: np.ndarray) -> bool:
        """Copy the pixels. False when they are gone: overwritten, or their writer ended.

        Raises:
            TransportError: The picture has another shape than `image`.
        """
        if wire.shape != image.shape:
            raise TransportError(
                f"stream {wire.stream_id}: the encoder expects pictures of {image.shape}, the "
                f"ingest worker sends {wire.shape}; start both with the same bundle",
                retryable=False,
            )
        if wire.pixels:
            image[...] = np.frombuffer(wire.pixels, np.uint8).reshape(wire.shape)
            return True
        ring = self._ring(wire)
        return ring is not None and ring.read_into(wire.generation, image)

    def _ring(self, wire: StampWire) -> RingReader | None:
        known = self._rings.get(wire.stream_id)
        if known is not None and known[0] == wire.ring:
            return known[1]
        try:
            ring = RingReader(wire.ring, directory=self._directory)
        except TransportError:
            return None  # its writer has ended and taken the frames along
        self.forget(wire.stream_id)
        self._rings[wire.stream_id] = (wire.ring, ring)
        return ring

    def forget(self, stream_id: str) -> None:
        """Let go of a stream's ring."""
        known = self._rings.pop(stream_id, None)
        if known is not None:
            known[1].close()

    def close(self) -> None:
        """Let go of all rings."""
        for stream_id in list(self._rings):
            self.forget(stream_id)
