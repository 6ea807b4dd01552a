"""`streamer explain` from the table to the report, for every cell and the heads it can show."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from streamer.cli.explain import explain
from streamer.cli.labelled import load_labelled_clips
from streamer.core.errors import ConfigError
from streamer.training.explanation.clips import as_example, true_values
from streamer.training.explanation.importance import Permuting
from streamer.training.explanation.run import Plan, check_plan
from streamer.training.losses import UNKNOWN
from tests.clip_tables import write_set
from tests.explaining import PHASES, SET, told_bundle, told_config, told_example, write_videos
from tests.networks import ARCHITECTURES, make_network

PERMUTING = Permuting(shuffle="videos", block_frames=1, num_repeats=1, seed=0)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("told")
    return write_videos(folder, [told_example(seed, num_frames=60) for seed in range(3)])


def run(*options):
    app = typer.Typer()
    app.command()(explain)
    return CliRunner().invoke(app, [str(option) for option in options], catch_exceptions=False)


def write_clips(folder, lines, *, count=1):
    """A table of clips of `count` recordings of 6 s."""
    tracks = {f"{n}.npy": told_example(n, num_frames=60).features_TD for n in range(count)}
    return write_set(folder / "clips.csv", tracks, lines, features=SET)


def report_of(out):
    return msgspec.json.decode((out / "report.json").read_bytes())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_report_and_pictures_are_written(tmp_path, videos, architecture):
    config = told_config(architecture=architecture, num_layers=2)
    bundle = told_bundle(tmp_path / "bundle", make_network(config))
    out = tmp_path / "out"
    options = ["--groups", 3, "--repeats", 2, "--group-by", "correlation", "--shuffle", "blocks"]
    options += ["--block-seconds", 1, "--show", "1.npy", "--show", "2.npy"]
    done = run("--bundle", bundle.path, "--videos", videos, "--out", out, *options)
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == str(out / "report.md")
    assert sorted(path.name for path in out.iterdir()) == [
        "importance.png", "report.json", "report.md", "video-1.png", "video-2.png",
    ]  # fmt: skip
    report = report_of(out)
    importance = report["importance"]
    assert importance["block_frames"] == 10
    columns = sorted(column for group in importance["groups"] for column in group["columns"])
    assert columns == list(range(12))
    for group in importance["groups"]:
        drop = group["drop"]["accuracy"]
        assert drop["mean"] == pytest.approx(np.mean(drop["repeats"]))
        assert drop["standard_deviation"] == pytest.approx(np.std(drop["repeats"], ddof=1))
    assert [video["name"] for video in report["videos"]] == ["1.npy", "2.npy"]
    for layer in report["videos"][0]["layers"]:
        expected = {"reset", "update"} if architecture == "gru" else {"input", "forget", "output"}
        assert set(layer["gates"]) == expected
    text = (out / "report.md").read_text()
    assert "shuffled within each video by blocks of 10 frames" in text
    assert "![1.npy](video-1.png)" in text
    assert "## Gates" in text
    assert "Left out" not in text


@pytest.mark.parametrize("pooling", ["attention", "mean"])
@pytest.mark.parametrize("directions", [1, 2])
def test_heads_of_whole_clips_show_their_weights_over_time(tmp_path, pooling, directions):
    lines = ["video,start,end,label", "0.npy,,,work", "1.npy,0,4,rest", "1.npy,4,6,idle"]
    videos = write_clips(tmp_path, lines, count=2)
    head = {"head": "sequence", "pooling": pooling, "actions": (), "directions": directions}
    bundle = told_bundle(tmp_path / "bundle", make_network(told_config(**head)))
    assert (
        run("--bundle", bundle.path, "--videos", videos, "--out", tmp_path / "out").exit_code == 0
    )
    report = report_of(tmp_path / "out")
    assert report["importance"] is None
    first = report["videos"][0]
    assert [(video["name"], video["frames"]) for video in report["videos"]] == [
        ("0.npy", 60), ("1.npy 0-4 s", 40), ("1.npy 4-6 s", 20)
    ]  # fmt: skip
    weights = np.array(first["weights"])
    assert weights.shape == (60,)
    assert weights.sum() == pytest.approx(1, abs=1e-4)
    assert first["peak_seconds"] == pytest.approx(weights.argmax() / 10)
    assert set(first["outputs"]) == set(PHASES)
    if pooling == "mean":
        assert first["effective_frames"] == pytest.approx(60, rel=1e-4)
    assert len(first["layers"]) == (1 if directions == 1 else 0)
    text = (tmp_path / "out" / "report.md").read_text()
    assert f"## Weights over time ({pooling})" in text
    assert "Left out**: Importance: the head sequence is not judged by its frames" in text
    assert ("Left out**: Gates" in text) == (directions == 2)


@pytest.mark.parametrize(
    ("pooling", "lines"),
    [
        ("attention", ["0.npy,,,pressure,3.25"]),
        ("none", ["0.npy,0,2.5,pressure,3.25", "0.npy,2.5,4,pressure,2.8"]),
    ],
)
def test_values_are_shown_beside_what_the_table_says(tmp_path, pooling, lines):
    videos = write_clips(tmp_path, ["video,start,end,label,value", *lines])
    head = {"head": "regression", "pooling": pooling, "phases": (), "actions": ()}
    config = told_config(**head, targets=("pressure",))
    bundle = told_bundle(tmp_path / "bundle", make_network(config))
    out = tmp_path / "out"
    assert run("--bundle", bundle.path, "--videos", videos, "--out", out).exit_code == 0
    first = report_of(out)["videos"][0]
    assert ("weights" in first) == (pooling == "attention")
    assert ("(true 3.25)" in (out / "report.md").read_text()) == (pooling == "attention")
    assert (out / "video-1.png").stat().st_size > 10_000


def test_values_of_frames_are_true_where_the_table_says_so(tmp_path):
    lines = ["video,start,end,label,value", "0.npy,0,2.5,pressure,3", "0.npy,2.5,4,pressure,2"]
    videos = write_clips(tmp_path, lines)
    head = {"head": "regression", "pooling": "none", "phases": (), "actions": ()}
    config = told_config(**head, targets=("pressure",))
    bundle = told_bundle(tmp_path / "bundle", make_network(config))
    clips = load_labelled_clips(
        bundle, videos, split="all", seed=1, encoder=None, device=None, cache=tmp_path
    )
    values_T = true_values(clips, config)["0.npy"][:, 0]
    assert values_T[:40].tolist() == [3] * 25 + [2] * 15
    assert np.isnan(values_T[40:]).all()
    assert (as_example(clips[0], config).phases_T == UNKNOWN).all()


@pytest.mark.parametrize("times", ["0,2.5 2.5,6", ", ,"])
def test_a_ctc_is_shown_with_its_blank(tmp_path, times):
    lines = [f"0.npy,{span},{name}" for span, name in zip(times.split(), PHASES, strict=False)]
    videos = write_clips(tmp_path, ["video,start,end,label", *lines])
    bundle = told_bundle(
        tmp_path / "bundle", make_network(told_config(head="ctc", actions=(), num_layers=1))
    )
    out = tmp_path / "out"
    assert run("--bundle", bundle.path, "--videos", videos, "--out", out).exit_code == 0
    assert (out / "video-1.png").stat().st_size > 10_000


def test_truth_that_says_nothing_is_refused(tmp_path):
    example = told_example(0, num_frames=60)
    videos = write_videos(tmp_path, [example])
    # A label that ends before the next frame comes is true of no frame.
    videos.write_text("video,start,end,label,kind\n0.npy,2.01,2.09,lamp,action\n")
    bundle = told_bundle(tmp_path / "bundle", make_network(told_config()))
    options = ["--groups", 2, "--shuffle", "blocks", "--block-seconds", 1]
    with pytest.raises(ConfigError, match=r"expected frames of a known phase .* found none"):
        run("--bundle", bundle.path, "--videos", videos, "--out", tmp_path / "out", *options)


def test_two_directions_have_importance_and_no_gates(tmp_path, videos):
    bundle = told_bundle(tmp_path / "bundle", make_network(told_config(directions=2)))
    options = ["--groups", 2, "--repeats", 1]
    done = run("--bundle", bundle.path, "--videos", videos, "--out", tmp_path / "out", *options)
    assert done.exit_code == 0
    report = report_of(tmp_path / "out")
    assert len(report["importance"]["groups"]) == 2
    assert report["importance"]["groups"][0]["drop"]["accuracy"]["standard_deviation"] is None
    assert all(video["layers"] == [] for video in report["videos"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--split", "rest"), r"--split: expected one of all, train"),
        (("--groups", 13), r"groups: expected 1 to 12, .* found 13"),
        (
            ("--groups", 2, "--show", "9.npy"),
            r"--show: expected names of the videos \(0\.npy, .*found '9\.npy'",
        ),
        (
            ("--groups", 2, "--shuffle", "blocks", "--block-seconds", 6),
            r"0\.npy: expected at least 2 blocks of 60",
        ),
    ],
)
def test_what_can_not_be_done_is_one_line(tmp_path, videos, options, message):
    bundle = told_bundle(tmp_path / "bundle", make_network(told_config()))
    with pytest.raises(ConfigError, match=message) as caught:
        run("--bundle", bundle.path, "--videos", videos, "--out", tmp_path / "out", *options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"anomaly_dim": 4}, "scores of anomalies alone"),
        ({"head": "caption", "targets": ("a", "b")}, "captions"),
    ],
)
def test_models_of_other_things_are_refused(changes, found):
    config = told_config(**({"phases": (), "actions": ()} | changes))
    with pytest.raises(ConfigError, match=f"to explain, found one of {found}"):
        check_plan(config, Plan(num_groups=2, group_by="blocks", permuting=PERMUTING))
