"""`streamer eval` of heads beyond classes per frame: the graphs of a bundle, on a table's clips."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from streamer.cli.app import app
from streamer.cli.eval import evaluate
from streamer.core.errors import ConfigError, ModelError
from streamer.core.preprocess import Preprocess
from streamer.models.inspection import inspect_bundle
from streamer.models.manifest import make_manifest
from streamer.training.clip_readings import Reading, read_with_bundle
from streamer.training.clip_run import NO_THRESHOLDS
from streamer.training.clip_scores import OrderScorer, order_edit
from streamer.training.export import write_bundle
from streamer.training.graph import make_graph
from tests.clip_tables import (
    COLOURS,
    SET,
    VALUES,
    write_captions,
    write_classes,
    write_orders,
    write_values,
)
from tests.clips import FEATURE_DIM, PHASES, WORDS, clip_config
from tests.networks import make_network

HEADS = {
    "sequence": {"phases": tuple(sorted(COLOURS)), "pooling": "attention"},
    "ctc": {"phases": PHASES},
    "regression": {"targets": tuple(sorted(VALUES)), "pooling": "mean"},
    "caption": {"targets": tuple(word.replace(" ", "") for word in WORDS)},
}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def bundle_of(folder, head, *, seed=0, **changes):
    features = {"analysis_fps": 10.0, "encoder": "external:told", "encoder_id": SET.encoder_id}
    config = clip_config(head=head, **(HEADS[head] | features | changes))
    network = make_network(config, seed=seed)
    return write_bundle(
        folder,
        model=network,
        config=config,
        preprocess=Preprocess(),
        decoder=NO_THRESHOLDS,
        metrics={"origin": "noise"},
    )


def run(*options):
    alone = typer.Typer()
    alone.command()(evaluate)
    arguments = [*(str(option) for option in options), "--resamples", "40"]
    return CliRunner().invoke(alone, arguments, catch_exceptions=False)


def report_of(out):
    return msgspec.json.decode((out / "report.json").read_bytes())


def test_classes_are_measured_with_every_clip_and_the_confusion(tmp_path):
    table = write_classes(tmp_path, 12)
    one, two = (bundle_of(tmp_path / f"b{seed}", "sequence", seed=seed) for seed in (0, 1))
    out = tmp_path / "out"
    done = run("--bundle", one.path, "--bundle", two.path, "--videos", table, "--out", out)
    assert done.exit_code == 0, done.output
    report = report_of(out)
    first = report["bundles"][0]
    truth = [row.rpartition(",")[2] for row in table.read_text().split()[1:]]
    by_name = dict(zip((f"{n}.npy" for n in range(12)), truth, strict=True))
    told = dict(zip((clip["name"] for clip in report["clips"]), first["clips"], strict=True))
    assert {name: clip["truth"] for name, clip in told.items()} == by_name
    right = np.mean([clip["truth"] == clip["said"] for clip in told.values()])
    assert first["scores"]["accuracy"] == pytest.approx(right)
    confusion = np.array(first["confusion"])
    assert confusion.trace() / confusion.sum() == pytest.approx(right)
    assert confusion.sum(axis=1).tolist() == [truth.count(name) for name in first["classes"]]
    # The chance that a red clip is taken for red with more certainty than a blue one.
    red = [clip["probabilities"]["red"] for clip in told.values() if clip["truth"] == "red"]
    blue = [clip["probabilities"]["red"] for clip in told.values() if clip["truth"] == "blue"]
    wins = np.mean([(x > y) + 0.5 * (x == y) for x in red for y in blue])
    assert first["scores"]["roc_auc"] == pytest.approx(wins, abs=0.03)
    low, high = first["intervals"]["accuracy"]
    assert low <= right <= high
    text = (out / "report.md").read_text()
    assert "## Mean ± standard deviation over bundles" in text
    assert "### Truth (rows) against what was said (bundle 2)" in text
    assert {path.name for path in out.glob("*.png")} == {
        "confusion-1.png", "confusion-2.png", "weights-1.png", "weights-2.png",
    }  # fmt: skip


@pytest.mark.parametrize("pooling", ["none", "last"])
def test_values_get_their_errors(tmp_path, pooling):
    table = write_values(tmp_path, 8, per_frame=pooling == "none")
    bundle = bundle_of(tmp_path / "bundle", "regression", pooling=pooling)
    assert run("--bundle", bundle.path, "--videos", table, "--out", tmp_path / "out").exit_code == 0
    found = report_of(tmp_path / "out")["bundles"][0]
    assert set(found["scores"]) == {
        f"{v}.{f}" for v in VALUES for f in ("mse", "rmse", "mae", "r2")
    }
    for value in VALUES:
        rmse = found["scores"][f"{value}.rmse"]
        assert rmse**2 == pytest.approx(found["scores"][f"{value}.mse"])
    if pooling == "last":
        errors = [clip["said"]["angle"] - clip["truth"]["angle"] for clip in found["clips"]]
        assert found["scores"]["angle.mae"] == pytest.approx(np.mean(np.abs(errors)), rel=1e-4)


def test_orders_and_captions_are_told_by_clip(tmp_path):
    (tmp_path / "o").mkdir()
    (tmp_path / "c").mkdir()
    for head, table in (
        ("ctc", write_orders(tmp_path / "o", 6, timed=True)),
        ("caption", write_captions(tmp_path / "c", 6)),
    ):
        bundle = bundle_of(tmp_path / head, head)
        out = tmp_path / f"{head}-out"
        done = run("--bundle", bundle.path, "--videos", table, "--out", out, "--split", "test")
        assert done.exit_code == 0, done.output
        report = report_of(out)
        assert len(report["clips"]) == 1
        (clip,) = report["bundles"][0]["clips"]
        assert clip["truth"]
    assert set(clip) == {"truth", "said"}


def test_orders_are_scored_as_they_were_said():
    class Clip:
        example = type("Example", (), {"target": np.array([0, 1])})
        phases_T = np.array([0, 0, 1, 1])

    # The most probable symbols: phase 0, blank, phase 2, phase 2.
    probabilities = np.full((4, 4), 0.1)
    probabilities[range(4), [0, 3, 2, 2]] = 0.7
    scorer = OrderScorer("abc", [Clip], [Reading(outputs=np.log(probabilities))])
    assert scorer.told(0)["greedy"] == ["a", "c"]
    scores = scorer.scores(np.ones(1))
    assert scores["edit_greedy"] == 0.5
    assert scores["exact_greedy"] == 0.0
    assert scores["frames_greedy"] == 0.5


def test_what_does_not_fit_the_bundle_is_told(tmp_path):
    table = write_classes(tmp_path, 4)
    bundle = bundle_of(tmp_path / "bundle", "sequence", phases=("green", "red"))
    options = ("--videos", table, "--out", tmp_path / "out")
    with pytest.raises(ConfigError, match=r"line \d: expected one of the bundle's green, red"):
        run("--bundle", bundle.path, *options)
    other = bundle_of(tmp_path / "other", "sequence", phases=("green", "red"), pooling="last")
    with pytest.raises(ConfigError, match="expected bundles of one training, found other heads"):
        run("--bundle", bundle.path, "--bundle", other.path, *options)
    stranger = bundle_of(tmp_path / "stranger", "sequence", encoder_id="sha256:0")
    with pytest.raises(ModelError, match="expects encoder"):
        run("--bundle", stranger.path, *options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("head", HEADS)
def test_a_bundle_of_any_head_is_whole_unless_its_graph_is_of_another_model(tmp_path, head):
    bundle = bundle_of(tmp_path / "bundle", head)
    assert inspect_bundle(bundle.path).faults == []
    other = make_graph(make_network(bundle.config, seed=7))
    (bundle.path / "model.onnx").write_bytes(other)
    (bundle.path / "manifest.json").write_bytes(make_manifest(bundle.path))
    (fault,) = inspect_bundle(bundle.path).faults
    assert "not of the same model" in fault


def test_a_head_per_frame_that_walks_backwards_too_is_measured(tmp_path):
    table = write_orders(tmp_path, 3, timed=False)
    out = tmp_path / "out"
    for number, lookahead in enumerate((0, 2)):
        changes = {"directions": 2, "lookahead_frames": lookahead}
        bundle = bundle_of(tmp_path / f"b{number}", "ctc", **changes)
        done = run("--bundle", bundle.path, "--videos", table, "--out", out)
        assert done.exit_code == 0, done.output
        clips = report_of(out)["bundles"][0]["clips"]
        edits = [edit_of(clip["beam"], clip["truth"]) for clip in clips]
        assert report_of(out)["bundles"][0]["scores"]["edit_beam"] == pytest.approx(np.mean(edits))


def edit_of(said, truth):
    return order_edit([PHASES.index(name) for name in said], [PHASES.index(n) for n in truth])


@pytest.mark.parametrize("head", HEADS)
def test_recordings_without_labels_are_told_as_json(tmp_path, head):
    bundle = bundle_of(tmp_path / "bundle", head)
    write_classes(tmp_path, 2)
    videos = [str(tmp_path / name) for name in ("0.npy", "1.npy")]
    done = CliRunner().invoke(app, ["predict", *videos, "--bundle", str(bundle.path)])
    assert done.exit_code == 0, done.exception
    told = [msgspec.json.decode(line) for line in done.stdout.splitlines()]
    assert [one["video"] for one in told] == videos
    tracks = [np.load(video).T for video in videos]
    for one, track, reading in zip(told, tracks, read_with_bundle(bundle, tracks), strict=True):
        assert one["seconds"] == pytest.approx((len(track) - 1) / 10)
        if head == "sequence":
            assert list(one["probabilities"].values()) == pytest.approx(reading.outputs.tolist())
            assert one["label"] == max(one["probabilities"], key=one["probabilities"].get)
        elif head == "regression":
            assert list(one["values"].values()) == pytest.approx(reading.outputs.tolist())
        elif head == "caption":
            names = bundle.config.targets
            assert one["caption"] == " ".join(names[word] for word in reading.words)
        else:
            assert {phase["label"] for phase in one["phases"]} <= set(PHASES)
    missing = CliRunner().invoke(app, ["predict", "a.mp4", "--bundle", str(bundle.path)])
    assert "a.mp4: expected features of 'told'" in str(missing.exception)
    frames = CliRunner().invoke(app, ["predict", "a.mp4", "--bundle", "workcell"])
    assert "expected a head beyond frames" in str(frames.exception)


@pytest.mark.parametrize("head", ["sequence", "caption"])
def test_the_graph_of_whole_clips_is_exported_unless_there_are_two(tmp_path, head):
    bundle = bundle_of(tmp_path / "bundle", head)
    out = tmp_path / "model.onnx"
    done = CliRunner().invoke(app, ["export", str(bundle.path), "--onnx", str(out)])
    if head == "caption":
        assert "which has two" in str(done.exception)
        assert not out.exists()
        return
    assert out.read_bytes() == (bundle.path / "model.onnx").read_bytes()
    assert f"features (T, B, {FEATURE_DIM}), mask (T, B)" in done.stdout


def test_features_of_another_width_are_refused(tmp_path):
    bundle = bundle_of(tmp_path / "bundle", "sequence")
    with pytest.raises(ModelError, match=rf"expected features \(T, {FEATURE_DIM}\)"):
        read_with_bundle(bundle, [np.zeros((3, FEATURE_DIM - 1), np.float32)])
