"""`streamer export`: the graph alone, and the int8 twin of a bundle."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

from streamer.cli.app import app
from streamer.core.errors import ConfigError, ModelError, SourceError
from streamer.models.bundle import Bundle
from streamer.models.inspection import inspect_bundle
from streamer.models.temporal.registry import open_temporal_model
from tests.bundles import copy_bundle
from tests.explaining import told_bundle, told_config, told_example
from tests.networks import make_network
from tests.videos import make_clip

OLD = Bundle.load("workcell")


def command(*arguments):
    return CliRunner().invoke(app, ["export", *(str(argument) for argument in arguments)])


def test_onnx_is_the_graph_of_the_bundle(tmp_path):
    out = tmp_path / "step.onnx"
    result = command("workcell", "--onnx", out)
    assert result.exit_code == 0
    assert out.read_bytes() == (OLD.path / "model.onnx").read_bytes()
    assert "features (B, 1280), hidden (1, B, 96)" in result.stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("int8")
    clip = folder / "clip.mp4"
    make_clip(clip, frames=80, fps=10)
    options = ("--on", clip, "--features", folder / "features")
    result = command("workcell", "--int8", folder / "small", *options)
    assert result.exit_code == 0, result.exception
    return result, Bundle.load(folder / "small"), clip


@pytest.mark.torch
def test_int8_is_a_bundle_of_its_own_that_says_what_it_changed(made):
    result, bundle, clip = made
    assert bundle.model_id != OLD.model_id
    assert bundle.model_id in result.stdout
    assert bundle.config.precision == "int8"
    size = (bundle.path / "model.onnx").stat().st_size
    assert size < 0.3 * (OLD.path / "model.onnx").stat().st_size
    drift = bundle.metrics["quantisation"]
    assert (drift["of"], drift["num_frames"]) == (OLD.model_id, 80)
    assert 0 < drift["mean_difference"] < drift["max_difference"] < 0.5
    card = (bundle.path / "README.md").read_text()
    assert f"| Largest difference of a probability | {drift['max_difference']:.4f} |" in card
    assert str(clip) in card
    assert bundle.metrics["test"] == OLD.metrics["test"]
    found = inspect_bundle(bundle.path)
    assert found.faults == []
    assert "int8" in found.remarks[0]


@pytest.mark.torch
def test_an_int8_model_has_one_row_and_only_onnx_serves_it(made):
    _, bundle, _ = made
    model = open_temporal_model(bundle, rows=8)
    assert model.rows == 1
    zeros = np.zeros((1, 1, 96), np.float32)
    logits, _, _ = model.step(np.zeros((1, 1280), np.float32), zeros, zeros)
    assert np.isfinite(logits).all()
    model.close()
    with pytest.raises(ModelError, match=r"temporal\.backend=onnx"):
        open_temporal_model(bundle, backend="torch")


@pytest.mark.parametrize(
    ("arguments", "kind", "said"),
    [
        ((), ConfigError, "--onnx and --int8"),
        (("--onnx", "a", "--int8", "b"), ConfigError, "--onnx and --int8"),
        (("--int8", "b"), ConfigError, "--on FILE"),
        (("--onnx", "/no/such/folder/a.onnx"), ConfigError, "/no/such/folder"),
        (("--int8", "b", "--on", "/no/clip.mp4"), (ConfigError, SourceError), "/no/clip.mp4"),
    ],
)
def test_what_can_not_be_is_one_line(arguments, kind, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    error = command("workcell", *arguments).exception
    assert isinstance(error, kind)
    assert said in str(error)
    assert "\n" not in str(error)
    assert not (tmp_path / "b").exists()


def test_a_folder_that_holds_something_else_and_int8_of_int8_are_refused(tmp_path):
    (tmp_path / "mine").mkdir()
    error = command("workcell", "--int8", tmp_path / "mine", "--on", "any").exception
    assert "found something else" in str(error)
    small = copy_bundle(tmp_path / "small", config={"precision": "int8"})
    error = command(small.path, "--int8", tmp_path / "out", "--on", "any").exception
    assert "found int8" in str(error)


def test_int8_of_a_bundle_of_features_made_elsewhere_is_measured_on_such_files(tmp_path):
    bundle = told_bundle(tmp_path / "bundle", make_network(told_config()))
    track_DT = told_example(0, num_frames=60).features_TD.T
    np.save(tmp_path / "0.npy", track_DT)
    done = command(bundle.path, "--int8", tmp_path / "small", "--on", tmp_path / "0.npy")
    assert done.exit_code == 0, done.output
    assert "60 frames compared" in done.stdout
    assert Bundle.load(tmp_path / "small").config.precision == "int8"
    np.save(tmp_path / "0.npy", track_DT[1:])
    error = command(bundle.path, "--int8", tmp_path / "other", "--on", tmp_path / "0.npy").exception
    assert isinstance(error, ConfigError)
    assert "expected 12 features per frame" in str(error)
    error = command(bundle.path, "--int8", tmp_path / "other", "--on", "clip.mp4").exception
    assert "expected features of 'told'" in str(error)
    assert not (tmp_path / "other").exists()
