"""`streamer fit --head`: from a table to a bundle for every head, and what is wrong with tables."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from streamer.cli.fit import fit
from streamer.core.errors import ConfigError
from streamer.models.bundle import Bundle
from tests.clip_tables import (
    COLOURS,
    VALUES,
    write_captions,
    write_classes,
    write_orders,
    write_set,
    write_values,
)
from tests.clips import FEATURE_DIM, PHASES

SMALL = ("--hidden", "12", "--updates", "12", "--set", "check_every=4", "--set", "num_lanes=8")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def run(table, out, *options):
    app = typer.Typer()
    app.command()(fit)
    arguments = ["--videos", str(table), "--out", str(out), *SMALL, *options]
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


def files_of(out):
    return sorted(path.name for path in out.iterdir())


def test_a_class_of_a_clip_is_trained_and_told_on_the_card(tmp_path):
    table = write_classes(tmp_path, 40)
    learn = ("--updates", "120", "--set", "shift=0.1", "--set", "noise=0.1", "--set", "dropout=0")
    done = run(table, tmp_path / "run", "--head", "sequence", *learn, "--set", "learning_rate=0.01")
    assert done.exit_code == 0, done.output
    assert files_of(tmp_path / "run") == [
        "bundle", "confusion.png", "learning_curve.png", "tensorboard", "weights.png",
    ]  # fmt: skip
    bundle = Bundle.load(tmp_path / "run" / "bundle")
    assert (bundle.config.head, bundle.config.pooling) == ("sequence", "attention")
    assert bundle.config.phases == tuple(sorted(COLOURS))
    test = bundle.metrics["test"]
    assert test["num_clips"] == 6
    assert set(test["clips"]) == {"accuracy", "macro_f1", "nll", "roc_auc"}
    assert test["clips"]["accuracy"] >= 5 / 6 > test["baseline"]["accuracy"]
    card = (bundle.path / "README.md").read_text()
    assert "| Class right, of all clips | " in card
    assert "28 clips of `classes.csv`; 6 to validate, 6 to test" in card


@pytest.mark.parametrize("pooling", ["last", "mean", "attention"])
def test_values_of_a_clip(tmp_path, pooling):
    table = write_values(tmp_path, 20, per_frame=False)
    out = tmp_path / "run"
    done = run(table, out, "--head", "regression", "--pooling", pooling)
    assert done.exit_code == 0, done.output
    bundle = Bundle.load(out / "bundle")
    assert (bundle.config.pooling, bundle.config.targets) == (pooling, tuple(sorted(VALUES)))
    names = {f"{value}.{figure}" for value in VALUES for figure in ("mse", "rmse", "mae", "r2")}
    assert set(bundle.metrics["test"]["clips"]) == names
    assert {"values.png", "weights.png"} <= set(files_of(out))


def test_values_of_each_frame_leave_frames_out_that_nobody_told(tmp_path):
    table = write_values(tmp_path, 20, per_frame=True)
    out = tmp_path / "run"
    done = run(table, out, "--head", "regression")
    assert done.exit_code == 0, done.output
    bundle = Bundle.load(out / "bundle")
    assert bundle.config.pooling == "none"
    assert all(np.isfinite(value) for value in bundle.metrics["test"]["clips"].values())
    assert "over_time.png" in files_of(out)


def test_two_directions_read_a_clip_from_both_ends(tmp_path):
    table = write_classes(tmp_path, 12)
    out = tmp_path / "run"
    done = run(table, out, "--head", "sequence", "--pooling", "mean", "--directions", "2")
    assert done.exit_code == 0, done.output
    assert Bundle.load(out / "bundle").config.directions == 2


@pytest.mark.parametrize("timed", [True, False])
def test_the_order_of_phases_with_and_without_their_times(tmp_path, timed):
    table = write_orders(tmp_path, 20, timed=timed)
    out = tmp_path / "run"
    done = run(table, out, "--head", "ctc")
    assert done.exit_code == 0, done.output
    bundle = Bundle.load(out / "bundle")
    assert (bundle.config.head, bundle.config.phases) == ("ctc", PHASES)
    # Times say which frames are right; the order alone does not.
    assert ("frames_beam" in bundle.metrics["test"]["clips"]) == timed
    assert {"edit_greedy", "edit_beam"} <= set(bundle.metrics["test"]["clips"])
    assert "phases.png" in files_of(out)


def test_captions_are_bundled_with_their_vocabulary(tmp_path):
    table = write_captions(tmp_path, 24)
    out = tmp_path / "run"
    done = run(table, out, "--head", "caption")
    assert done.exit_code == 0, done.output
    bundle = Bundle.load(out / "bundle")
    assert set(bundle.config.targets) <= {"phase0", "phase1", "phase2", "phase3"} | {
        "briefly", "long", "then",
    }  # fmt: skip
    assert set(bundle.metrics["test"]["clips"]) == {"exact", "bleu"}
    assert "caption_step.onnx" in msgspec.json.decode(
        (bundle.path / "manifest.json").read_bytes()
    )["files"]  # fmt: skip


def test_clips_of_one_source_stay_in_one_part_and_a_named_split_is_kept(tmp_path):
    random = np.random.default_rng(0)
    tracks = {f"{n}.npy": random.normal(size=(60, FEATURE_DIM)) for n in range(6)}
    lines = ["video,start,end,label,split"]
    for n, split in enumerate(("train", "train", "train", "validation", "test", "test")):
        lines += [f"{n}.npy,{2 * k},{2 * k + 2},{COLOURS[k % 2]},{split}" for k in range(3)]
    table = write_set(tmp_path / "cut.csv", tracks, lines)
    done = run(table, tmp_path / "run", "--head", "sequence", "--pooling", "mean")
    assert done.exit_code == 0, done.output
    metrics = Bundle.load(tmp_path / "run" / "bundle").metrics
    assert metrics["origin"] == "9 clips of `cut.csv`; 3 to validate, 6 to test"


@pytest.mark.parametrize(
    ("head", "rows", "message"),
    [
        ("regression", "a.npy,0,2,heat,warm", r"line 2: value: expected a number, found 'warm'"),
        ("regression", "a.npy,0,2,heat,", r"line 2: value: expected a number, found ''"),
        ("regression", "a.npy,0,2,heat,nan", r"line 2: value: expected a number, found 'nan'"),
        (
            "regression",
            "a.npy,0,2,heat,1\na.npy,1,3,heat,2",
            r"line 3: a.npy: expected one 'heat' at a time, found 2 and 1 \(line 2\) for 1 to 2 s",
        ),
        (
            "regression --pooling mean",
            "a.npy,0,2,heat,1\nb.npy,0,2,heat,2\nb.npy,0,2,wind,2",
            r"line 2: a.npy 0-2 s: expected a value of heat, wind each, found none of 'wind'",
        ),
        (
            "sequence",
            "a.npy,0,2,red\na.npy,0,2,blue",
            r"line 3: a.npy: expected one class for a clip, found 'blue' and 'red' \(line 2\)",
        ),
        (
            "sequence",
            "a.npy,,,red\na.npy,0,2,blue",
            r"line 3: a.npy: expected one class for a clip",
        ),
        ("sequence", "a.npy,0,,red", r"line 2: expected start and end, or neither"),
        ("sequence", "a.npy,,,", r"line 2: label: expected a class, found none"),
        ("sequence", "a.npy,,,red\nb.npy,,,red", r"expected at least two classes, found 'red'"),
        ("sequence", "a.npy,0,9,red\nb.npy,,,blue\nc.npy,,,red", r"line 2: a.npy: .*within its 3"),
        ("sequence", "z.npy,,,red\nb.npy,,,blue\nc.npy,,,red", r"line 2: .*z.npy"),
        ("sequence", "a.npy,,,red\nb.npy,,,blue", r"expected at least 3 videos"),
        ("ctc", "a.npy,,,red\na.npy,0,2,blue", r"line 2: .*expected start and end in all rows"),
        ("ctc", "a.npy,0,2,red\na.npy,1,3,blue", r"line 3: a.npy: expected one phase at a time"),
        (
            "ctc",
            "".join(f"{video}.npy,,,red\n" for video in "abc" for _ in range(20)),
            r"line \d+: ..npy: expected at least 39 analysed frames for 20 phases, found 30",
        ),
        ("caption", "a.npy,,,", r"line 2: label: expected a caption, found none"),
        ("caption", "a.npy,,,...", r"line 2: label: expected a caption with words, found '...'"),
        ("caption", "a.npy,,,one, two", r"line 2: expected as many values .* in quotes"),
        ("caption", "a.npy,,,one\na.npy,,,two", r"line 3: a.npy: expected one caption for a clip"),
    ],
)
def test_what_is_wrong_with_a_table_is_told_with_its_row(tmp_path, head, rows, message):
    tracks = {f"{name}.npy": np.zeros((30, FEATURE_DIM)) + ord(name) for name in "abc"}
    heading = "video,start,end,label" + (",value" if head.startswith("regression") else "")
    table = write_set(tmp_path / "t.csv", tracks, [heading, rows])
    with pytest.raises(ConfigError, match=message):
        run(table, tmp_path / "run", "--head", *head.split())
    assert not (tmp_path / "run" / "bundle").exists()


@pytest.mark.parametrize(
    "options",
    [
        ("--head", "sequence", "--set", "ema_decay=0.9"),
        ("--head", "ctc", "--set", "num_lanes=5"),
        ("--head", "regression", "--pooling", "none"),
        ("--head", "caption"),
    ],
)
def test_an_interrupted_training_goes_on_and_ends_with_the_same_bundle(
    tmp_path, monkeypatch, options
):
    head = options[1]
    table = {
        "sequence": lambda: write_classes(tmp_path, 12),
        "ctc": lambda: write_orders(tmp_path, 12, timed=False),
        "regression": lambda: write_values(tmp_path, 12, per_frame=True),
        "caption": lambda: write_captions(tmp_path, 12),
    }[head]()
    options = (*options, "--updates", "9", "--set", "check_every=3")
    assert run(table, tmp_path / "undisturbed", *options).exit_code == 0
    looks = []

    def interrupt(look):
        looks.append(look.update)
        if len(looks) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("streamer.cli.fit_clips._say_check", interrupt)
        stopped = run(table, tmp_path / "run", *options)
    assert stopped.exit_code != 0
    assert f"the same command goes on from what is kept in {tmp_path / 'run'}" in stopped.stderr
    assert (tmp_path / "run" / "unfinished.pt").exists()
    with pytest.raises(ConfigError, match=r"unfinished\.pt: expected .* found one of others"):
        run(table, tmp_path / "run", *options, "--set", "noise=0.7")
    assert run(table, tmp_path / "run", *options).exit_code == 0
    assert not (tmp_path / "run" / "unfinished.pt").exists()
    ended, undisturbed = (
        Bundle.load(tmp_path / name / "bundle").model_id for name in ("run", "undisturbed")
    )
    assert ended == undisturbed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--head", "ctc", "--pooling", "mean"), r"--pooling: expected none with --head ctc"),
        (("--head", "sequence", "--pooling", "none"), r"expected attention or last or mean"),
        (("--pooling", "mean"), r"--pooling: expected none with --head frames, found mean"),
        (("--head", "sequence", "--set", "method=window"), r"method is for the head frames"),
        (("--head", "sequence", "--teacher", "workcell"), r"expected no --teacher"),
        (
            ("--head", "caption", "--directions", "2", "--lookahead", "3"),
            r"expected --lookahead 0 with --head caption that reads whole clips, found 3",
        ),
        (("--head", "regression"), r"heading video,start,end,label,value .* head regression"),
    ],
)
def test_options_that_make_no_sense_are_told(tmp_path, options, message):
    table = write_classes(tmp_path, 6)
    with pytest.raises(ConfigError, match=message):
        run(table, tmp_path / "run", *options)


def test_a_head_needs_a_table():
    app = typer.Typer()
    app.command()(fit)
    options = ["--synthetic", "workcell", "--head", "ctc", "--out", "nowhere"]
    with pytest.raises(ConfigError, match="expected --videos with --head ctc"):
        CliRunner().invoke(app, options, catch_exceptions=False)
