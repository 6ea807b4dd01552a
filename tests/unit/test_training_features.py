from __future__ import annotations

import msgspec
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from streamer.cli.fit import fit
from streamer.core.errors import ConfigError
from streamer.core.preprocess import Fit, Interpolation
from streamer.models.bundle import Bundle
from streamer.models.encoders.registry import open_encoder
from streamer.runtime.clock import SystemClock
from streamer.sources.recording import record
from streamer.training.features import FeatureMaker, FeatureTrack
from streamer.training.synthetic import make_clips, scene_labels
from streamer.training.video import VideoClip
from streamer.training.video_dataset import video_dataset

CLOCK = SystemClock()


@pytest.fixture(scope="module")
def encoder():
    return open_encoder("efficientnet_lite0")


class CountingEncoder:
    """The encoder, and how many frames it was given."""

    def __init__(self, encoder) -> None:
        self.preprocess, self.encoder_id = encoder.preprocess, encoder.encoder_id
        self.batch_policy, self.feature_dim = encoder.batch_policy, encoder.feature_dim
        self.num_frames = 0
        self._encoder = encoder

    def encode(self, images_NHWC):
        self.num_frames += len(images_NHWC)
        return self._encoder.encode(images_NHWC)


def make(encoder, cache, *, fps: float = 5.0) -> FeatureMaker:
    return FeatureMaker(encoder, analysis_fps=fps, cache=cache, clock=CLOCK)


def test_a_clip_becomes_features_at_the_analysed_rate_and_is_kept(encoder, tmp_path):
    rendered, compressed = make_clips("workcell", first_seed=7, num_seeds=2, seconds=1.0)
    assert (rendered.compressed, compressed.compressed) == (False, True)
    counting = CountingEncoder(encoder)
    for clip in (rendered, compressed):
        counting.num_frames = 0
        track = make(counting, tmp_path).track(clip)
        num_frames = 6  # the last is the first of those nearest to 1.0
        assert track.features_TD.shape == (num_frames, encoder.feature_dim)
        np.testing.assert_allclose(track.pts_T, np.arange(num_frames) / 5, atol=0.1)
        assert counting.num_frames == num_frames
        again = make(counting, tmp_path).track(clip)
        assert counting.num_frames == num_frames
        assert (again.features_TD == track.features_TD).all()
        assert (again.pts_T == track.pts_T).all()
    assert len(list(tmp_path.iterdir())) == 2
    counting.num_frames = 0
    assert len(make(counting, tmp_path, fps=2.0).track(rendered).pts_T) == 3
    assert counting.num_frames == 3


def test_features_are_those_of_serving(encoder, tmp_path):
    (clip,) = make_clips("workcell", first_seed=7, num_seeds=1, seconds=1.0)
    track = make(encoder, tmp_path).track(clip)
    with clip.source(CLOCK) as source:
        image = source.picture(track.pts_T[3], preprocess=encoder.preprocess)
    alone = encoder.encode(image[None])[0]
    np.testing.assert_allclose(track.features_TD[3], alone, atol=0.01)


def test_another_preprocessing_is_another_encoder_and_its_features_are_made_anew(encoder, tmp_path):
    (clip,) = make_clips("workcell", first_seed=7, num_seeds=1, seconds=0.4)
    track = make(encoder, tmp_path).track(clip)
    for number, changes in enumerate(({"fit": Fit.CROP}, {"interpolation": Interpolation.AREA}), 2):
        other = open_encoder(
            "efficientnet_lite0", preprocess=msgspec.structs.replace(encoder.preprocess, **changes)
        )
        assert other.encoder_id != encoder.encoder_id
        changed = make(other, tmp_path).track(clip)
        assert len(list(tmp_path.iterdir())) == number
        assert (changed.features_TD != track.features_TD).any()


def test_a_damaged_cache_is_made_again(encoder, tmp_path):
    (clip,) = make_clips("workcell", first_seed=7, num_seeds=1, seconds=0.4)
    track = make(encoder, tmp_path).track(clip)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:100])
    assert (make(encoder, tmp_path).track(clip).features_TD == track.features_TD).all()


def test_tracks_check_themselves():
    with pytest.raises(ValueError, match="float16"):
        FeatureTrack(np.zeros((2, 3), np.float32), np.zeros(2))
    with pytest.raises(ValueError, match="2 times"):
        FeatureTrack(np.zeros((2, 3), np.float16), np.zeros(3))


def test_scenes_have_labels():
    assert scene_labels("workcell").phases[0] == "idle"
    with pytest.raises(ConfigError, match="workcell"):
        scene_labels("kitchen")


def test_a_video_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"gone\.mp4"):
        VideoClip(tmp_path / "gone.mp4", ()).fingerprint(CLOCK)


def app() -> typer.Typer:
    made = typer.Typer()
    made.command()(fit)
    return made


def write_videos(folder, *, count: int) -> str:
    """Clips of a scene whose second half is called otherwise than its first."""
    rows = ["video,start,end,label,kind"]
    for index in range(count):
        record(folder / f"{index}.mp4", seconds=1.6, seed=index, fps=10.0, width=64, height=48)
        rows += [f"{index}.mp4,0,0.8,early,", f"{index}.mp4,0.4,1.0,middle,action"]
    path = folder / "labels.csv"
    path.write_text("\n".join(rows) + "\n")
    return str(path)


def test_fit_on_own_videos_makes_a_bundle(tmp_path):
    labels = write_videos(tmp_path, count=4)
    options = ["--videos", labels, "--out", str(tmp_path / "runs" / "x"), "--updates", "3"]
    done = CliRunner().invoke(app(), options, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    bundle = Bundle.load(tmp_path / "runs" / "x" / "bundle")
    assert bundle.model_id in done.output
    assert bundle.config.name == "labels"
    # Nobody said what the second half is.
    assert bundle.config.phases == ("early", "background")
    assert bundle.config.actions == ("middle",)
    assert bundle.metrics["test"]["num_frames"] == 16
    assert len(list((tmp_path / "runs" / "features").iterdir())) == 4


def test_too_few_videos_are_refused(encoder, tmp_path):
    labels = tmp_path / "labels.csv"
    labels.write_text("video,start,end,label\na.mp4,0,1,x\nb.mp4,0,1,x\n")
    with pytest.raises(ConfigError, match="at least 3 videos"):
        video_dataset(
            labels, seed=1, maker=make(encoder, tmp_path), clock=CLOCK, progress=lambda name: None
        )


@pytest.mark.parametrize(
    "options", [[], ["--synthetic", "workcell", "--videos", "labels.csv"]], ids=["none", "both"]
)
def test_fit_wants_one_kind_of_data(tmp_path, options):
    with pytest.raises(ConfigError, match="one of --synthetic, --videos and --self-supervised"):
        CliRunner().invoke(app(), [*options, "--out", str(tmp_path / "x")], catch_exceptions=False)
    assert not list(tmp_path.iterdir())
