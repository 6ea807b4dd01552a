"""Training, measuring and describing models that look ahead."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import msgspec
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from streamer.cli.fit import fit as fit_command
from streamer.cli.models import models_app
from streamer.core.errors import ConfigError, ModelError
from streamer.models.bundle import Bundle
from streamer.models.inspection import inspect_bundle
from streamer.models.temporal.registry import open_online_model
from streamer.models.temporal.torch import load_network
from streamer.training.decoding import ClipDecoder
from streamer.training.delay import delay_curve
from streamer.training.evaluation.report import write_report
from streamer.training.evaluation.run import Policy, measure_bundle
from streamer.training.evaluation.serving import Watcher
from streamer.training.fit import predict
from streamer.training.quantise import quantise
from tests.encoders import DrawnEncoder
from tests.networks import make_bundle, make_config, make_network
from tests.unit.test_training_fit import FEATURE_DIM, FPS, LABELS, make_example, train

AHEAD = 3


@pytest.fixture(scope="module")
def dataset():
    from streamer.training.dataset import Dataset

    parts = [tuple(make_example(seed) for seed in seeds) for seeds in (range(4), (8,), (10,))]
    return Dataset(
        origin="drawn numbers", labels=LABELS, train=parts[0], validation=parts[1], test=parts[2]
    )


@pytest.fixture(scope="module")
def bundle(dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return train(folder, dataset, updates=60, directions=2, lookahead_frames=AHEAD)


def test_it_trains_and_serves_what_training_saw(bundle, dataset):
    assert bundle.metrics["test"]["frames"]["phase_accuracy"] > 0.8
    (example,) = dataset.test
    (expected,) = predict(load_network(bundle), [example])
    for backend in ("onnx", "torch"):
        with closing(open_online_model(bundle, rows=2, backend=backend)) as model:
            watched = Watcher(bundle, model).watch("v", example.features_TD, example.pts_T)
        np.testing.assert_allclose(watched.logits_TC, expected, atol=1e-4)


def test_an_evaluation_with_forgetting_windows_still_has_an_output_per_frame(bundle, dataset):
    (example,) = dataset.test
    with closing(open_online_model(bundle)) as model:
        watched = Watcher(bundle, model, window_frames=7).watch(
            "v", example.features_TD, example.pts_T
        )
        whole = Watcher(bundle, model).watch("v", example.features_TD, example.pts_T)
    assert watched.logits_TC.shape == whole.logits_TC.shape == (len(example), 4)
    assert (watched.logits_TC[:7] == whole.logits_TC[:7]).all()
    assert (watched.logits_TC[7:14] != whole.logits_TC[7:14]).any()


def test_the_report_counts_the_wait_and_says_so(bundle, dataset, tmp_path):
    result = measure_bundle(bundle, dataset.test, Policy(num_resamples=5))
    (announced,) = result.announced
    frame_of = {round(float(pts), 6): t for t, pts in enumerate(dataset.test[0].pts_T)}
    told = [frame_of[round(one.at_seconds, 6)] for one in announced.announcements]
    assert min(told) >= AHEAD
    write_report(tmp_path, origin="drawn", examples=dataset.test, results=[result], policy=Policy())
    assert "**Look-ahead of bundle 1**: 3 frames (300 ms)" in (tmp_path / "report.md").read_text()
    (described,) = msgspec.json.decode((tmp_path / "report.json").read_bytes())["bundles"]
    assert (described["lookahead_frames"], described["lookahead_seconds"]) == (3, 0.3)


def test_delays_of_decisions_have_the_wait_in_them(bundle, dataset):
    (example,) = dataset.test
    (logits,) = predict(load_network(bundle), [example])
    kind = {"labels": LABELS, "analysis_fps": FPS}
    at_once = ClipDecoder(bundle.decoder, **kind).decode(logits, example.pts_T)
    late = ClipDecoder(bundle.decoder, **kind, lookahead_frames=AHEAD).decode(logits, example.pts_T)
    assert late.phases == at_once.phases
    waits = np.subtract(late.delays_seconds, at_once.delays_seconds)
    # At the very end fewer frames are waited for.
    assert np.median(waits) == pytest.approx(0.3)
    assert waits.min() > -1e-9
    labels = [logits[:, :3].argmax(axis=1)[None]]
    (now,), (then,) = (
        delay_curve(dataset.test, labels, lookahead_frames=frames) for frames in (0, AHEAD)
    )
    assert then.onset_delay_seconds == pytest.approx(now.onset_delay_seconds + 0.3)
    assert then.lag_frames == now.lag_frames


def test_a_bundle_says_how_far_it_looks(bundle):
    assert "known 3 frames (300 ms) later" in (bundle.path / "README.md").read_text()
    shown = CliRunner().invoke(models_app, ["show", str(bundle.path)]).stdout
    assert "Lookahead 3 frames, 300 ms" in shown
    listed = CliRunner().invoke(models_app, ["list", str(bundle.path)]).stdout
    assert "lstm 2x16 both ways" in listed
    found = inspect_bundle(bundle.path)
    assert (found.faults, found.remarks) == ([], [])


def test_a_graph_of_other_weights_is_found(bundle, dataset, tmp_path):
    other = train(tmp_path, dataset, updates=2, seed=5, directions=2, lookahead_frames=AHEAD)
    (other.path / "model.onnx").write_bytes((bundle.path / "model.onnx").read_bytes())
    from streamer.models.manifest import make_manifest

    (other.path / "manifest.json").write_bytes(make_manifest(other.path))
    (fault,) = inspect_bundle(other.path).faults
    assert "expected the outputs of model.safetensors" in fault


@pytest.mark.parametrize(
    ("shape", "recipe", "expected"),
    [
        ({"lookahead_frames": 64}, {}, "fewer frames than the 64 that a window of training has"),
        ({"lookahead_frames": 3}, {"method": "window"}, "method: expected tbptt"),
        ({}, {"method": "window"}, "method: expected tbptt"),
    ],
)
def test_a_recipe_without_frames_ahead_is_refused(dataset, tmp_path, shape, recipe, expected):
    from streamer.training.recipe import Recipe
    from streamer.training.run import Shape, make_config, train_bundle

    encoder = DrawnEncoder(FEATURE_DIM)
    kind = Shape(directions=2, **shape)
    config = make_config(dataset, kind, name="drawn", encoder=encoder, analysis_fps=FPS)
    with pytest.raises(ConfigError, match=expected):
        train_bundle(
            tmp_path,
            dataset,
            config=config,
            encoder=encoder,
            recipe=Recipe(**recipe),
            progress=lambda check: None,
        )


def run_fit(*options):
    app = typer.Typer()
    app.command()(fit_command)
    return CliRunner().invoke(app, options)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--lookahead", "3"), "--directions 2 with --lookahead 3, found 1"),
        (("--directions", "1", "--lookahead", "3"), "--directions 2 with --lookahead 3"),
    ],
)
def test_the_command_refuses_what_makes_no_sense(tmp_path, options, expected):
    result = run_fit("--out", str(tmp_path), "--synthetic", "workcell", *options)
    assert isinstance(result.exception, ConfigError)
    assert expected in str(result.exception)


def test_a_watch_for_anomalies_has_one_direction(tmp_path):
    result = run_fit(
        "--out", str(tmp_path), "--self-supervised", "synthetic:workcell", "--directions", "2"
    )
    assert "--directions 1 with --self-supervised" in str(result.exception)


@pytest.mark.parametrize("lookahead", [0, 3])
def test_the_command_trains_both_ways(dataset, tmp_path, monkeypatch, lookahead):
    monkeypatch.setattr(
        "streamer.models.encoders.registry.open_encoder", lambda *_: DrawnEncoder(FEATURE_DIM)
    )
    monkeypatch.setattr(
        "streamer.training.synthetic_dataset.synthetic_dataset", lambda *_, **__: dataset
    )
    result = run_fit(
        "--out", str(tmp_path), "--synthetic", "drawn", "--updates", "2", "--hidden", "8",
        "--directions", "2", "--lookahead", str(lookahead),
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    made = Bundle.load(tmp_path / "bundle")
    assert (made.config.directions, made.config.lookahead_frames) == (2, lookahead)
    if lookahead:
        assert "known 3 frames (300 ms) later" in result.stdout
    else:
        assert "for whole recordings only" in result.stdout
        shown = CliRunner().invoke(models_app, ["show", str(made.path)]).stdout
        assert "not served online" in shown


def test_int8_is_for_one_direction(tmp_path):
    network = make_network(make_config(directions=2, lookahead_frames=AHEAD))
    made = make_bundle(tmp_path, network)
    features = np.zeros((4, made.config.feature_dim), np.float32)
    with pytest.raises(ModelError, match="expected a model of one direction"):
        quantise(replace(made), [features])
