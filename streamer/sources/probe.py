"""What a camera or file really gives."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from streamer.core.errors import StreamerError
from streamer.sources.credentials import redact
from streamer.sources.reader import AvFrame
from streamer.sources.spec import open_source
from streamer.sources.synthetic import SyntheticFrame

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.core.clock import Clock
    from streamer.sources.credentials import Credentials
    from streamer.sources.source import DecodedFrame
    from streamer.sources.spec import SourceSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What was found.

    Attributes:
        stream: Its name.
        source: Its URL, without credentials.
        codec: FFmpeg's name of it; `rendered` for a synthetic scene.
        width: Pixels.
        height: Pixels.
        fps: Of the pictures read, by their own times.
        longest_pause_seconds: Between two pictures read.
        first_frame_seconds: From asking for the connection to the first picture.
        frames: How many were read.
        live: Whether frames are lost if nobody reads.
        clock: What their times are taken from.
        error: Why there is nothing of this; empty if there is.
    """

    stream: str
    source: str
    codec: str = ""
    width: int = 0
    height: int = 0
    fps: float = 0.0
    longest_pause_seconds: float = 0.0
    first_frame_seconds: float = 0.0
    frames: int = 0
    live: bool = False
    clock: str = ""
    error: str = ""


def probe_source(
    spec: SourceSpec, *, clock: Clock, seconds: float, credentials: Credentials | None = None
) -> Probe:
    """Open a source and read it for a while. What is wrong is in the answer.

    Args:
        spec: What.
        clock: Its time.
        seconds: How long to read.
        credentials: As in `open_source`.
    """
    begun = time.monotonic()
    name = redact(spec.url)
    try:
        source = open_source(spec, clock=clock, credentials=credentials)
        try:
            source.open()
            frames, times = source.frames(), []
            first = next(frames, None)
            first_frame_seconds = time.monotonic() - begun
            frame = first
            while frame is not None:
                times.append(frame.pts_seconds)
                if time.monotonic() - begun - first_frame_seconds >= seconds:
                    break
                if not source.live and times[-1] - times[0] >= seconds:
                    break
                frame = next(frames, None)
        finally:
            source.close()
    except StreamerError as error:
        text = str(error)
        return Probe(
            stream=spec.stream_id,
            source=name,
            error=text if name in text else f"{name}: {text}",
        )
    if first is None:
        return Probe(stream=spec.stream_id, source=name, error=f"{name}: no picture in it")
    codec, width, height = _picture(first)
    return Probe(
        stream=spec.stream_id,
        source=name,
        codec=codec,
        width=width,
        height=height,
        fps=round(_fps(times), 2),
        longest_pause_seconds=round(max((b - a for a, b in pairwise(times)), default=0.0), 3),
        first_frame_seconds=round(first_frame_seconds, 3),
        frames=len(times),
        live=source.live,
        clock=first.clock.value,
    )


def _picture(frame: DecodedFrame) -> tuple[str, int, int]:
    """Codec, width and height."""
    match frame:
        case AvFrame():
            codec = frame.reader.codec_name
            return codec, frame.picture.width, frame.picture.height
        case SyntheticFrame():
            height, width, _ = frame.source.scene.render(frame.pts_seconds).shape
            return "rendered", width, height
    raise TypeError(f"expected a frame of FFmpeg or of a scene, found {type(frame).__name__}")


def _fps(times: Sequence[float]) -> float:
    return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else 0.0
