"""Pictures for people: sizes, and what is remembered of a stream."""

from __future__ import annotations

import io

import av
import numpy as np
import pytest

from streamer.core.clock import ClockSource
from streamer.core.frame import Frame, FrameStamp
from streamer.core.preprocess import Fit, Preprocess
from streamer.runtime.pictures import RecentPictures
from streamer.sources.jpeg import JpegEncoder, Shrinker, fit_size
from streamer.sources.recording import record
from streamer.sources.spec import SourceSpec, open_source
from streamer.stages.ingest import IngestStage
from streamer.testing.clock import ManualClock


def size_of(jpeg):
    with av.open(io.BytesIO(jpeg), format="mjpeg") as container:
        (frame,) = container.decode(video=0)
    return frame.width, frame.height


@pytest.mark.parametrize(
    ("size", "aspect", "limit", "expected"),
    [
        ((1920, 1080), 16 / 9, 640, (640, 360)),
        ((1080, 1920), 9 / 16, 640, (360, 640)),
        ((320, 240), 4 / 3, 640, (320, 240)),  # never larger than it is
        ((720, 576), 16 / 9, 640, (640, 360)),  # pixels that are not square
        ((720, 576), 16 / 9, 4096, (720, 404)),
        ((33, 33), 1.0, 640, (32, 32)),
        ((4000, 3), 4000 / 3, 640, (640, 2)),
    ],
)
def test_sizes(size, aspect, limit, expected):
    assert fit_size(*size, aspect=aspect, max_side=limit) == expected


def test_an_encoders_input_gets_its_shape_back():
    image = np.zeros((224, 224, 3), np.uint8)
    for aspect, expected in ((16 / 9, (398, 224)), (9 / 16, (224, 398)), (1.0, (224, 224))):
        jpeg = JpegEncoder().encode_image(image, aspect=aspect, max_side=640)
        assert size_of(jpeg) == expected


def test_colours_are_kept_from_the_camera_to_the_jpeg():
    """Of a BT.709 source of limited range, as HD cameras are."""
    colours = np.array([[200, 30, 30], [30, 200, 30], [30, 30, 200], [255, 255, 255]], np.uint8)
    rgb = np.repeat(np.repeat(colours.reshape(2, 2, 3), 64, 0), 64, 1)
    frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(
        format="yuv420p", dst_colorspace="ITU709"
    )
    frame.colorspace = 1
    jpeg = JpegEncoder().encode(Shrinker(max_side=64).shrink(frame, aspect=1.0))
    with av.open(io.BytesIO(jpeg), format="mjpeg") as container:
        (decoded,) = container.decode(video=0)
    shown = decoded.to_ndarray(format="rgb24")[16::32, 16::32].reshape(4, 3)
    assert np.abs(shown.astype(int) - colours.astype(int)).max() <= 8


def test_the_newest_frames_are_found_and_previews_come_as_often_as_wanted(tmp_path):
    clip = tmp_path / "clip.mp4"
    record(clip, seconds=4, seed=3, fps=10)
    preprocess, clock = Preprocess(), ManualClock()
    pictures = RecentPictures(num_frames=8, preprocess=preprocess, max_side=160)
    stage = IngestStage("cam", session="s", analysis_fps=10)
    stage.begin_epoch(epoch=1, last_us=0)
    source = open_source(SourceSpec(stream_id="cam", url=str(clip)), clock=clock)
    source.open()
    shown, jpeg = [], JpegEncoder()
    for number, decoded in enumerate(source.frames()):
        clock.advance(0.1)
        if number == 10:
            pictures.want_previews(2.0)
        if number == 30:
            pictures.want_previews(0.0)
        image = decoded.to_image(preprocess)
        pictures.take(stage.frame(decoded, image, ready=clock.mark()), decoded)
        preview = pictures.next_preview()
        if preview is not None:
            assert size_of(jpeg.encode(preview.picture)) == (160, 120)
            shown.append(preview.stamp.seq)
    source.close()
    assert shown == [10, 15, 20, 25]
    found = [pictures.find(epoch=1, seq=seq) for seq in range(40)]
    assert [recent.frame.stamp.seq for recent in found if recent] == list(range(32, 40))
    assert found[39].aspect == pytest.approx(4 / 3)
    assert pictures.find(epoch=2, seq=39) is None
    assert pictures.next_preview() is None


def test_a_picture_that_was_cropped_for_the_encoder_is_shown_as_it_was_cropped():
    class Wide:
        aspect = 16 / 9

    for fit, expected in ((Fit.STRETCH, 16 / 9), (Fit.CROP, 1.0), (Fit.LETTERBOX, 1.0)):
        preprocess = Preprocess(fit=fit)
        pictures = RecentPictures(num_frames=1, preprocess=preprocess, max_side=64)
        pictures.take(_frame(np.zeros(preprocess.shape, np.uint8)), Wide())
        assert pictures.find(epoch=1, seq=0).aspect == expected


def _frame(image):
    mark = ManualClock().mark()
    stamp = FrameStamp(
        stream_id="cam",
        session="s",
        epoch=1,
        seq=0,
        entry_us=1,
        pts_seconds=0.0,
        captured_at_ns=0,
        received_at_ns=0,
        clock=ClockSource.HOST,
        decode_seconds=0.0,
        ready=mark,
    )
    return Frame(stamp, image)
