"""Pictures for people: small JPEGs of the right shape, by libswscale and FFmpeg's encoder."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import av
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from av.video.reformatter import Interpolation as SwsFilter

from streamer.core.errors import SourceError
from streamer.sources.convert import KNOWN_MATRICES

if TYPE_CHECKING:
    from streamer.core.frame import Image

_QUALITY = "5"
"""Of FFmpeg's mjpeg encoder, 2 (best) to 31."""


class Shrinker:
    """Decoded pictures → small ones, in the colours of JPEG. Used by one thread.

    Args:
        max_side: Of the longer side, in pixels. Nothing is made larger than it is.
    """

    def __init__(self, *, max_side: int) -> None:
        self._max_side = max_side
        self._reformatter = VideoReformatter()

    def shrink(self, frame: av.VideoFrame, *, aspect: float) -> av.VideoFrame:
        """The picture, full range YUV of BT.601, sides even.

        Args:
            frame: As decoded.
            aspect: Width over height, as it is to be seen.
        """
        width, height = fit_size(frame.width, frame.height, aspect=aspect, max_side=self._max_side)
        return _reformat(self._reformatter, frame, width=width, height=height)


class JpegEncoder:
    """Small pictures → JPEG. Used by one thread."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()
        self._contexts: dict[tuple[int, int], av.VideoCodecContext] = {}
        self._count = 0

    def encode(self, picture: av.VideoFrame) -> bytes:
        """The JPEG of what `Shrinker` made.

        Raises:
            SourceError: The encoder refuses it.
        """
        size = (picture.width, picture.height)
        context = self._contexts.get(size)
        if context is None:
            context = av.VideoCodecContext.create("mjpeg", "w")
            context.width, context.height = size
            context.pix_fmt = "yuv420p"
            context.color_range = ColorRange.JPEG
            context.time_base = Fraction(1, 1000)
            context.thread_count = 1  # more would hold pictures back
            context.options = {"qmin": _QUALITY, "qmax": _QUALITY}
            self._contexts[size] = context
        self._count += 1  # it takes pictures in the order of their times only
        picture.pts, picture.time_base = self._count, context.time_base
        try:
            return b"".join(bytes(packet) for packet in context.encode(picture))
        except av.FFmpegError as error:
            del self._contexts[size]
            raise SourceError(f"JPEG: {error}", retryable=True, reason="corrupt") from error

    def encode_image(self, image: Image, *, aspect: float, max_side: int) -> bytes:
        """The JPEG of an encoder's input, brought back to the shape it was taken in.

        Args:
            image: uint8 (H, W, 3), RGB.
            aspect: Width over height, as it is to be seen.
            max_side: Of the longer side of the result, in pixels.
        """
        height, width, _ = image.shape
        seen_width = max(width, round(height * aspect))
        seen_height = max(height, round(seen_width / aspect))
        width, height = fit_size(seen_width, seen_height, aspect=aspect, max_side=max_side)
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        return self.encode(_reformat(self._reformatter, frame, width=width, height=height))


def fit_size(width: int, height: int, *, aspect: float, max_side: int) -> tuple[int, int]:
    """Width and height, even, of that aspect, inside both the picture and the limit."""
    height_seen = min(height, width / aspect, max_side, max_side / aspect)
    return _even(height_seen * aspect), _even(height_seen)


def _even(length: float) -> int:
    return max(2, round(length / 2) * 2)


def _reformat(
    reformatter: VideoReformatter, frame: av.VideoFrame, *, width: int, height: int
) -> av.VideoFrame:
    known = frame.colorspace in KNOWN_MATRICES
    return reformatter.reformat(
        frame,
        width=width,
        height=height,
        format="yuv420p",
        src_colorspace=None if known else Colorspace.ITU601,
        dst_colorspace=Colorspace.ITU601,  # what every JPEG is read as
        dst_color_range=ColorRange.JPEG,
        interpolation=SwsFilter.AREA,
        threads=1,
    )
