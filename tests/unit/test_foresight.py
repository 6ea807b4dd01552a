"""Anomalies and anticipation beside labels: a second pass on a network that stays as it is."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import msgspec
import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from streamer.cli.eval import evaluate
from streamer.cli.fit import fit
from streamer.core.errors import ConfigError
from streamer.models.bundle import Bundle
from streamer.models.inspection import inspect_bundle
from streamer.models.temporal.torch import load_network
from streamer.training.annotations import Labels
from streamer.training.calibration import ScoreTrack, count_alarms
from streamer.training.dataset import Dataset, Example
from streamer.training.evaluation.foresight import measure_foresight
from streamer.training.fit import predict, predict_scores
from streamer.training.foresight import Foresight, add_foresight, check_foresight
from tests.clip_tables import SET, write_set
from tests.clips import FEATURE_DIM, clip_config, clip_recipe, make_model

PHASES = ("idle", "work", "rest")
LENGTHS = (30, 20, 25)
CODES = np.random.default_rng(5).normal(size=(3, FEATURE_DIM))
FORESIGHT = Foresight(false_alarms_per_hour=30.0, anticipation_frames=5)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def cycle(seed, *, seconds=90.0, strange=False):
    """Three phases in turn; from 40 to 50 s perhaps features that nobody has seen."""
    random = np.random.default_rng(seed)
    count, labels, ages = round(10 * seconds), [], []
    while len(labels) < count:
        for phase, length in enumerate(LENGTHS):
            lasts = int(random.integers(length - 3, length + 4))
            labels += [phase] * lasts
            ages += range(lasts)
    phases_T, ages_T = np.array(labels[:count]), np.array(ages[:count])
    swing_TD = np.sin(ages_T / 5)[:, None] * CODES[(phases_T + 1) % 3]
    features_TD = CODES[phases_T] + 0.5 * swing_TD
    features_TD += random.normal(scale=0.25, size=features_TD.shape)
    if strange:
        features_TD[400:500] *= -1.5
    return Example(
        name=f"{seed}.npy",
        compressed=False,
        features_TD=features_TD.astype(np.float16),
        pts_T=np.arange(count) / 10,
        phases_T=phases_T,
        actions_TA=np.zeros((count, 0), np.float32),
    )


@pytest.fixture(scope="module")
def dataset():
    train, validation, test = (
        tuple(cycle(seed) for seed in seeds) for seeds in (range(6), range(10, 14), range(20, 22))
    )
    return Dataset(
        origin="cycles", labels=Labels(PHASES, ()), train=train, validation=validation, test=test
    )


@pytest.fixture(scope="module")
def learnt(dataset):
    """A network of random layers, which the second pass leaves alone, and what that makes of it."""
    config = clip_config(phases=PHASES, encoder="external:told", encoder_id=SET.encoder_id)
    model = make_model(config).eval()
    stacked = np.concatenate([example.features_TD for example in dataset.train])
    model.fit_normalisation(torch.from_numpy(stacked.astype(np.float32)))
    return model, *add_foresight(model, dataset, clip_recipe(), FORESIGHT)


def test_what_is_said_of_labels_stays_the_same_bit_for_bit(dataset, learnt):
    model, grown, _, _ = learnt
    for before, after in zip(
        predict(model, dataset.test), predict(grown, dataset.test), strict=True
    ):
        assert np.array_equal(before, after)
    assert grown.config.anomaly_dim == 8
    assert model.config.anomaly_dim == 0


def test_what_was_never_seen_is_announced_and_the_usual_is_not(learnt):
    _, grown, thresholds, _ = learnt
    usual, strange = cycle(30, seconds=300), cycle(31, strange=True)
    scores = [
        ScoreTrack(scores_T, example.pts_T)
        for example, scores_T in zip(
            (usual, strange), predict_scores(grown, [usual, strange]), strict=True
        )
    ]
    assert count_alarms(thresholds, scores[0], analysis_fps=10.0) <= 3  # 30 an hour: 2.5
    assert count_alarms(thresholds, scores[1], analysis_fps=10.0) >= 1
    assert scores[1].scores_T[400:500].mean() > scores[1].scores_T[:400].max()


def test_it_says_what_the_thresholds_rest_on(learnt):
    _, _, thresholds, found = learnt
    assert thresholds.false_alarms_per_hour == 30.0
    # Of four videos of 90 s, without the first 5.
    assert found["calibration_minutes"] == pytest.approx(4 * 84.9 / 60, abs=0.02)
    assert found["training_minutes"] == pytest.approx(9.0, abs=0.02)
    assert found["test_minutes"] == pytest.approx(2 * 84.9 / 60, abs=0.02)


def test_the_same_seed_gives_the_same_heads(dataset, learnt):
    model, grown, thresholds, _ = learnt
    again, other, _ = add_foresight(model, dataset, clip_recipe(), FORESIGHT)
    assert other == thresholds
    weights = again.state_dict()
    assert all(torch.equal(weight, weights[name]) for name, weight in grown.state_dict().items())


def test_too_little_to_calibrate_on_is_told(dataset):
    with pytest.raises(ConfigError, match=r"at least 72\.0 minutes in the validation part .* 5\.7"):
        check_foresight(dataset, Foresight(false_alarms_per_hour=1 / 60))


def write_cycles(folder):
    examples = [cycle(seed, strange=seed == 9) for seed in range(10)]
    parts = ["train"] * 4 + ["validation"] * 4 + ["test"] * 2
    lines = ["video,start,end,label,split"]
    for example, part in zip(examples, parts, strict=True):
        cuts = [0, *(np.flatnonzero(np.diff(example.phases_T)) + 1), len(example)]
        lines += [
            f"{example.name},{start / 10},{end / 10},{PHASES[example.phases_T[start]]},{part}"
            for start, end in pairwise(cuts)
        ]
    tracks = {example.name: example.features_TD for example in examples}
    return write_set(folder / "cycle.csv", tracks, lines), examples


def run(command, *options):
    app = typer.Typer()
    app.command()(command)
    arguments = [str(option) for option in options]
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


SMALL = ("--hidden", 24, "--updates", 60, "--set", "num_lanes=8", "--set", "shift=0.2")
HALF = ("--analysis-fps", 5)


def test_a_bundle_has_anomalies_beside_labels_and_eval_tells_how_far_it_sees(tmp_path):
    table, examples = write_cycles(tmp_path)
    plain = run(fit, "--videos", table, "--out", tmp_path / "plain", *SMALL, *HALF)
    options = ("--anomalies", "--false-alarms-per-hour", 30, "--anticipation-frames", 5)
    done = run(fit, "--videos", table, "--out", tmp_path / "both", *SMALL, *HALF, *options)
    assert plain.exit_code == done.exit_code == 0, done.output
    one, two = (Bundle.load(tmp_path / name / "bundle") for name in ("plain", "both"))
    assert one.metrics["test"] == two.metrics["test"]
    assert one.decoder == msgspec.structs.replace(two.decoder, anomaly=None)
    assert two.decoder.anomaly is not None
    assert inspect_bundle(two.path).faults == []
    card = (two.path / "README.md").read_text()
    assert "what these videos show is normal to it" in card
    assert "minutes of the test part" in card

    out = tmp_path / "report"
    chosen = ("--split", "test", "--out", out, "--resamples", 20)
    done = run(evaluate, "--bundle", two.path, "--videos", table, *chosen)
    assert done.exit_code == 0, done.output
    found = msgspec.json.decode((out / "report.json").read_bytes())["bundles"][0]["foreseen"]
    assert found["hours"] == pytest.approx(2 * 89.9 / 3600, abs=1e-4)
    assert found["anomalies_announced"] >= 1  # in the strange video
    assert [row["frames"] for row in found["anticipation"]] == [1, 2, 3, 4, 5]
    assert (
        "| frames ahead | seconds | guessed | last feature | mean |"
        in (out / "report.md").read_text()
    )
    usual = replace(
        examples[8], features_TD=examples[8].features_TD[::2], pts_T=examples[8].pts_T[::2]
    )
    features = torch.from_numpy(usual.features_TD.astype(np.float32))
    usual = measure_foresight(two, [usual])
    assert (usual.error_F < usual.persistence_F).all()
    assert (usual.error_F < usual.mean_F).all()
    # Counted by hand: how wrong the guess is that nothing changes, three frames ahead.
    network = load_network(two)
    targets = network.anomaly.targets((features - network.mean_D) * network.scale_D)
    errors = (targets[3:] - targets[:-3])[:-2].square().mean()
    assert usual.persistence_F[2] == pytest.approx(float(errors), rel=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--anomalies", "--head", "ctc"), "expected --videos and --head frames with --anomalies"),
        (("--anomalies", "--directions", "2"), "expected --directions 1 with --anomalies"),
        (("--anticipation-frames", "3"), "expected --anomalies with --anticipation-frames"),
        (("--anomalies", "--false-alarms-per-hour", "0.01"), "--anomalies: expected at least"),
    ],
)
def test_options_that_make_no_sense_are_told(tmp_path, options, message):
    table, _ = write_cycles(tmp_path)
    with pytest.raises(ConfigError, match=message):
        run(fit, "--videos", table, "--out", tmp_path / "run", *SMALL, *options)
    assert not (tmp_path / "run" / "bundle").exists()


def test_a_configuration_without_what_anticipation_needs_is_told():
    with pytest.raises(ValueError, match="anticipation_frames: expected at least 0, and 0 without"):
        clip_config(phases=PHASES, anticipation_frames=3)
