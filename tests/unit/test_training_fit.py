from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from streamer.cli.fit import Cell
from streamer.cli.fit import fit as fit_command
from streamer.core.errors import ConfigError
from streamer.models.bundle import Bundle, DecoderConfig, GapConfig, ModelConfig
from streamer.models.config import Architecture
from streamer.models.temporal.registry import open_temporal_model
from streamer.stages.drift import DriftReference
from streamer.training.annotations import Labels
from streamer.training.dataset import Dataset, Example
from streamer.training.decoding import ClipDecoder
from streamer.training.fit import predict
from streamer.training.lanes import Lanes
from streamer.training.recipe import Recipe
from streamer.training.run import Shape, make_config, train_bundle
from streamer.training.tuning import fit_temperatures, tune
from tests.encoders import DrawnEncoder

LABELS = Labels(("wait", "work", "pack"), ("lamp",))
FEATURE_DIM = 12
FPS = 10.0


def make_example(seed: int, steps: int = 200) -> Example:
    """Phases in turn; their direction in feature space, under noise, and a lamp."""
    random = np.random.default_rng(seed)
    directions = 2 * np.random.default_rng(99).normal(size=(4, FEATURE_DIM))
    lengths = random.integers(6, 25, steps)
    phases = np.repeat(np.arange(steps) % 3, lengths)[:steps]
    lamp = np.repeat(np.arange(steps) % 2, lengths[::-1])[:steps].astype(np.float32)
    features = directions[phases] + lamp[:, None] * directions[3]
    features += random.normal(size=features.shape)
    return Example(
        name=f"seed {seed}",
        compressed=seed % 2 == 0,
        features_TD=features.astype(np.float16),
        pts_T=np.arange(steps) / FPS,
        phases_T=phases,
        actions_TA=lamp[:, None],
    )


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    parts = [tuple(make_example(seed) for seed in seeds) for seeds in (range(8), (8, 9), (10, 11))]
    return Dataset(
        origin="drawn numbers",
        labels=LABELS,
        train=parts[0],
        validation=parts[1],
        test=parts[2],
    )


def train(out, dataset, *, seed: int = 1, updates: int = 100, **kind):
    recipe = Recipe(
        num_lanes=8,
        num_steps=24,
        max_updates=updates,
        warmup_updates=10,
        learning_rate=1e-2,
        dropout=0.0,
        noise=0.1,
        shift=0.0,
        check_every=20,
        seed=seed,
    )
    shape = Shape(projection_dim=8, hidden_dim=16, num_layers=2, **kind)
    encoder = DrawnEncoder(FEATURE_DIM)
    config = make_config(dataset, shape, name="drawn", encoder=encoder, analysis_fps=FPS)
    return train_bundle(
        out, dataset, config=config, encoder=encoder, recipe=recipe, progress=lambda check: None
    )


@pytest.fixture(scope="module")
def bundle(dataset, tmp_path_factory) -> Bundle:
    return train(tmp_path_factory.mktemp("run"), dataset)


def test_training_learns_what_there_is_to_learn(bundle):
    shares = bundle.metrics["validation"]["predicted_shares"]
    assert list(shares) == [*bundle.config.phases, *bundle.config.actions]
    assert sum(shares[phase] for phase in bundle.config.phases) == pytest.approx(1, abs=1e-4)
    assert DriftReference.of(bundle).shares_C is not None
    test = bundle.metrics["test"]
    assert test["frames"]["phase_accuracy"] > 0.9
    assert test["phases"]["f1_at_50"] > 0.8
    assert test["phases"]["onset_error_median_seconds"] <= 0.1
    assert test["actions"]["by_label"]["lamp"] > 0.8
    parts = {"test", "test_rendered", "test_compressed"}
    assert set(bundle.metrics) == {"origin", "seed", "validation", *parts}
    for picture in ("learning_curve.png", "ribbons.png", "delay_f1.png", "confusion.png"):
        assert (bundle.path.parent / picture).read_bytes().startswith(b"\x89PNG")


def test_the_same_seed_gives_the_same_bundle_and_another_another(dataset, tmp_path):
    small = replace(dataset, validation=dataset.validation[:1], test=dataset.test[:1])
    first, same, other = (
        train(tmp_path / str(turn), small, seed=seed, updates=15).model_id
        for turn, seed in enumerate((1, 1, 2))
    )
    assert first == same != other


def test_serving_gives_what_training_saw(bundle, dataset):
    from streamer.models.temporal.torch import load_network

    example = dataset.test[0]
    (expected,) = predict(load_network(bundle), [example])
    model = open_temporal_model(bundle, rows=1)
    hidden = cell = np.zeros((2, 1, 16), np.float32)
    for features_D, logits_C in zip(example.features_TD, expected, strict=True):
        logits, hidden, cell = model.step(features_D[None].astype(np.float32), hidden, cell)
        np.testing.assert_allclose(logits[0], logits_C, atol=1e-4)


def test_a_run_replaces_its_bundle_but_nothing_else(bundle, dataset, tmp_path):
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "holiday.jpg").write_bytes(b"precious")
    with pytest.raises(ConfigError, match="something else"):
        train(tmp_path, dataset)
    assert (tmp_path / "bundle" / "holiday.jpg").read_bytes() == b"precious"
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_lanes_walk_on_through_a_clip_and_say_when_they_leave_it(dataset):
    # Features that tell clip and frame.
    examples = []
    for clip, example in enumerate(dataset.train):
        told = np.zeros_like(example.features_TD)
        told[:, 0], told[:, 1] = clip, np.arange(len(example))
        examples.append(
            Example(
                name="",
                compressed=False,
                features_TD=told,
                pts_T=example.pts_T,
                phases_T=example.phases_T,
                actions_TA=example.actions_TA,
            )
        )
    lanes = Lanes(examples, num_lanes=5, num_steps=16, random=np.random.default_rng(0))
    last: list[tuple[int, int] | None] = [None] * 5
    stayed = 0
    for _ in range(60):
        window = lanes.next_window()
        for lane in range(5):
            clip_T, frame_T = window.features_TBD[:, lane, 0], window.features_TBD[:, lane, 1]
            assert len(set(clip_T)) == 1
            assert ((np.diff(frame_T) >= 1) & (np.diff(frame_T) <= 4)).all()
            example = examples[int(clip_T[0])]
            assert (window.phases_TB[:, lane] == example.phases_T[frame_T.astype(int)]).all()
            if not window.moved_B[lane]:
                stayed += 1
                assert last[lane] == (clip_T[0], frame_T[0] - 1)
                assert not window.begins_B[lane]
            last[lane] = (clip_T[-1], frame_T[-1])
    assert stayed > 100


def test_temperatures_undo_what_was_multiplied():
    random = np.random.default_rng(0)
    logits = random.normal(size=(4000, 4)) * 2
    exponents = np.exp(logits[:, :3])
    chances = exponents / exponents.sum(axis=1, keepdims=True)
    phases = (chances.cumsum(axis=1) < random.random((4000, 1))).sum(axis=1)
    lamp = (random.random(4000) < 1 / (1 + np.exp(-logits[:, 3]))).astype(np.float32)
    example = Example(
        name="",
        compressed=False,
        features_TD=np.zeros((4000, 1), np.float16),
        pts_T=np.arange(4000) / FPS,
        phases_T=phases,
        actions_TA=lamp[:, None],
    )
    scaled = logits * np.array([3, 3, 3, 0.5])
    phase_temperature, action_temperature = fit_temperatures([example], [scaled], num_phases=3)
    assert phase_temperature == pytest.approx(3, rel=0.1)
    assert action_temperature == pytest.approx(0.5, rel=0.1)


def sure_logits(example: Example) -> np.ndarray:
    phases = 8.0 * np.eye(3)[example.phases_T]
    return np.hstack((phases, 16 * example.actions_TA - 8)).astype(np.float32)


def test_decoding_sure_outputs_gives_the_truth():
    example = make_example(3)
    config = DecoderConfig(
        phase_temperature=1.0,
        action_temperature=1.0,
        smoothing_seconds=0.0,
        enter_C=(0.6,) * 4,
        exit_C=(0.4,) * 4,
        min_on_seconds_C=(0.3,) * 4,
        min_off_seconds_C=(0.2,) * 4,
    )
    decoded = ClipDecoder(config, labels=LABELS, analysis_fps=FPS).decode(
        sure_logits(example), example.pts_T
    )
    cuts = example.pts_T[1:][np.diff(example.phases_T) != 0]
    lasting = cuts[cuts <= example.pts_T[-1] - 0.3]  # the clip ends before a last one is confirmed
    assert [phase.start_seconds for phase in decoded.phases] == [0.0, *lasting]
    assert [phase.label for phase in decoded.phases[:4]] == [0, 1, 2, 0]
    assert {action.label for action in decoded.actions} == {0}
    assert decoded.retracted == 0
    assert len(decoded.delays_seconds) == len(decoded.phases)


def test_flicker_is_smoothed_and_a_clean_signal_is_not(dataset):
    sure = [sure_logits(example) for example in dataset.validation]

    def tuned(logits):
        found = tune(
            dataset.validation, logits, train=dataset.train, labels=LABELS, analysis_fps=FPS
        )
        return found.decoder

    clean = tuned(sure)
    assert clean.smoothing_seconds == 0.0
    random = np.random.default_rng(0)
    flickering = []
    for logits in sure:
        wild = random.random(len(logits)) < 0.2
        logits = logits.copy()
        logits[wild, :3] = np.roll(logits[wild, :3], 1, axis=1)
        flickering.append(logits)
    assert tuned(flickering).smoothing_seconds > 0


def test_the_configuration_of_a_run_is_that_of_its_parts(bundle):
    assert bundle.config == ModelConfig(
        name="drawn",
        architecture="lstm",
        feature_dim=FEATURE_DIM,
        projection_dim=8,
        hidden_dim=16,
        num_layers=2,
        phases=LABELS.phases,
        actions=LABELS.actions,
        analysis_fps=FPS,
        encoder="test",
        encoder_id=DrawnEncoder.encoder_id,
        gap=GapConfig(hold_seconds=1.0),
    )


@pytest.mark.parametrize("kind", ["phases", "actions"])
def test_a_model_may_have_one_kind_of_labels_only(dataset, tmp_path, kind):
    labels = Labels(LABELS.phases, ()) if kind == "phases" else Labels((), LABELS.actions)

    def only(example: Example) -> Example:
        if kind == "phases":
            return replace(example, actions_TA=example.actions_TA[:, :0])
        return replace(example, phases_T=np.full_like(example.phases_T, -1))

    parts = [tuple(map(only, part)) for part in (dataset.train, dataset.validation, dataset.test)]
    changed = replace(
        dataset, labels=labels, train=parts[0], validation=parts[1][:1], test=parts[2][:1]
    )
    bundle = train(tmp_path, changed, updates=30)
    assert set(bundle.metrics["test"]) == {"num_clips", "num_frames", "frames", kind}
    assert bundle.config.num_classes == len(labels.phases) + len(labels.actions)
    scores = bundle.metrics["test"]["frames"]
    assert scores["phase_accuracy" if kind == "phases" else "action_macro_f1"] > 0.6


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("architecture", ["lstm_peephole", "lstm_coupled", "gru", "lstm"])
def test_each_cell_trains_and_serves(dataset, tmp_path, architecture, layer_norm):
    small = replace(dataset, validation=dataset.validation[:1], test=dataset.test[:1])
    kind = {"architecture": architecture, "layer_norm": layer_norm}
    bundle = train(tmp_path, small, updates=40, **kind)
    assert (bundle.config.architecture, bundle.config.layer_norm) == (architecture, layer_norm)
    assert bundle.metrics["test"]["frames"]["phase_accuracy"] > 0.8
    from streamer.models.temporal.torch import load_network

    example = small.test[0]
    (expected,) = predict(load_network(bundle), [example])
    model = open_temporal_model(bundle, rows=1)
    hidden = cell = np.zeros((2, 1, 16), np.float32)
    for features_D, logits_C in zip(example.features_TD, expected, strict=True):
        logits, hidden, cell = model.step(features_D[None].astype(np.float32), hidden, cell)
        np.testing.assert_allclose(logits[0], logits_C, atol=1e-4)


def test_the_command_trains_the_cell_it_is_told(dataset, tmp_path, monkeypatch):
    small = replace(dataset, validation=dataset.validation[:1], test=dataset.test[:1])
    app = typer.Typer()
    app.command()(fit_command)
    monkeypatch.setattr(
        "streamer.models.encoders.registry.open_encoder", lambda *_: DrawnEncoder(FEATURE_DIM)
    )
    monkeypatch.setattr(
        "streamer.training.synthetic_dataset.synthetic_dataset", lambda *_, **__: small
    )
    arguments = ["--out", str(tmp_path), "--synthetic", "drawn", "--updates", "2", "--hidden", "8"]
    result = CliRunner().invoke(app, [*arguments, "--cell", "gru", "--layer-norm"])
    assert result.exit_code == 0, result.output
    config = Bundle.load(tmp_path / "bundle").config
    assert (config.architecture, config.layer_norm, config.hidden_dim) == ("gru", True, 8)
    assert "GRU" in result.stdout
    assert "layer normalisation" in result.stdout
    assert {cell.value for cell in Cell} == set(get_args(Architecture))
