"""One opening of a source: packets in, frames with their times out."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import av

from streamer.core.clock import ClockSource
from streamer.sources.camera_time import camera_time_ns
from streamer.sources.convert import Converter
from streamer.sources.failure import read_error, source_error
from streamer.sources.origin import Origin
from streamer.sources.timeline import Timeline

if TYPE_CHECKING:
    from av.video.stream import VideoStream

    from streamer.core.clock import Clock, Mark
    from streamer.core.frame import Image
    from streamer.core.preprocess import Preprocess
    from streamer.sources.connection import Connection
    from streamer.sources.jpeg import Shrinker

_LOGGER = logging.getLogger(__name__)
_ASSUMED_FPS = 25.0
"""Where a recording names no frame rate."""
_MAX_RECEIPTS = 64
"""More frames than any decoder holds back to bring them into order."""
_CUT_OFF_SECONDS = 1.0
"""A recording that ends this much before its declared duration is called cut off."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """When a packet was here: on the monotonic clock, and in UTC nanoseconds.

    `camera_ns` is its time by the camera's clock, if that is known.
    """

    mark: Mark
    utc_ns: int
    camera_ns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AvFrame:
    """A decoded frame. See `DecodedFrame`."""

    pts_seconds: float
    captured_at_ns: int
    received_at_ns: int
    received: Mark
    clock: ClockSource
    camera_at_ns: int | None
    picture: av.VideoFrame
    reader: Reader

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.picture.width, self.picture.height

    @property
    def aspect(self) -> float:
        """Width over height, as it is to be seen. A rotation that a file asks for is ignored."""
        return self.picture.width / self.picture.height * self.reader.pixel_aspect

    def to_small(self, shrinker: Shrinker) -> av.VideoFrame:
        """Shrink. Only the thread that reads the source may call it."""
        return shrinker.shrink(self.picture, aspect=self.aspect)

    def to_image(self, preprocess: Preprocess) -> Image:
        """Convert. Only the thread that reads the source may call it."""
        return self.reader.converter(preprocess).convert(self.picture)


class Reader:
    """Demuxes and decodes one open connection. Used by one thread.

    Damaged packets are skipped and counted.

    Args:
        connection: What to read. Stays the caller's.
        name: For messages, without credentials.
        origin: What it is.
        live: Whether a frame's time is that of its receipt; else it counts from the opening.
        stamped: Whether the container's timestamps mean anything.
        frame_timeout_seconds: Longest time without a frame.
        clock: Says when packets are received.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        name: str,
        origin: Origin,
        live: bool,
        stamped: bool,
        frame_timeout_seconds: float,
        clock: Clock,
    ) -> None:
        self._connection = connection
        self._name = name
        self._origin = origin
        self._live = live
        self._stamped = stamped
        self._timeout_ns = frame_timeout_seconds * 1e9
        self._clock = clock
        self._packets = connection.container.demux(connection.stream)
        self._timeline = Timeline(frame_seconds=_frame_seconds(connection), live=live)
        self._opened = self._receive()
        self._last_frame = self._opened
        self._receipts: dict[int, Receipt] = {}
        self._converter: Converter | None = None
        self._last_seconds = 0.0
        self.num_frames = 0
        self.num_corrupt_packets = 0

    @property
    def codec_name(self) -> str:
        """FFmpeg's name of the codec."""
        return self._connection.stream.codec_context.name

    @property
    def pixel_aspect(self) -> float:
        """Width over height of one pixel; 1 where the stream does not say."""
        return float(self._connection.stream.codec_context.sample_aspect_ratio or 1)

    def read(self) -> list[AvFrame] | None:
        """What the next packet completes: usually one frame. None at the end.

        Raises:
            SourceError: It broke, or there was no frame within the deadline.
        """
        begun = time.monotonic()
        try:
            packet = next(self._packets, None)
            receipt = self._receive(packet)
            if packet is None:
                self._check_end()
                return None
            pictures = self._decode(packet)
        except av.FFmpegError as error:
            late = (time.monotonic() - begun) * 1e9 >= self._timeout_ns
            raise read_error(error, name=self._name, origin=self._origin, timed_out=late) from None
        if packet.pts is not None:
            self._remember(packet.pts, receipt)
        frames = [self._frame(picture, otherwise=receipt) for picture in pictures]
        self._check_deadline(receipt, got_frame=bool(frames))
        return frames

    def converter(self, preprocess: Preprocess) -> Converter:
        """One for all frames, so that libswscale keeps its tables."""
        if self._converter is None or self._converter.preprocess != preprocess:
            self._converter = Converter(preprocess)
        return self._converter

    def _decode(self, packet: av.Packet[VideoStream]) -> list[av.VideoFrame]:
        try:
            return packet.decode()
        except av.error.InvalidDataError:
            self.num_corrupt_packets += 1
            return []

    def _frame(self, picture: av.VideoFrame, *, otherwise: Receipt) -> AvFrame:
        """Stamp a picture with the receipt of its own packet: B-frames come out later."""
        receipt = otherwise
        stamp_seconds = None
        if picture.pts is not None and picture.time_base is not None:
            receipt = self._receipts.pop(picture.pts, otherwise)
            if self._stamped:
                stamp_seconds = float(picture.pts * picture.time_base)
        pts_seconds = self._timeline.place(stamp_seconds, received_ns=receipt.mark.ns)
        self.num_frames += 1
        self._last_seconds = pts_seconds
        captured_at_ns = self._opened.utc_ns + round(pts_seconds * 1e9)
        return AvFrame(
            pts_seconds=pts_seconds,
            captured_at_ns=receipt.utc_ns if self._live else captured_at_ns,
            received_at_ns=receipt.utc_ns,
            received=receipt.mark,
            clock=ClockSource.HOST if self._live else ClockSource.FILE,
            camera_at_ns=receipt.camera_ns,
            picture=picture,
            reader=self,
        )

    def _remember(self, pts: int, receipt: Receipt) -> None:
        """Keep the receipt of the last packet of each frame."""
        if len(self._receipts) >= _MAX_RECEIPTS:
            self._receipts.clear()
        self._receipts[pts] = receipt

    def _receive(self, packet: av.Packet[VideoStream] | None = None) -> Receipt:
        mark, utc_ns = self._clock.mark(), self._clock.utc_ns()
        if packet is None or self._origin is not Origin.RTSP:
            return Receipt(mark, utc_ns)
        return Receipt(mark, utc_ns, camera_time_ns(packet))

    def _check_deadline(self, receipt: Receipt, *, got_frame: bool) -> None:
        """Packets without pictures must not keep a dead camera alive."""
        if got_frame:
            self._last_frame = receipt
        elif self._live and receipt.mark.ns - self._last_frame.mark.ns > self._timeout_ns:
            reason = "corrupt" if self.num_corrupt_packets else "timeout"
            seconds = self._timeout_ns * 1e-9
            found = f"it sends data, but no picture for {seconds:g} s"
            raise source_error(self._name, reason=reason, found=found, origin=self._origin)

    def _check_end(self) -> None:
        if self.num_frames == 0:
            found = "no picture in it could be decoded"
            raise source_error(self._name, reason="corrupt", found=found, origin=self._origin)
        if self.num_corrupt_packets:
            _LOGGER.warning("%s: %d damaged packets", self._name, self.num_corrupt_packets)
        duration = self._connection.container.duration
        if self._live or duration is None:
            return
        missing_seconds = duration / av.time_base - self._last_seconds
        if missing_seconds > _CUT_OFF_SECONDS:
            _LOGGER.warning("%s: ends %.1f s before its time", self._name, missing_seconds)


def _frame_seconds(connection: Connection) -> float:
    rate = connection.stream.average_rate or connection.stream.guessed_rate
    return 1.0 / (float(rate) if rate else _ASSUMED_FPS)
