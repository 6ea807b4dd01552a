"""Clips with the frame number drawn in, so that a test can read which frame it got."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING

import av
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NUM_BITS = 12
"""Frame numbers go from 0 to 4095, most significant bit at the left."""
TIME_BASE = Fraction(1, 90_000)


def numbered_picture(number: int, *, width: int, height: int) -> np.ndarray:
    """A picture whose upper half is the number in black and white, and whose lower half moves.

    Returns:
        uint8 (height, width, 3).
    """
    image = np.full((height, width, 3), 90, np.uint8)
    edges = np.linspace(0, width, NUM_BITS + 1).astype(int)
    for bit, (left, right) in enumerate(pairwise(edges)):
        on = number >> (NUM_BITS - 1 - bit) & 1
        image[: height // 2, left:right] = 235 if on else 20
    at = number * 5 % max(1, width - 8)
    image[height // 2 :, at : at + 8] = (200, 40, 40)
    return image


def read_frame_number(image: np.ndarray) -> int:
    """The number in a picture of any size that was stretched from a numbered one."""
    height, width, _ = image.shape
    centres = ((np.arange(NUM_BITS) + 0.5) * width / NUM_BITS).astype(int)
    bits = image[height // 4, centres].mean(axis=1) > 127
    return int(sum(int(on) << (NUM_BITS - 1 - bit) for bit, on in enumerate(bits)))


def make_clip(
    path: Path,
    *,
    frames: int = 50,
    fps: int = 25,
    width: int = 192,
    height: int = 128,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    pts_seconds: Sequence[float] | None = None,
    first_number: int = 0,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Write a clip; its container is told by the name's ending.

    Args:
        path: Where to.
        frames: How many.
        fps: Frames per second, where `pts_seconds` says nothing else.
        width: Pixels.
        height: Pixels.
        codec: Name of the encoder.
        pix_fmt: Pixel format.
        pts_seconds: Presentation time of each frame, for a variable rate.
        first_number: Number drawn into the first frame.
        options: Of the encoder. Without any: no B-frames, a key frame per second.
        container_options: Of the muxer.
    """
    if pts_seconds is None:
        pts_seconds = [index / fps for index in range(frames)]
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.codec_context.time_base = TIME_BASE
        stream.codec_context.thread_count = 1
        if codec == "libx264":
            stream.codec_context.gop_size = fps
            stream.options = options or {"preset": "ultrafast", "tune": "zerolatency", "crf": "20"}
        for index, seconds in enumerate(pts_seconds):
            picture = numbered_picture(first_number + index, width=width, height=height)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = round(seconds / TIME_BASE), TIME_BASE
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def make_audio(path: Path, *, seconds: float = 0.5) -> Path:
    """Write a clip without any picture."""
    rate = 16_000
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=rate, layout="mono")
        samples = np.sin(np.arange(int(rate * seconds)) * 0.1).astype(np.float32)[None]
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate = rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
