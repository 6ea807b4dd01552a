"""Drift: distances with known answers, and the watch that measures them on the way."""

from __future__ import annotations

import math

import numpy as np
import pytest

from streamer.core.clock import Mark
from streamer.models.bundle import Bundle
from streamer.stages.drift import (
    DriftReference,
    action_entropy,
    frechet_squared,
    mahalanobis_squared,
    phase_entropy,
    population_stability,
    predicted_counts,
)
from streamer.stages.drift_watch import MIN_FRAMES, DriftWatch
from streamer.stages.temporal import TemporalStage
from streamer.telemetry.prometheus import PrometheusObserver
from streamer.telemetry.records.model import DriftMeasured, ModelServed
from streamer.transport.codec import encode_input
from streamer.transport.transport import LogEntry
from tests.bundles import copy_bundle
from tests.models import LeakyModel, bundle, features_of
from tests.samples import chunk

D = 50
SHARES = np.array([0.5, 0.3, 0.2, 0.1, 0.6])


def reference(**changes):
    fields = {
        "model_id": "sha256:model",
        "mean_D": np.linspace(-3, 3, D, dtype=np.float32),
        "scale_D": 1 / np.linspace(0.1, 5, D, dtype=np.float32),
        "known_D": np.ones(D, bool),
        "num_phases": 3,
        "num_actions": 2,
        "phase_temperature": 1.0,
        "action_temperature": 1.0,
        "shares_C": SHARES,
    }
    return DriftReference(**(fields | changes))


def draw(num, *, shift=0.0, stretch=1.0, seed=0):
    """Features whose mean is off by `shift` standard deviations, spread `stretch` times as wide."""
    of = reference()
    noise = np.random.default_rng(seed).standard_normal((num, D))
    return (of.mean_D + (shift + stretch * noise) / of.scale_D).astype(np.float32)


def draw_logits(num, shares_C=SHARES, seed=1):
    random = np.random.default_rng(seed)
    phases = np.eye(3)[random.choice(3, num, p=shares_C[:3])]
    actions = np.where(random.random((num, 2)) < shares_C[3:], 1.0, -1.0)
    return (8 * np.concatenate([phases, actions], axis=1)).astype(np.float32)


def measured(features_ND, logits_NC, *, batch=8, of=None, memory_frames=100_000):
    watch = DriftWatch(of or reference(), memory_frames=memory_frames)
    for at in range(0, len(features_ND), batch):
        watch.take(features_ND[at : at + batch], logits_NC[at : at + batch])
    return watch.measure()


# Formulas.


def test_distances_of_a_shift_and_of_a_spread():
    k = np.full(D, 2.5)
    assert mahalanobis_squared(np.zeros(D)) == 0
    assert mahalanobis_squared(k) == pytest.approx(2.5**2)
    assert frechet_squared(np.zeros(D), np.ones(D)) == 0
    assert frechet_squared(k, np.ones(D)) == pytest.approx(2.5**2)
    assert frechet_squared(np.zeros(D), np.full(D, 3.0)) == pytest.approx(4)


def test_the_diagonal_frechet_distance_is_that_of_full_matrices():
    linalg = pytest.importorskip("scipy.linalg")
    random = np.random.default_rng(0)
    mean, std = random.standard_normal(6), random.uniform(0.5, 2, 6)
    root = linalg.sqrtm(np.diag(std**2) @ np.eye(6)).real
    full = mean @ mean + np.trace(np.diag(std**2) + np.eye(6) - 2 * root)
    assert frechet_squared(mean, std) == pytest.approx(full / 6)


def test_stability_of_shares():
    half = np.array([0.5, 0.5])
    assert population_stability(half, half) == 0
    moved = population_stability(np.array([0.6, 0.4]), half)
    assert moved == pytest.approx(0.1 * math.log(1.2) - 0.1 * math.log(0.8))
    assert population_stability(half, np.array([0.6, 0.4])) == pytest.approx(moved)
    assert 1 < population_stability(np.array([1.0, 0.0]), half) < math.inf


def test_entropies():
    even, sure = np.zeros((1, 4)), np.array([[900.0, 0, 0, 0]])
    assert phase_entropy(even, temperature=1.0) == pytest.approx(math.log(4))
    assert phase_entropy(sure, temperature=1.0) == pytest.approx(0)
    p = np.array([0.7, 0.2, 0.1])
    expected = -(p * np.log(p)).sum()
    assert phase_entropy(3 * np.log(p)[None], temperature=3.0) == pytest.approx(expected)
    assert action_entropy(np.zeros((1, 2)), temperature=1.0) == pytest.approx(math.log(2))
    assert action_entropy(np.array([[900.0, -900.0]]), temperature=1.0) == pytest.approx(0)
    one = np.array([[math.log(0.9 / 0.1)]])
    expected = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1))
    assert action_entropy(one, temperature=1.0) == pytest.approx(expected)


def test_counts_do_not_look_at_further_outputs():
    logits = np.array([[0, 3, 1, -1, 9], [2, 1, 0, 4, 9], [0, 1, 0, -2, 9]], np.float32)
    counts = predicted_counts(logits, num_phases=3, num_actions=1)
    assert counts.tolist() == [1, 2, 0, 1]
    assert predicted_counts(logits, num_phases=0, num_actions=2).tolist() == [1, 3]


# The watch.


def test_the_training_itself_is_near_nothing():
    drift = measured(draw(4000), draw_logits(4000))
    assert drift.mahalanobis < 0.001
    assert drift.frechet < 0.002
    assert drift.psi["phases"] < 0.005
    assert drift.psi["actions"] < 0.005
    assert drift.entropy_nats["phases"] < 0.02


@pytest.mark.parametrize("k", [0.5, 1, 3])
def test_a_shift_by_k_deviations_is_k_squared(k):
    drift = measured(draw(4000, shift=k), draw_logits(4000))
    assert drift.mahalanobis == pytest.approx(k**2, rel=0.03)
    assert drift.frechet == pytest.approx(k**2, rel=0.03)


def test_a_wider_spread_is_seen_by_frechet_alone():
    drift = measured(draw(4000, stretch=2), draw_logits(4000))
    assert drift.mahalanobis < 0.002
    assert drift.frechet == pytest.approx(1, rel=0.05)


def test_labels_predicted_more_often_than_before():
    often = np.array([0.2, 0.3, 0.5, 0.1, 0.6])
    drift = measured(draw(4000), draw_logits(4000, often))
    assert drift.psi["phases"] == pytest.approx(
        population_stability(often[:3], SHARES[:3]), rel=0.2
    )
    assert drift.psi["actions"] < 0.005


def test_the_size_of_batches_changes_nothing_but_order():
    one, other = (measured(draw(600), draw_logits(600), batch=batch) for batch in (1, 64))
    assert one.frechet == pytest.approx(other.frechet, rel=0.02)
    assert one.psi == pytest.approx(other.psi, rel=0.05)


def test_what_was_long_ago_is_forgotten():
    features = np.concatenate([draw(2000, shift=5), draw(2000, seed=2)])
    drift = measured(features, draw_logits(4000), memory_frames=200)
    assert drift.mahalanobis < 0.05


def test_nothing_is_said_of_too_few_frames_and_of_what_is_not_known():
    assert measured(draw(MIN_FRAMES - 1), draw_logits(MIN_FRAMES - 1)) is None
    drift = measured(draw(300), draw_logits(300), of=reference(shares_C=None))
    assert drift.psi == {}
    no_phases = reference(num_phases=0, num_actions=5, shares_C=None)
    assert set(measured(draw(300), draw_logits(300), of=no_phases).entropy_nats) == {"actions"}


def test_features_of_unknown_spread_are_left_out():
    known = np.ones(D, bool)
    known[7] = False
    features = draw(2000)
    features[:, 7] += 1e6
    drift = measured(features, draw_logits(2000), of=reference(known_D=known))
    assert drift.frechet < 0.005


# Its place.


def entry(item):
    return LogEntry(item.entry_us, encode_input(item), item)


def test_a_stage_shows_one_batch_of_each_commit_and_says_the_same():
    class Seen:
        def __init__(self):
            self.asked, self.taken = [], []

        def choose(self, num_batches):
            self.asked.append(num_batches)
            return len(self.asked) % num_batches

        def take(self, features_ND, logits_NC):
            self.taken.append((features_ND.copy(), logits_NC.copy()))

    seen = Seen()
    results = []
    for watch in (seen, None):
        stage = TemporalStage(bundle(), LeakyModel(2), watch=watch)
        places = [stage.initial(name, row=n % 2) for n, name in enumerate(("a", "b", "c"))]
        for first in (0, 4):
            rows = np.array([features_of(1, 0)] * 4)
            work = [
                (at, [entry(chunk(at.state.stream_id, first, features=rows, length=4))])
                for at in places
            ]
            advanced = stage.advance(work, taken=Mark("test", 10**12))
            places = [one.after for one in advanced]
            results.append([e.id for one in advanced for e in one.events])
    assert seen.asked == [2, 2]
    assert [len(features) for features, _ in seen.taken] == [1, 2]
    assert results[:2] == results[2:]


def test_the_shipped_bundle_knows_its_features_and_its_shares(tmp_path):
    of = DriftReference.of(Bundle.load("workcell"))
    assert of.mean_D.shape == of.scale_D.shape == (1280,)
    assert 1000 < of.known_D.sum() < 1280
    assert of.shares_C is not None
    phases_C, actions_C = of.shares_C[:6], of.shares_C[6:]
    assert phases_C.sum() == pytest.approx(1.0, abs=1e-5)
    assert ((actions_C > 0) & (actions_C < 1)).all()
    labels = (*Bundle.load("workcell").config.phases, *Bundle.load("workcell").config.actions)
    shares = dict.fromkeys(labels, 0.1)
    made = copy_bundle(tmp_path / "made", metrics={"validation": {"predicted_shares": shares}})
    assert DriftReference.of(made).shares_C.tolist() == [0.1] * 9


def test_gauges_are_those_of_the_model_that_runs():
    observer = PrometheusObserver()
    for model_id in ("sha256:old", "sha256:new"):
        observer.observe(ModelServed(model_id, "name"))
        observer.observe(
            DriftMeasured(
                model_id=model_id,
                mahalanobis=1.0,
                frechet=2.0,
                psi={"phases": 3.0},
                entropy_nats={"actions": 4.0},
            )
        )
    samples = {
        (sample.name.removeprefix("streamer_drift_"), *sample.labels.values()): sample.value
        for family in observer.registry.collect()
        for sample in family.samples
        if sample.name.startswith("streamer_drift_")
    }
    assert samples == {
        ("feature_mahalanobis", "sha256:new"): 1,
        ("feature_frechet", "sha256:new"): 2,
        ("prediction_psi", "sha256:new", "phases"): 3,
        ("prediction_entropy_nats", "sha256:new", "actions"): 4,
    }
