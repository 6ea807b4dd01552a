"""Opening a URL with FFmpeg: the container, its video stream, and a decoder without delay."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import av
from av.codec.context import Flags2
from av.stream import Discard, Disposition

from streamer.sources.credentials import join_credentials
from streamer.sources.failure import open_error, source_error
from streamer.sources.origin import Origin

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

    from streamer.sources.credentials import Credentials
    from streamer.sources.origin import Transport


class Probing(StrEnum):
    """How an RTSP camera is opened."""

    FAST = "fast"
    """Without looking at its pictures first (0.05 s instead of 1.1 s), and without FFmpeg's
    parser, which holds each frame until the next one arrives. For H.264 and JPEG."""
    CAREFUL = "careful"
    """As FFmpeg does by default. For whatever FAST does not see."""


_WHOLE_FRAMES = frozenset({"h264", "mjpeg"})
"""Codecs whose packets can be decoded as they come off the network, without a parser."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """What to open, and how.

    Attributes:
        url: Without credentials.
        origin: What it is.
        credentials: Put in only when the connection is made.
        transport: Of an RTSP camera.
        open_timeout_seconds: Deadline of each step of opening: the answer, the first data.
        frame_timeout_seconds: Deadline of each packet.
    """

    url: str
    origin: Origin
    credentials: Credentials | None
    transport: Transport
    open_timeout_seconds: float
    frame_timeout_seconds: float

    def __repr__(self) -> str:
        return f"Address({self.url})"


@dataclass(frozen=True, slots=True)
class Connection:
    """An open container and the stream to be watched."""

    container: InputContainer
    stream: VideoStream


def connect(address: Address, *, probing: Probing, name: str) -> Connection | None:
    """Open it.

    Returns:
        None where `Probing.FAST` does not suffice.

    Raises:
        SourceError: It can't be opened.
    """
    target = join_credentials(address.url, address.credentials)
    if address.origin is Origin.FILE:
        target = f"file:{target}"  # a colon in a file's name is no scheme
    try:
        container = av.open(
            target,
            format="v4l2" if address.origin is Origin.DEVICE else None,
            options=_options(address, probing=probing),
            timeout=(address.open_timeout_seconds, address.frame_timeout_seconds),
        )
    except av.FFmpegError as error:
        raise open_error(error, name=name, origin=address.origin) from None
    stream = _video_stream(container)
    if probing is Probing.FAST and (stream is None or stream.codec.name not in _WHOLE_FRAMES):
        container.close()
        return None
    if stream is None:
        container.close()
        raise source_error(name, reason="no_video", found="it has no video", origin=address.origin)
    _prepare(container, stream, probing=probing)
    return Connection(container, stream)


def _options(address: Address, *, probing: Probing) -> dict[str, str]:
    if address.origin is not Origin.RTSP:
        return {}
    options = {"rtsp_transport": address.transport.value, "allowed_media_types": "video"}
    if probing is Probing.FAST:
        options |= {"probesize": "32", "analyzeduration": "0", "fflags": "noparse+nofillin"}
    return options


def _video_stream(container: InputContainer) -> VideoStream | None:
    """The first one that moves: the cover of a song is a video stream to FFmpeg."""
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            return stream
    return None


def _prepare(container: InputContainer, stream: VideoStream, *, probing: Probing) -> None:
    decoder = stream.codec_context
    decoder.thread_count = 1  # a thread per camera is there already; frame threads add delay
    if probing is Probing.FAST and stream.codec.name == "h264":
        # A packet is then a piece of a frame, and the frame is out with its last piece.
        decoder.flags2 |= Flags2.chunks
    for other in container.streams:
        if other.index != stream.index:
            other.discard = Discard.all
