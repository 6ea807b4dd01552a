from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from streamer.cli.dataset import dataset_app
from streamer.cli.fit import fit
from streamer.core.errors import ConfigError, ModelError
from streamer.models.bundle import Bundle
from streamer.training.annotations import Annotation, Kind, Labels, Row, Split
from streamer.training.dataset import Example, make_examples
from streamer.training.external import ExternalEncoder, ExternalTracks
from streamer.training.feature_file import FeatureSet
from streamer.training.features import FeatureTrack
from streamer.training.recording import Recording
from streamer.training.splitting import deal
from streamer.training.video import VideoClip
from tests import exports

LABELS = Labels(("wait", "work"), ())
NOTE = Annotation(label="wait", kind=Kind.PHASE, start_seconds=0.0, end_seconds=1.0)
BOTH = (0, 1)


def recording(name: str, split: Split | None = None, source: str = "") -> Recording:
    return Recording(
        Path(name), (Row(video=Path(name), annotation=NOTE, split=split, source=source),)
    )


def example(name: str, phases=BOTH) -> Example:
    return Example(
        name=name,
        compressed=True,
        features_TD=np.zeros((len(phases), 2), np.float16),
        pts_T=np.arange(len(phases)) / 10,
        phases_T=np.array(phases),
        actions_TA=np.zeros((len(phases), 0), np.float32),
    )


def dealt(recordings, examples=None, *, seed: int = 1) -> dict[str, set[str]]:
    """Names by part."""
    examples = examples or [example(each.path.name) for each in recordings]
    parts = deal(recordings, examples, labels=LABELS, seed=seed)
    return {split.value: {each.name for each in part} for split, part in parts.items()}


def test_without_a_split_whole_sources_are_dealt_out_and_nothing_is_lost():
    recordings = [recording(f"{k}.mp4", source=f"day {k // 3}") for k in range(18)]
    seen = set()
    for seed in range(20):
        parts = dealt(recordings, seed=seed)
        sources = [{int(name[:-4]) // 3 for name in part} for part in parts.values()]
        assert sum(map(len, parts.values())) == 18
        assert sum(map(len, sources)) == len(set().union(*sources)) == 6
        assert all(parts.values())
        seen.add(frozenset(parts["test"]))
    assert len(seen) > 3


def test_a_split_is_kept_and_missing_parts_come_out_of_training():
    recordings = [recording(f"{k}", Split.TRAIN) for k in range(5)]
    recordings += [recording(f"test {k}", Split.TEST) for k in range(2)]
    parts = dealt(recordings)
    assert parts["test"] == {"test 0", "test 1"}
    assert (len(parts["train"]), len(parts["validation"])) == (4, 1)
    recordings[0] = recording("0", Split.VALIDATION)
    assert dealt(recordings)["validation"] == {"0"}
    assert dealt(recordings, seed=7) == dealt(recordings, seed=8)


def test_training_sees_every_label_or_nothing_is_dealt():
    recordings = [recording(f"{k}") for k in range(4)]
    rare = [example("0", (0, 1)), *(example(f"{k}", (0, 0)) for k in (1, 2, 3))]
    for seed in range(10):
        assert "0" in dealt(recordings, rare, seed=seed)["train"]
    never = [example(f"{k}", (0, 0)) for k in range(4)]
    with pytest.raises(ConfigError, match="'work'"):
        dealt(recordings, never)
    with pytest.raises(ConfigError, match="at least 3 sources"):
        dealt([recording("0", source="a"), recording("1", source="a"), recording("2")])


class OddMaker:
    """Gives the tracks it was given, one after the other."""

    def __init__(self, *features) -> None:
        self._features = list(features)

    def track(self, clip, *, report=None):
        features_TD = np.asarray(self._features.pop(0), np.float16)
        report(1.5)
        return FeatureTrack(features_TD, np.arange(len(features_TD)) / 10)


def examples_of(*features, told=None):
    clips = [VideoClip(Path(f"{k}.mp4"), (NOTE,)) for k in range(len(features))]
    progress = (told if told is not None else []).append
    maker = OddMaker(*features)
    return make_examples(clips, labels=LABELS, maker=maker, clock=None, progress=progress)


def test_features_that_are_no_numbers_or_of_another_width_are_named():
    bad = np.ones((4, 2))
    bad[2, 1] = np.nan
    with pytest.raises(ConfigError, match=r"1\.mp4: frame 2 .*found nan in 1 of 4"):
        examples_of(np.ones((4, 2)), bad)
    with pytest.raises(ConfigError, match=r"1\.mp4: expected 2 features .* 0\.mp4, found 3"):
        examples_of(np.ones((4, 2)), np.ones((4, 3)))


def test_progress_counts_clips_and_seconds():
    told = []
    examples_of(np.ones((4, 2)), np.ones((4, 2)), told=told)
    assert [(p.name, p.index, p.total, p.seconds) for p in told] == [
        ("0.mp4", 0, 2, 0.0),
        ("0.mp4", 0, 2, 1.5),
        ("1.mp4", 1, 2, 0.0),
        ("1.mp4", 1, 2, 1.5),
    ]


def test_external_features_are_sampled_like_frames(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(60, dtype=np.float64).reshape(2, 30))
    features = FeatureSet(name="set", feature_dim=2, fps=30.0)
    clip = VideoClip(tmp_path / "a.npy", ())
    track = ExternalTracks(features, analysis_fps=10.0).track(clip)
    taken = [0, *range(2, 30, 3)]  # the first that is nearest to each tenth of a second
    np.testing.assert_allclose(track.pts_T, np.array(taken) / 30)
    assert track.features_TD.tolist() == [[k, 30 + k] for k in taken]
    assert len(ExternalTracks(features, analysis_fps=99.0).track(clip).pts_T) == 30


def test_external_features_have_an_id_of_their_own():
    one = FeatureSet(name="one", feature_dim=2, fps=30.0)
    assert one.encoder_id.startswith("sha256:")
    assert one.encoder_id == FeatureSet(name="one", feature_dim=2, fps=15.0).encoder_id
    others = [
        FeatureSet(name="two", feature_dim=2, fps=30.0),
        FeatureSet(name="one", feature_dim=3, fps=30.0),
    ]
    assert len({one.encoder_id, *(other.encoder_id for other in others)}) == 3
    with pytest.raises(ModelError, match="external:one"):
        ExternalEncoder(one).encode(np.zeros((1, 8, 8, 3), np.uint8))


def test_an_ms_tcn_folder_is_imported_checked_and_trained_on_without_videos(tmp_path):
    folder = exports.write_ms_tcn(tmp_path / "salads")
    out = tmp_path / "salads.csv"
    runner = CliRunner()
    arguments = ["import", "ms-tcn", str(folder), "--fps", "15", "--out", str(out)]
    done = runner.invoke(dataset_app, arguments, catch_exceptions=False)
    assert "36 rows of 6 videos (5 train, 1 test), 3 phases" in done.output
    with pytest.raises(ConfigError, match="--overwrite"):
        runner.invoke(dataset_app, arguments, catch_exceptions=False)
    assert runner.invoke(dataset_app, ["check", str(out)], catch_exceptions=False).exit_code == 0
    app = typer.Typer()
    app.command()(fit)
    options = ["--videos", str(out), "--out", str(tmp_path / "run"), "--updates", "40"]
    done = runner.invoke(app, [*options, "--analysis-fps", "30"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    bundle = Bundle.load(tmp_path / "run" / "bundle")
    assert bundle.config.encoder == "external:salads"
    assert (bundle.config.feature_dim, bundle.config.analysis_fps) == (6, 15.0)
    assert bundle.metrics["test"]["num_clips"] == 1
    assert bundle.metrics["test"]["frames"]["phase_accuracy"] > 0.6
    assert not list(tmp_path.glob("**/*.npz"))
