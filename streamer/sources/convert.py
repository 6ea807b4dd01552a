"""Decoded picture → the encoder's input, by one pass of libswscale."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from av.video.reformatter import Interpolation as SwsFilter

from streamer.core.preprocess import Fit, Interpolation

if TYPE_CHECKING:
    import av

    from streamer.core.frame import Image
    from streamer.core.preprocess import Preprocess

# The exact rounding is slower by little and makes the result the same on every CPU.
_EXACT = SwsFilter.ACCURATE_RND | SwsFilter.BITEXACT
_FILTERS = {
    Interpolation.BILINEAR: SwsFilter.BILINEAR | _EXACT,
    Interpolation.BICUBIC: SwsFilter.BICUBIC | _EXACT,
    Interpolation.AREA: SwsFilter.AREA | _EXACT,
}
# What libswscale converts, by the numbers of ITU-T H.273. It refuses the rest with an error;
# cameras that tag their stream so (3 is "reserved") mean nothing by it.
KNOWN_MATRICES = frozenset({0, 1, 2, 4, 5, 6, 7, 9})


class Converter:
    """Converts the frames of one source. Used by one thread.

    Colour conversion and resize are one pass. Whether a source is of limited or full range is
    read from each frame; untagged YUV counts as limited, as its standards say, and as BT.601,
    which is also what a matrix tag unknown to libswscale is read as. Its fast path is up to 2 of
    255 levels off the formula (white at 253). A source may change its size or pixel format
    between frames.

    Args:
        preprocess: What the result must be.
    """

    def __init__(self, preprocess: Preprocess) -> None:
        self.preprocess = preprocess
        self._reformatter = VideoReformatter()

    def convert(self, frame: av.VideoFrame) -> Image:
        """The picture as the encoder wants it.

        Returns:
            uint8 (height, width, 3), RGB, full range, contiguous, owned by the caller.
        """
        width, height = self._scaled_size(frame.width, frame.height)
        scaled = self._scale(frame, width, height)
        if scaled.shape == self.preprocess.shape:
            return scaled
        if self.preprocess.fit is Fit.CROP:
            return self._cut(scaled)
        return self._pad(scaled)

    def _scale(self, frame: av.VideoFrame, width: int, height: int) -> Image:
        known = frame.colorspace in KNOWN_MATRICES
        rgb = self._reformatter.reformat(
            frame,
            width=width,
            height=height,
            format="rgb24",
            src_colorspace=None if known else Colorspace.ITU601,
            interpolation=_FILTERS[self.preprocess.interpolation],
            dst_color_range=ColorRange.JPEG,
            threads=1,  # the default would start a thread per core for every camera
        )
        # Rows of the frame are padded; the copy also lets the frame's buffer go.
        return np.array(rgb.to_ndarray(), dtype=np.uint8, order="C", copy=True)

    def _scaled_size(self, width: int, height: int) -> tuple[int, int]:
        target = self.preprocess
        if target.fit is Fit.STRETCH:
            return target.width, target.height
        choose = max if target.fit is Fit.CROP else min
        scale = choose(target.width / width, target.height / height)
        return max(1, round(width * scale)), max(1, round(height * scale))

    def _cut(self, image: Image) -> Image:
        height, width, _ = self.preprocess.shape
        top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
        return image[top : top + height, left : left + width].copy()

    def _pad(self, image: Image) -> Image:
        height, width, _ = image.shape
        canvas = np.zeros(self.preprocess.shape, np.uint8)
        top, left = (canvas.shape[0] - height) // 2, (canvas.shape[1] - width) // 2
        canvas[top : top + height, left : left + width] = image
        return canvas
