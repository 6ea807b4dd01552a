from __future__ import annotations

import av
import numpy as np
import pytest

from streamer.core.preprocess import Fit, Interpolation, Preprocess
from streamer.sources.convert import Converter


def grey(
    luma: int, *, pix_fmt: str = "yuv420p", width: int = 64, height: int = 48
) -> av.VideoFrame:
    frame = av.VideoFrame(width, height, pix_fmt)
    for index, plane in enumerate(frame.planes):
        plane.update(bytes([128 if index else luma]) * plane.buffer_size)
    return frame


def halves(width: int, height: int) -> av.VideoFrame:
    """Red above, blue below, and a green first and last column in eighths."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, :, 0] = 255
    image[height // 2 :, :, 2] = 255
    image[:, : width // 8] = image[:, -(width // 8) :] = (0, 255, 0)
    return av.VideoFrame.from_ndarray(image, format="rgb24")


@pytest.mark.parametrize(
    ("pix_fmt", "black", "white"),
    [("yuv420p", 16, 235), ("yuvj420p", 0, 255), ("yuvj422p", 0, 255)],
)
def test_the_range_of_the_source_becomes_full(pix_fmt: str, black: int, white: int) -> None:
    converter = Converter(Preprocess(width=32, height=32))
    assert converter.convert(grey(black, pix_fmt=pix_fmt)).max() <= 2
    assert converter.convert(grey(white, pix_fmt=pix_fmt)).min() >= 253


def test_a_frame_tagged_as_full_range_is_read_so() -> None:
    frame = grey(16)
    frame.color_range = av.video.reformatter.ColorRange.JPEG
    image = Converter(Preprocess(width=8, height=8)).convert(frame)
    assert np.abs(image.astype(int) - 16).max() <= 1


@pytest.mark.parametrize("matrix", range(18))
def test_any_matrix_tag_is_converted(matrix: int) -> None:
    frame = grey(126)
    frame.colorspace = matrix
    image = Converter(Preprocess(width=8, height=8)).convert(frame)
    # 0 says that the planes are RGB already, and so differs.
    assert matrix == 0 or np.abs(image.astype(int) - 128).max() <= 2


@pytest.mark.parametrize("fit", Fit)
@pytest.mark.parametrize("interpolation", Interpolation)
@pytest.mark.parametrize("size", [(64, 48), (63, 47), (33, 101), (2, 2), (640, 2)])
def test_shape_and_memory(fit: Fit, interpolation: Interpolation, size: tuple[int, int]) -> None:
    preprocess = Preprocess(width=30, height=20, fit=fit, interpolation=interpolation)
    image = Converter(preprocess).convert(grey(100, width=size[0], height=size[1]))
    assert image.shape == (20, 30, 3)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert image.flags.owndata


def test_stretch_keeps_the_edges() -> None:
    image = Converter(Preprocess(width=64, height=64)).convert(halves(128, 64))
    assert image[10, 2].tolist() == [0, 255, 0]
    assert image[10, -3].tolist() == [0, 255, 0]
    assert image[10, 32].tolist() == [255, 0, 0]
    assert image[-10, 32].tolist() == [0, 0, 255]


def test_crop_keeps_the_middle_and_the_shape() -> None:
    image = Converter(Preprocess(width=64, height=64, fit=Fit.CROP)).convert(halves(128, 64))
    assert image[10, 0].tolist() == image[10, -1].tolist() == [255, 0, 0]
    assert image[-10, 0].tolist() == [0, 0, 255]


def test_letterbox_keeps_everything_between_black_bars() -> None:
    image = Converter(Preprocess(width=64, height=64, fit=Fit.LETTERBOX)).convert(halves(128, 64))
    assert image[:16].max() == 0
    assert image[48:].max() == 0
    assert image[20, 2].tolist() == [0, 255, 0]
    assert image[20, 32].tolist() == [255, 0, 0]
    assert image[44, 32].tolist() == [0, 0, 255]


def test_a_source_that_changes_midway() -> None:
    converter = Converter(Preprocess(width=16, height=16))
    for width, height, pix_fmt in [(64, 48, "yuv420p"), (31, 17, "yuvj422p"), (16, 16, "rgb24")]:
        picture = grey(128, pix_fmt=pix_fmt, width=width, height=height)
        image = converter.convert(picture)
        assert image.shape == (16, 16, 3)
        assert np.abs(image.astype(int) - 129).max() <= 2


def test_the_result_is_the_callers() -> None:
    frame = halves(16, 16)
    image = Converter(Preprocess(width=16, height=16)).convert(frame)
    before = frame.to_ndarray().copy()
    image[:] = 7
    assert np.array_equal(frame.to_ndarray(), before)
