"""Files, RTSP cameras, HLS and JPEG streams over HTTP, webcams: all that FFmpeg opens."""

from __future__ import annotations

import logging
from threading import Event, Lock
from typing import TYPE_CHECKING

from streamer.core.errors import ConfigError, SourceError
from streamer.sources.connection import Address, Probing, connect
from streamer.sources.credentials import redact, split_credentials
from streamer.sources.failure import source_error
from streamer.sources.origin import Origin, Transport, origin_of
from streamer.sources.pacer import Pacer
from streamer.sources.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamer.core.clock import Clock
    from streamer.sources.connection import Connection
    from streamer.sources.credentials import Credentials
    from streamer.sources.guard import SourcePolicy
    from streamer.sources.reader import AvFrame

_LOGGER = logging.getLogger(__name__)


class AvSource:
    """A source that FFmpeg opens. See `Source`.

    Delivery: cameras give what they send, as soon as it is decoded; a file gives every frame once
    per opening. FFmpeg's parser knows that an RTSP frame is complete only when the next one
    begins, so such a frame counts as received one frame period after its last packet.
    What comes over HTTP in bursts (HLS, a file on a web server) and a file with `realtime` are
    held back to the pace of their timestamps. A file that is cut off plays to the break and ends
    there, with a warning in the log. The end of a camera is an error (`disconnected`); `loop`
    only makes a file `endless`, so that its reader opens it again.

    Args:
        url: `rtsp://`, `rtsps://`, `http://`, `https://`, `/dev/video0` or the path of a file.
        credentials: User and password; or inside the URL.
        transport: Of RTSP.
        loop: A file starts again at its end.
        realtime: A file plays at the pace of its timestamps, like a camera.
        open_timeout_seconds: Deadline of each step of opening.
        frame_timeout_seconds: Longest time without a frame.
        policy: Where it may be, checked at every opening; None: anywhere.
        clock: Says when packets are received, and paces.

    Raises:
        ConfigError: Unknown scheme, or credentials given twice.
    """

    def __init__(
        self,
        url: str,
        *,
        credentials: Credentials | None = None,
        transport: Transport = Transport.TCP,
        loop: bool = False,
        realtime: bool = False,
        open_timeout_seconds: float = 10.0,
        frame_timeout_seconds: float = 10.0,
        policy: SourcePolicy | None = None,
        clock: Clock,
    ) -> None:
        origin = origin_of(url)
        if origin in (Origin.RTSP, Origin.HTTP):
            url, typed = split_credentials(url)
            if typed and credentials:
                raise ConfigError(f"{redact(url)}: expected credentials once, found them twice")
            credentials = credentials or typed
        self.name = redact(url)
        self._address = Address(
            url=url,
            origin=origin,
            credentials=credentials,
            transport=transport,
            open_timeout_seconds=open_timeout_seconds,
            frame_timeout_seconds=frame_timeout_seconds,
            policy=policy,
        )
        self._loop = loop
        self._realtime = realtime
        self._clock = clock
        self._closed = Event()
        self._in_use = Lock()  # held while FFmpeg works on the connection
        self._connection: Connection | None = None
        self._reader: Reader | None = None
        self._pacer: Pacer | None = None
        self._first_frames: list[AvFrame] = []
        self._ends = True

    def __repr__(self) -> str:
        return f"AvSource({self.name})"

    @property
    def live(self) -> bool:
        """True but for files that are read as fast as possible."""
        return self._realtime or self._address.origin is not Origin.FILE

    @property
    def endless(self) -> bool:
        """True but for files that are played once."""
        return self._loop or self._address.origin is not Origin.FILE

    def open(self) -> None:
        """Connect, and decode until there is a picture.

        An RTSP camera is first tried with `Probing.FAST`, and if that shows no video stream or
        no picture size, once more with `Probing.CAREFUL`.

        Raises:
            SourceError: No connection or no picture within the deadlines.
        """
        self.close()
        self._closed = Event()
        with self._in_use:
            if self._address.origin is Origin.RTSP:
                if self._try(Probing.FAST):
                    return
                _LOGGER.debug(
                    "%s: no picture size without probing; opening again with it", self.name
                )
            self._try(Probing.CAREFUL)

    def frames(self) -> Iterator[AvFrame]:
        """Every decoded frame until the source ends, or until `close` from whichever thread.

        Raises:
            SourceError: It is not open, it broke, or no frame came within the deadline.
        """
        if self._reader is None:
            raise self._disconnected("expected open() before frames(), found it closed")
        reader, pacer, closed = self._reader, self._pacer, self._closed
        frames: list[AvFrame] | None = self._first_frames
        self._first_frames = []
        while frames is not None and not closed.is_set():
            for frame in frames:
                due = frame if pacer is None else pacer.hold(frame, stop=closed)
                if closed.is_set():
                    return
                yield due
            frames = self._read(reader, closed=closed)
        if not self._ends and not closed.is_set():
            raise self._disconnected("the stream ended")

    def close(self) -> None:
        """Let go of the connection; ends `frames`, also while it waits. From any thread.

        A thread that is just inside FFmpeg lets go itself, once FFmpeg returns. Idempotent.
        """
        self._closed.set()
        if self._in_use.acquire(blocking=False):
            try:
                self._release()
            finally:
                self._in_use.release()

    @property
    def _origin(self) -> Origin:
        return self._address.origin

    def _try(self, probing: Probing) -> bool:
        """Connect and wait for the first picture. False if `Probing.FAST` does not suffice."""
        connection = connect(self._address, probing=probing, name=self.name)
        if connection is None:
            return False
        self._connection = connection
        container = connection.container
        reader = Reader(
            connection,
            name=self.name,
            origin=self._origin,
            live=self._origin is not Origin.FILE,
            stamped=container.format.name != "mpjpeg",  # its demuxer invents timestamps
            frame_timeout_seconds=self._address.frame_timeout_seconds,
            clock=self._clock,
        )
        try:
            frames = self._first_picture(reader)
        except SourceError:
            self._release()
            raise
        # HLS and files come over HTTP as fast as the network can.
        recorded = container.duration is not None
        paced = self._origin is Origin.HTTP and (recorded or "hls" in container.format.name)
        self._pacer = Pacer(clock=self._clock) if paced or self._realtime else None
        self._ends = self._origin is Origin.FILE or (self._origin is Origin.HTTP and recorded)
        self._reader, self._first_frames = reader, frames
        return True

    def _first_picture(self, reader: Reader) -> list[AvFrame]:
        """The first frames.

        Raises:
            SourceError: It ended or broke before, or `close` was called.
        """
        while not self._closed.is_set():
            frames = reader.read()
            if frames:
                return frames
            if frames is None:
                raise self._disconnected("it ended before its first picture")
        raise self._disconnected("it was closed while it was opened")

    def _read(self, reader: Reader, *, closed: Event) -> list[AvFrame] | None:
        with self._in_use:
            if reader is not self._reader:
                return None
            try:
                return None if closed.is_set() else reader.read()
            finally:
                if closed.is_set():
                    self._release()

    def _release(self) -> None:
        """Close the connection. The caller holds `_in_use`."""
        connection, self._connection, self._reader = self._connection, None, None
        self._first_frames = []
        if connection is not None:
            connection.container.close()

    def _disconnected(self, found: str) -> SourceError:
        return source_error(self.name, reason="disconnected", found=found, origin=self._origin)
