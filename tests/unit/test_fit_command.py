"""`streamer fit`: what is asked of it, what it refuses, and what it says before it begins."""

from __future__ import annotations

import re

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from streamer.cli.fit import fit
from streamer.core.errors import ConfigError, ModelError
from streamer.models.bundle import Bundle
from streamer.training.phase_graph import read_phase_graph
from streamer.training.video_dataset import video_dataset
from tests.tables import HEADING, run_fit, write_drawn_table
from tests.unit.test_training_filter import clip
from tests.videos import make_clip


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_drawn_table(tmp_path_factory.mktemp("drawn"))


def test_the_weights_seed_and_the_split_seed_are_apart(table, tmp_path, monkeypatch):
    parts = {}

    def remember(path, **options):
        made = video_dataset(path, **options)
        names = {example.name for example in made.test}
        parts[tmp_path.name, len(parts)] = (options["seed"], names)
        return made

    monkeypatch.setattr("streamer.training.video_dataset.video_dataset", remember)
    ids = []
    for turn, options in enumerate((("--seed", "1"), ("--seed", "2"), ("--split-seed", "2"))):
        done = run_fit(table, tmp_path / str(turn), *options, updates=10)
        assert done.exit_code == 0, done.output
        ids.append(Bundle.load(tmp_path / str(turn) / "bundle").model_id)
    (first, ours), (second, same), (third, other) = parts.values()
    assert (first, second, third) == (1, 1, 2)
    assert ours == same != other
    assert len(set(ids)) == 3


def test_what_the_check_warns_of_is_said_and_stops_nothing(tmp_path):
    table = write_drawn_table(tmp_path / "drawn")
    with table.open("a") as file:
        file.write("0.npy,1.0,1.4,rare,action,,\n")
    line = len(table.read_text().splitlines())
    done = run_fit(table, tmp_path / "run", updates=10)
    assert done.exit_code == 0
    assert f"warning: {table}, line {line}: label 'rare' occurs in one video only" in done.stderr
    assert Bundle.load(tmp_path / "run" / "bundle").config.actions == ("rare",)


def test_what_the_check_finds_wrong_stops_it_before_anything_is_written(tmp_path):
    table = write_drawn_table(tmp_path / "drawn")
    with table.open("a") as file:
        file.write("0.npy,1.0,999,lamp,action,,\n")
    line = len(table.read_text().splitlines())
    with pytest.raises(ConfigError, match=rf"labels\.csv, line {line}: .*until 999 s"):
        run_fit(table, tmp_path / "run")
    assert not (tmp_path / "run").exists()


# Phase graphs.


def graph_file(folder, *rows, heading="from,to"):
    path = folder / "graph.csv"
    path.write_text("\n".join((heading, *rows)) + "\n")
    return path


IN_TURN = ("wait,work", "work,pack", "pack,wait")


def test_a_graph_forbids_all_other_transitions(table, tmp_path):
    graph = graph_file(tmp_path, *IN_TURN)
    for turn, value in enumerate((str(graph), "observed")):
        run = tmp_path / str(turn)
        assert run_fit(table, run, "--phase-graph", value).exit_code == 0
        bundle = Bundle.load(run / "bundle")
        order = [bundle.config.phases.index(label) for label in ("wait", "work", "pack")]
        chain_PP = np.array(bundle.decoder.phase_filter.transition_PP)
        assert chain_PP[order, np.roll(order, -1)].tolist() == [1.0] * 3
        assert (chain_PP > 0).sum() == 3
        assert "`wait` → `work`" in (run / "bundle" / "README.md").read_text()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ((*IN_TURN, "work,dance"), r"graph\.csv, line 5: expected one of the phases .*'dance'"),
        ((*IN_TURN, "work"), r"line 5: expected two phases, from and to, found 'work'"),
        ((*IN_TURN, "work,"), r"line 5: expected two phases"),
        ((*IN_TURN, "", "work,work"), r"line 6: expected two different phases, found 'work' twice"),
        ((), "expected a row per transition"),
        (
            IN_TURN[:2],
            r"expected a row pack,wait, found none, though 'wait' follows 'pack' in \d\.npy at",
        ),
    ],
)
def test_a_wrong_graph_is_named_with_its_row(table, tmp_path, rows, message):
    graph = graph_file(tmp_path, *rows)
    with pytest.raises(ConfigError, match=message) as caught:
        run_fit(table, tmp_path / "run", "--phase-graph", str(graph))
    assert str(graph) in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_phase_that_can_not_be_reached_is_named(tmp_path):
    """`pack` follows frames whose phase nobody knows, so that no video says how it is reached."""
    example = clip([0] * 5 + [1] * 5 + [-1] * 5 + [2] * 5)
    graph = read_phase_graph(graph_file(tmp_path, "wait,work", "pack,wait"))
    with pytest.raises(ConfigError, match=r"graph\.csv, line 3: expected a way to 'pack' from"):
        graph.matrix(("wait", "work", "pack"), [example])
    assert graph.matrix(("wait", "work", "pack"), [example, clip([2] * 5)]).sum() == 2


def test_a_graph_needs_a_heading_a_file_and_phases(table, tmp_path):
    wrong = graph_file(tmp_path, *IN_TURN, heading="before,after")
    with pytest.raises(ConfigError, match="expected the heading from,to, found before,after"):
        run_fit(table, tmp_path / "run", "--phase-graph", str(wrong))
    with pytest.raises(ConfigError, match=r"gone\.csv: can't read the transitions"):
        run_fit(table, tmp_path / "run", "--phase-graph", str(tmp_path / "gone.csv"))
    actions = write_drawn_table(tmp_path / "actions", videos=6)
    actions.write_text(actions.read_text().replace(",phase,", ",action,"))
    with pytest.raises(ConfigError, match="expected phases that follow each other, found 0"):
        run_fit(actions, tmp_path / "run", "--phase-graph", "observed")


# Several seeds.


def test_repeats_keep_the_best_of_validation_and_say_how_the_figures_spread(tmp_path):
    splits = ["train"] * 6 + ["validation"] * 2 + ["test"] * 3
    table = write_drawn_table(tmp_path / "drawn", videos=11, splits=splits, actions=True)
    run = tmp_path / "run"
    done = run_fit(table, run, "--repeats", "3", "--seed", "4")
    assert done.exit_code == 0, done.output
    each = [Bundle.load(run / "seeds" / str(seed) / "bundle") for seed in (4, 5, 6)]
    losses = [bundle.metrics["validation"]["loss"] for bundle in each]
    kept = each[int(np.argmin(losses))]
    bundle = Bundle.load(run / "bundle")
    for name in ("model.onnx", "model.safetensors", "decoder.json"):
        assert (bundle.path / name).read_bytes() == (kept.path / name).read_bytes()
    found = bundle.metrics["repeats"]
    assert (found["seeds"], found["kept"]) == ([4, 5, 6], kept.metrics["seed"])
    assert found["validation_losses"] == losses
    assert bundle.metrics["test"] == kept.metrics["test"]
    row = found["metrics"]["frames.phase_accuracy"]
    accuracies = [one.metrics["test"]["frames"]["phase_accuracy"] for one in each]
    assert row["each"] == accuracies
    assert row["mean"] == pytest.approx(np.mean(accuracies), abs=1e-4)
    assert row["standard_deviation"] == pytest.approx(np.std(accuracies, ddof=1), abs=1e-4)
    low, high = row["interval"]
    assert low < row["mean"] < high
    assert "actions.by_label.lamp" in found["metrics"]
    card = (bundle.path / "README.md").read_text()
    assert "## Over 3 seeds" in card
    assert (
        f"| {row['mean']:.3f} ± {row['standard_deviation']:.3f} | {low:.3f} to {high:.3f} |" in card
    )
    for picture in ("learning_curve.png", "confusion.png", "ribbons.png"):
        assert (run / picture).read_bytes() == (kept.path.parent / picture).read_bytes()


def test_seeds_that_are_finished_are_not_trained_again(table, tmp_path):
    def trained(*options):
        done = run_fit(table, tmp_path, "--repeats", "2", *options, updates=10)
        assert done.exit_code == 0, done.output
        return [line for line in done.stderr.splitlines() if line.startswith("seed")]

    assert trained() == ["seed 1", "seed 2"]
    first = Bundle.load(tmp_path / "bundle").model_id
    assert trained() == ["seed 1: finished before", "seed 2: finished before"]
    assert Bundle.load(tmp_path / "bundle").model_id == first
    (tmp_path / "seeds" / "2" / "bundle" / "README.md").write_text("changed")
    assert trained() == ["seed 1: finished before", "seed 2"]
    assert Bundle.load(tmp_path / "bundle").model_id == first
    assert trained("--set", "noise=0.1") == ["seed 1", "seed 2"]


# Interruptions.


@pytest.mark.parametrize("repeats", ["1", "2"])
def test_an_interrupted_fit_says_how_it_goes_on_and_ends_with_the_same_bundle(
    table, tmp_path, monkeypatch, repeats
):
    options = ("--repeats", repeats)
    assert run_fit(table, tmp_path / "undisturbed", *options).exit_code == 0
    looks = []

    def interrupt(check):
        looks.append(check.update)
        if len(looks) == 3 * int(repeats):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("streamer.cli.fit_labelled._say_check", interrupt)
        stopped = run_fit(table, tmp_path / "run", *options)
    assert stopped.exit_code != 0
    assert f"the same command goes on from what is kept in {tmp_path / 'run'}" in stopped.stderr
    assert not (tmp_path / "run" / "bundle").exists()
    assert list((tmp_path / "run").rglob("unfinished.pt"))
    assert run_fit(table, tmp_path / "run", *options).exit_code == 0
    ended, undisturbed = (
        Bundle.load(tmp_path / name / "bundle").model_id for name in ("run", "undisturbed")
    )
    assert ended == undisturbed


# Data and bundles that are no good.


def reshape(path, change):
    np.save(path, change(np.load(path)))


def spoil(features_DT, value):
    features_DT[2, 17] = value
    return features_DT


@pytest.mark.parametrize(
    ("spoilt", "message"),
    [
        (lambda path: reshape(path, lambda a: spoil(a, np.nan)), "frame 17 .*found nan in 1 of"),
        (lambda path: reshape(path, lambda a: spoil(a, 1e30)), "frame 17 .*found inf in 1 of"),
        (lambda path: reshape(path, lambda a: a[:5]), r"expected 6 features .* found \(5, "),
        (lambda path: reshape(path, lambda a: a[:, :0]), r"expected features, found none"),
        (lambda path: reshape(path, lambda a: a[:, :30]), r"expected labels within its 3\.00 s"),
        (lambda path: path.write_bytes(b"junk"), "expected features in a .npy file, found some"),
        (lambda path: path.unlink(), "can't read the features"),
    ],
)
def test_bad_features_are_named_with_their_row_before_training(tmp_path, spoilt, message):
    table = write_drawn_table(tmp_path / "drawn")
    spoilt(tmp_path / "drawn" / "3.npy")
    first = next(
        number
        for number, row in enumerate(table.read_text().splitlines(), start=1)
        if row.startswith("3.npy")
    )
    with pytest.raises(ConfigError, match=message) as caught:
        run_fit(table, tmp_path / "run")
    line = int(re.search(r"labels\.csv, line (\d+)", str(caught.value))[1])
    assert first <= line < first + 8
    assert "3.npy" in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_class_that_training_never_sees_is_named_with_a_row(tmp_path):
    splits = ["train"] * 4 + ["validation", "test"]
    table = write_drawn_table(tmp_path / "drawn", videos=6, splits=splits)
    rows = [row for row in table.read_text().splitlines() if ",pack,phase,train" not in row]
    table.write_text("\n".join(rows) + "\n")
    line = next(number for number, row in enumerate(rows, start=1) if ",pack," in row)
    with pytest.raises(ConfigError, match=rf"line {line}: label 'pack': expected it in the part"):
        run_fit(table, tmp_path / "run")


def test_a_video_whose_pictures_are_damaged_is_named_with_its_row(tmp_path):
    """The packets are all there: only decoding shows it."""
    rows = [HEADING]
    faststart = {"movflags": "faststart"}
    for index in range(3):
        path = tmp_path / f"{index}.mp4"
        make_clip(path, frames=50, first_number=50 * index, container_options=faststart)
        rows += [f"{index}.mp4,{k / 2},{k / 2 + 0.5},{'ab'[k % 2]},,," for k in range(4)]
    data = (tmp_path / "0.mp4").read_bytes()
    begin = data.index(b"mdat") + 4
    noise = bytes(k * 37 % 251 for k in range(len(data) - begin))
    (tmp_path / "0.mp4").write_bytes(data[:begin] + noise)
    table = tmp_path / "labels.csv"
    table.write_text("\n".join(rows) + "\n")
    with pytest.raises(ConfigError, match=r"labels\.csv, line 2: .*0\.mp4: no picture in it could"):
        run_fit(table, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_teacher_of_other_features_is_refused_before_training(table, tmp_path):
    with pytest.raises(ConfigError, match=r"teacher .*: encoder: expected sha256:.*found sha256:"):
        run_fit(table, tmp_path / "run", "--teacher", "workcell")
    with pytest.raises(ModelError, match=r"without manifest\.json"):
        run_fit(table, tmp_path / "run", "--teacher", str(tmp_path))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--minutes", "5"), "--synthetic or --self-supervised with --minutes"),
        (("--seeds", "3"), "--synthetic with --seeds"),
        (("--false-alarms-per-hour", "2"), "--anomalies or --self-supervised with --false-alarms"),
        (("--anticipation-frames", "2"), "--anomalies with --anticipation-frames"),
        (("--set", "distillation=0.9"), "--teacher with --set distillation"),
        (("--set", "distillation_temperature=3"), "--teacher with --set distillation_temperature"),
        (("--set", "anomaly_weight=2"), "--anomalies with --set anomaly_weight"),
    ],
)
def test_an_option_that_would_change_nothing_is_refused(table, tmp_path, options, message):
    with pytest.raises(ConfigError, match=f"fit: expected {message}"):
        run_fit(table, tmp_path / "run", *options)
    assert not (tmp_path / "run").exists()


def test_a_scene_is_not_split_by_chance(tmp_path):
    app = typer.Typer()
    app.command()(fit)
    options = ("--synthetic", "workcell", "--out", str(tmp_path / "run"), "--split-seed", "2")
    with pytest.raises(ConfigError, match="expected --videos with --split-seed"):
        CliRunner().invoke(app, options, catch_exceptions=False)


def test_what_is_for_labelled_video_is_refused_without_labels(tmp_path):
    app = typer.Typer()
    app.command()(fit)
    options = ("--self-supervised", "synthetic:workcell", "--out", str(tmp_path / "run"))
    for given in (("--repeats", "3"), ("--phase-graph", "observed"), ("--set", "noise=1")):
        with pytest.raises(ConfigError, match=f"expected no {given[0]} with --self-supervised"):
            CliRunner().invoke(app, (*options, *given), catch_exceptions=False)
