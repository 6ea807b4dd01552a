"""Rendered scenes as video files with known truth: for tests, training and the RTSP fixture."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import av
from av.video.reformatter import ColorRange, Colorspace

from streamer.core.errors import ConfigError
from streamer.sources.synthetic import check_scene, num_frames

if TYPE_CHECKING:
    from pathlib import Path

    from streamer.core.frame import Image
    from streamer.sources.workcell import Truth


def record(
    path: Path,
    *,
    seconds: float,
    name: str = "workcell",
    seed: int = 0,
    fps: float = 25.0,
    width: int = 320,
    height: int = 240,
    codec: str = "libx264",
    crf: int = 23,
    gop: int | None = None,
) -> list[Truth]:
    """Render a scene from 0 to `seconds` into a video file. An existing file is replaced.

    No frame is stored out of order (no B-frames), so that the file can be re-sent as if live.

    Args:
        path: Its suffix names the container (`.mp4`, `.mkv`, `.ts`).
        seconds: Length.
        name: Which scene, as in `synthetic:NAME`.
        seed: See `SyntheticSource`.
        fps: Frames per second.
        width: Pixels, even: chroma has half the resolution.
        height: Pixels, even.
        codec: An encoder of FFmpeg that takes yuv420p and `crf`.
        crf: Constant quality, 0 (best) to 51.
        gop: Frames from one key frame to the next; None for one a second.

    Returns:
        What is true in it, in presentation time.

    Raises:
        ConfigError: One of the arguments can't be.
    """
    make = check_scene(name, seed=seed, fps=fps, width=width, height=height, seconds=seconds)
    if width % 2 or height % 2:
        raise ConfigError(f"recording: expected an even width and height, found {width}x{height}")
    _check_encoder(codec)
    scene = make(seed, width=width, height=height)
    rate = Fraction(fps).limit_denominator(1001)
    gop = max(1, round(fps)) if gop is None else gop
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate, {"crf": str(crf), "preset": "veryfast"})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        _set_up(stream.codec_context, gop=gop)
        for index in range(num_frames(seconds, fps=fps)):
            frame = _to_yuv(scene.render(float(index / rate)))
            frame.pts, frame.time_base = index, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return scene.script.truth(seconds)


def _check_encoder(codec: str) -> None:
    try:
        kind = av.Codec(codec, "w").type
    except av.codec.codec.UnknownCodecError:
        kind = "unknown"
    if kind != "video":
        raise ConfigError(
            f"recording: expected the name of a video encoder of FFmpeg, found {codec!r} ({kind})"
        )


def _set_up(context: av.VideoCodecContext, *, gop: int) -> None:
    context.gop_size = gop
    context.max_b_frames = 0
    context.thread_count = 1
    # Said in the file, so that a reader need not guess.
    context.colorspace = Colorspace.SMPTE170M
    context.color_range = ColorRange.MPEG


def _to_yuv(image: Image) -> av.VideoFrame:
    """BT.601, limited range."""
    return av.VideoFrame.from_ndarray(image, format="rgb24").reformat(
        format="yuv420p",
        dst_colorspace=Colorspace.SMPTE170M,
        dst_color_range=ColorRange.MPEG,
        threads=1,
    )
