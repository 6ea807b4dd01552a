"""Opening a URL with FFmpeg: the container, its video stream, and a decoder without delay."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import av
from av.stream import Discard, Disposition

from streamer.sources.credentials import join_credentials
from streamer.sources.failure import open_error, source_error
from streamer.sources.guard import pin
from streamer.sources.origin import Origin

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

    from streamer.sources.credentials import Credentials
    from streamer.sources.guard import SourcePolicy
    from streamer.sources.origin import Transport


class Probing(StrEnum):
    """How an RTSP camera is opened."""

    FAST = "fast"
    """By what the camera says of itself, without looking at its pictures first: 0.05 s instead
    of 1.1 s."""
    CAREFUL = "careful"
    """As FFmpeg does by default. For cameras that do not name their picture size, and for those
    that send a multiplex whose streams show only in its data."""


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
        policy: Where it may be; None: anywhere.
    """

    url: str
    origin: Origin
    credentials: Credentials | None
    transport: Transport
    open_timeout_seconds: float
    frame_timeout_seconds: float
    policy: SourcePolicy | None = None

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
        SourceError: It can't be opened, or its policy does not allow it.
    """
    url, options = address.url, _options(address, probing=probing)
    if address.policy is not None and address.origin in (Origin.RTSP, Origin.HTTP):
        pinned = pin(url, address.policy)
        url, options = pinned.url, options | pinned.options
    target = join_credentials(url, address.credentials)
    if address.origin is Origin.FILE:
        target = f"file:{target}"  # a colon in a file's name is no scheme
    begun = time.monotonic()
    try:
        container = av.open(
            target,
            format="v4l2" if address.origin is Origin.DEVICE else None,
            options=options,
            timeout=(address.open_timeout_seconds, address.frame_timeout_seconds),
        )
    except av.FFmpegError as error:
        late = time.monotonic() - begun >= address.open_timeout_seconds
        raise open_error(error, name=name, origin=address.origin, timed_out=late) from None
    stream = _video_stream(container)
    if probing is Probing.FAST and (stream is None or not stream.codec_context.width):
        container.close()
        return None
    if stream is None:
        container.close()
        raise source_error(name, reason="no_video", found="it has no video", origin=address.origin)
    _prepare(container, stream)
    return Connection(container, stream)


def _options(address: Address, *, probing: Probing) -> dict[str, str]:
    if address.origin is not Origin.RTSP:
        return {}
    options = {"rtsp_transport": address.transport.value, "allowed_media_types": "video"}
    if probing is Probing.FAST:
        options |= {"probesize": "32", "analyzeduration": "0"}
    return options


def _video_stream(container: InputContainer) -> VideoStream | None:
    """The first one that moves: the cover of a song is a video stream to FFmpeg."""
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            return stream
    return None


def _prepare(container: InputContainer, stream: VideoStream) -> None:
    decoder = stream.codec_context
    decoder.thread_count = 1  # a thread per camera is there already; frame threads add delay
    for other in container.streams:
        if other.index != stream.index:
            other.discard = Discard.all
