from __future__ import annotations

import msgspec
import pytest
import typer
from typer.testing import CliRunner

from streamer.cli.eval import evaluate
from streamer.core.errors import ConfigError
from streamer.core.event import ActionData, PhaseData
from streamer.core.ledger import Ledger
from streamer.models.bundle import Bundle
from streamer.models.encoders.registry import open_encoder
from streamer.models.temporal.registry import open_online_model
from streamer.pipeline import Pipeline
from streamer.runtime.clock import SystemClock
from streamer.sources.recording import record
from streamer.training.annotations import Split
from streamer.training.evaluation.serving import Watcher
from streamer.training.evaluation.videos import load_videos
from streamer.training.features import FeatureMaker
from streamer.training.synthetic import SyntheticClip
from streamer.training.video import VideoClip
from streamer.training.video_dataset import video_dataset
from tests.bundles import ahead_bundle

CLOCK = SystemClock()
SECONDS = 6.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three clips of the work cell, and what is true in them."""
    folder = tmp_path_factory.mktemp("videos")
    rows = ["video,start,end,label,kind"]
    for index in range(3):
        form = {"seconds": SECONDS, "seed": 30_200 + index, "fps": 10.0, "crf": 23}
        form |= {"width": 160, "height": 120}
        record(folder / f"{index}.mp4", name="workcell", **form)
        rows += [
            f"{index}.mp4,{note.start_seconds},{note.end_seconds},{note.label},{note.kind}"
            for note in SyntheticClip(scene="workcell", **form).annotations(CLOCK)
        ]
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


def run(*options: str):
    app = typer.Typer()
    app.command()(evaluate)
    return CliRunner().invoke(app, options, catch_exceptions=False)


def said(events):
    """All of an event that does not depend on when and as which stream it was computed."""
    return [
        msgspec.structs.replace(
            data,
            latency=Ledger(),
            pipeline_seconds=0.0,
            timing=None,
            segment=untimed(data.segment),
            **(
                {"previous": msgspec.structs.replace(p, segment=untimed(p.segment))}
                if (p := getattr(data, "previous", None))
                else {}
            ),
        )
        for data in (event.data for event in events)
        if isinstance(data, PhaseData | ActionData)
    ]


def untimed(segment):
    """Capture times count from when the file was opened."""
    return msgspec.structs.replace(
        segment, start_ns="", end_ns=None if segment.end_ns is None else ""
    )


@pytest.mark.parametrize("lookahead", [0, 4])
def test_events_are_those_that_serving_emits(folder, tmp_path, lookahead):
    shipped = Bundle.load("workcell")
    bundle = ahead_bundle(tmp_path / "ahead", lookahead_frames=lookahead) if lookahead else shipped
    path = folder / "0.mp4"
    maker = FeatureMaker(
        open_encoder(bundle.config.encoder, preprocess=bundle.preprocess),
        analysis_fps=bundle.config.analysis_fps,
        cache=folder / "features",
        clock=CLOCK,
    )
    track = maker.track(VideoClip(path, ()))
    model = open_online_model(bundle)
    watched = Watcher(bundle, model).watch("0", track.features_TD, track.pts_T)
    model.close()
    served = said(Pipeline(str(path), bundle=bundle.path))
    assert len(served) > 5
    assert len(watched.logits_TC) == len(track.features_TD)
    assert said((*watched.events, *watched.closing)) == served


def test_a_report_is_written_for_bundles_of_several_seeds(folder):
    bundle, out = str(Bundle.load("workcell").path), folder / "out"
    options = ["--bundle", bundle, "--bundle", bundle, "--videos", str(folder / "labels.csv")]
    done = run(*options, "--out", str(out), "--resamples", "30", "--window-frames", "16")
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == str(out / "report.md")
    report = msgspec.json.decode((out / "report.json").read_bytes())
    assert [video["name"] for video in report["videos"]] == ["0.mp4", "1.mp4", "2.mp4"]
    phases = report["bundles"][0]["phases"]
    assert phases["carried"]["accuracy"] > 0.7
    assert phases["carried"]["accuracy"] != phases["window_reset"]["accuracy"]
    low, high = phases["carried_interval"]["accuracy"]
    assert low <= phases["carried"]["accuracy"] <= high
    assert report["spread"]["phases"]["carried"]["accuracy"]["standard_deviation"] == 0.0
    assert "reset every 16 frames" in (out / "report.md").read_text()


@pytest.mark.parametrize("seed", [3, 4])
def test_a_part_is_the_one_that_fit_made(folder, seed):
    path = folder / "halves.csv"
    rows = [f"{index}.mp4,0,3,early," for index in range(3)]
    path.write_text("\n".join(["video,start,end,label,kind", *rows]) + "\n")
    encoder = open_encoder("efficientnet_lite0")
    maker = FeatureMaker(encoder, analysis_fps=10.0, cache=folder / "features", clock=CLOCK)
    common = {"seed": seed, "maker": maker, "clock": CLOCK, "progress": lambda name: None}
    made = video_dataset(path, **common)
    for split in ("train", "validation", "test"):
        loaded = load_videos(path, labels=made.labels, split=Split(split), **common)
        (one,), (other,) = loaded, getattr(made, split)
        assert one.name == other.name
        assert (one.phases_T == other.phases_T).all()
    assert len(load_videos(path, labels=made.labels, split=None, **common)) == 3


def test_too_few_videos_have_no_parts(folder):
    path = folder / "two.csv"
    path.write_text("video,start,end,label\n0.mp4,0,1,idle\n1.mp4,0,1,idle\n")
    with pytest.raises(ConfigError, match=r"at least 3 sources .* found 2"):
        run(
            "--bundle",
            "workcell",
            "--videos",
            str(path),
            "--out",
            str(folder / "out"),
            "--split",
            "test",
        )


def test_one_video_has_scores_and_no_intervals(folder):
    path, out = folder / "one.csv", folder / "one"
    path.write_text("video,start,end,label\n0.mp4,0,1,idle\n")
    assert run("--bundle", "workcell", "--videos", str(path), "--out", str(out)).exit_code == 0
    report = msgspec.json.decode((out / "report.json").read_bytes())
    assert report["bundles"][0]["phases"]["carried_interval"] == {}
    assert report["bundles"][0]["phases"]["carried"]["accuracy"] > 0.5
    assert "one video has no spread" in (out / "report.md").read_text()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            ["0.mp4,0,1,dance,"],
            r"line 2: 0\.mp4: expected phases of the bundle \(idle, .*, found 'dance'",
        ),
        (["0.mp4,0,1,idle,action"], r"expected actions of the bundle \(carrying, .*found 'idle'"),
        (["gone.mp4,0,1,idle,"], r"line 2: .*gone\.mp4: expected a video file, found none"),
        (["labels.csv,0,1,idle,"], r"line 2: .*labels\.csv: can't read the video"),
        ([], "expected rows below a heading"),
    ],
)
def test_what_can_not_be_evaluated_is_named(folder, rows, message):
    path = folder / "wrong.csv"
    path.write_text("\n".join(["video,start,end,label,kind", *rows]) + "\n")
    with pytest.raises(ConfigError, match=message) as caught:
        run("--bundle", "workcell", "--videos", str(path), "--out", str(folder / "out"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--split", "rest"), "--split: expected one of all, train"),
        (("--background", "dance"), "--background: expected one of idle, .* found 'dance'"),
    ],
)
def test_wrong_options_are_told_before_anything_is_computed(folder, options, message):
    with pytest.raises(ConfigError, match=message):
        run("--bundle", "workcell", "--videos", "none.csv", "--out", str(folder), *options)
