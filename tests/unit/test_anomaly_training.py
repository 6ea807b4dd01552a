"""The anomaly head on cycles whose normal is known: better than what has no memory, calibrated,
served through the real fold.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from streamer.core.clock import Mark
from streamer.core.errors import ConfigError
from streamer.core.event import EventType, Status, decode_event, encode_event
from streamer.core.state import Checkpoint
from streamer.models.temporal.registry import open_temporal_model
from streamer.models.temporal.torch import load_network
from streamer.stages.reset import change_model
from streamer.stages.temporal import TemporalStage
from streamer.training.calibration import ScoreTrack, count_alarms
from streamer.training.dataset import Example
from streamer.training.features import FeatureTrack
from streamer.training.fit import predict_scores
from streamer.training.recipe import Recipe
from streamer.training.run import Shape
from streamer.training.selfsupervised import make_anomaly_config, split, train_anomaly_bundle
from streamer.transport.codec import encode_input
from streamer.transport.state_codec import decode_state, encode_state
from streamer.transport.transport import LogEntry
from tests.cycles import (
    FEATURE_DIM,
    FPS,
    KINDS,
    disturbed_cycles,
    mahalanobis,
    normal_cycles,
    roc_auc,
)
from tests.encoders import DrawnEncoder
from tests.models import LeakyModel
from tests.models import bundle as leaky_bundle
from tests.samples import START_NS, chunk

if TYPE_CHECKING:
    from streamer.models.bundle import Bundle

TAKEN = Mark("test", 10**12)


def track(features_TD) -> FeatureTrack:
    return FeatureTrack(features_TD, np.arange(len(features_TD)) / FPS)


def train(out, recording, *, updates, rate=1.0) -> Bundle:
    encoder = DrawnEncoder(FEATURE_DIM)
    recipe = Recipe(
        num_lanes=16,
        num_steps=32,
        max_updates=updates,
        warmup_updates=20,
        learning_rate=1e-2,
        dropout=0.0,
        noise=0.1,
        shift=0.0,
        check_every=60,
    )
    shape = Shape(projection_dim=24, hidden_dim=40)
    config = make_anomaly_config(
        shape, name="cycles", encoder=encoder, analysis_fps=FPS, anomaly_dim=8
    )
    return train_anomaly_bundle(
        out,
        recording,
        origin="drawn numbers",
        config=config,
        encoder=encoder,
        recipe=recipe,
        false_alarms_per_hour=rate,
        progress=lambda check: None,
    )


@pytest.fixture(scope="module")
def recording() -> FeatureTrack:
    return track(normal_cycles(15 * 60, seed=1))


@pytest.fixture(scope="module")
def bundle(recording, tmp_path_factory) -> Bundle:
    return train(tmp_path_factory.mktemp("run"), recording, updates=120)


def score(bundle, features_TD) -> ScoreTrack:
    made = track(features_TD)
    example = Example(
        name="",
        compressed=False,
        features_TD=made.features_TD,
        pts_T=made.pts_T,
        phases_T=np.zeros(0, int),
        actions_TA=np.zeros((0, 0), np.float32),
    )
    return ScoreTrack(predict_scores(load_network(bundle), [example])[0], made.pts_T)


def test_memory_tells_what_a_memoryless_baseline_can_not(bundle, recording):
    features_TD, truth_T = disturbed_cycles(45, seed=5)
    taught = split(recording, false_alarms_per_hour=1.0).train.features_TD
    ours = score(bundle, features_TD).scores_T
    theirs = mahalanobis(taught, features_TD)

    def auc(scores_T, kind):
        here_T = (truth_T == kind) | (truth_T < 0)
        return roc_auc(scores_T[here_T], truth_T[here_T] == kind)

    assert roc_auc(ours, truth_T >= 0) > 0.93 > 0.75 > roc_auc(theirs, truth_T >= 0)
    for kind, name in enumerate(KINDS):
        assert auc(ours, kind) > 0.9
        # The baseline is no straw man: what one look can tell, it tells.
        assert auc(theirs, kind) > 0.95 if name == "unseen" else auc(theirs, kind) < 0.65


def test_false_alarms_on_unseen_normal_video_keep_to_the_stated_rate(bundle):
    hours = 3.0
    scored = score(bundle, normal_cycles(hours * 3600, seed=9))
    alarms = count_alarms(bundle.decoder.anomaly, scored, analysis_fps=FPS)
    assert alarms / hours <= bundle.decoder.anomaly.false_alarms_per_hour
    found = bundle.metrics["anomaly"]
    assert found["announced_in_calibration"] == 0
    assert found["expected_false_alarms_per_hour"] <= 1.0
    assert found["extrapolation"] == pytest.approx(60 / found["calibration_minutes"], rel=0.01)


def test_the_card_says_what_it_rests_on(bundle):
    card = (bundle.path / "README.md").read_text()
    found = bundle.metrics["anomaly"]
    assert f"expected: {found['expected_false_alarms_per_hour']:g}; with 90 % sureness" in card
    assert f"at most {found['sure_false_alarms_per_hour']:g}" in card
    assert f"{bundle.decoder.anomaly.enter:g} nats per dimension" in card
    assert "Extrapolated" in card
    assert "| |" not in card  # no table of labels


def test_a_recording_too_short_for_the_rate_is_refused_before_training(tmp_path):
    short = track(normal_cycles(120, seed=2))
    with pytest.raises(ConfigError, match=r"at least 10.3 minutes.*found 2.0; record longer"):
        train(tmp_path, short, updates=10**9)
    with pytest.raises(ConfigError, match="expected above 0"):
        train(tmp_path, short, updates=10**9, rate=0.0)
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def stage(bundle) -> TemporalStage:
    return TemporalStage(bundle, open_temporal_model(bundle, rows=4))


@pytest.fixture(scope="module")
def story() -> tuple[np.ndarray, np.ndarray]:
    return disturbed_cycles(3, seed=6)


def entries(features_TD, cuts=()):
    edges = sorted({0, len(features_TD), *cuts})
    made = [
        chunk("cam", a, length=b - a, features=features_TD[a:b])
        for a, b in itertools.pairwise(edges)
    ]
    return [LogEntry(item.entry_us, encode_input(item), item) for item in made]


def fold(stage, checkpoint, log):
    (advanced,) = stage.advance([(checkpoint, log)], taken=TAKEN)
    return advanced


def test_serving_announces_each_anomaly_around_the_time_it_was(stage, story):
    features_TD, truth_T = story
    events = fold(stage, stage.initial("cam", row=1), entries(features_TD)).events
    confirmed = [e for e in events if e.data.status is Status.CONFIRMED]
    starts = [e.data for e in confirmed if e.type is EventType.ANOMALY_START]
    ends = [e.data for e in confirmed if e.type is EventType.ANOMALY_END]
    assert {e.type for e in events} == {EventType.ANOMALY_START, EventType.ANOMALY_END}
    begins = [np.flatnonzero(truth_T == kind)[0] / FPS for kind in range(3)]
    lasts = [np.flatnonzero(truth_T == kind)[-1] / FPS for kind in range(3)]
    assert len(starts) == len(ends) == 3
    for data, begin, last in zip(starts, begins, lasts, strict=True):
        assert begin - 0.5 <= data.segment.start_pts_seconds <= last
        assert data.frame.pts_seconds <= last
        assert data.confidence >= 0.5
    for data, last in zip(ends, lasts, strict=True):
        assert 0 <= data.segment.end_pts_seconds - last <= 5.0
        assert data.segment.end_reason == "exit"
    assert [e.number for e in events] == list(range(len(events)))
    assert len({e.id for e in events}) == len(events)
    for event in events:
        assert decode_event(encode_event(event)) == event


def test_chunks_and_a_restart_in_the_middle_change_nothing(stage, bundle, story):
    features_TD, truth_T = story
    whole = fold(stage, stage.initial("cam", row=2), entries(features_TD))
    middle = int(np.flatnonzero(truth_T == 0)[36])
    log = entries(features_TD, cuts=[*range(0, len(features_TD), 7), middle])
    at = next(n for n, entry in enumerate(log) if entry.entry.first_seq == middle)
    first = fold(stage, stage.initial("cam", row=2), log[:at])
    assert first.after.state.anomaly.segment is not None
    stored = decode_state(encode_state(first.after.state))
    assert stored.anomaly == first.after.state.anomaly
    again = TemporalStage(bundle, open_temporal_model(bundle, rows=4))
    restored = Checkpoint(state=stored, position=first.after.position, version=first.after.version)
    second = fold(again, restored, log[at:])

    def said(events):
        return [(e.id, e.sequence, e.data.segment, e.data.score) for e in events]

    assert said(first.events + second.events) == said(whole.events)
    assert encode_state(second.after.state) == encode_state(whole.after.state)


def test_a_long_hole_ends_the_anomaly_and_begins_anew(stage, story):
    features_TD, truth_T = story
    cut = int(np.flatnonzero(truth_T == 0)[36])
    first = fold(stage, stage.initial("cam", row=0), entries(features_TD[:cut]))
    later = chunk("cam", cut + 50, features=features_TD[cut : cut + 1])
    log = [LogEntry(later.entry_us, encode_input(later), later)]
    after = fold(stage, first.after, log)
    ended, gap = after.events
    assert (ended.type, ended.data.segment.end_reason) == (EventType.ANOMALY_END, "gap")
    assert (gap.type, gap.data.policy) == (EventType.STREAM_GAP, "reset")
    assert after.after.state.anomaly.segment is None
    assert after.after.state.anomaly.begun_pts_seconds == later.pts_seconds[0]


def test_models_with_and_without_the_head_take_over_from_each_other(stage, story):
    features_TD, truth_T = story
    cut = int(np.flatnonzero(truth_T == 0)[36])
    watched = fold(stage, stage.initial("cam", row=0), entries(features_TD[:cut])).after
    plain = TemporalStage(leaky_bundle(), LeakyModel(4))
    unwatched = replace(watched.state, anomaly=None)
    assert "expected a state of a watch" in stage.misfit(unwatched)
    assert not stage.misfit(watched.state)
    step = change_model(plain, watched, phases=(), actions=(), now_ns=START_NS, row=0)
    ended, changed = step.events
    assert (ended.type, ended.data.segment.end_reason) == (EventType.ANOMALY_END, "model_changed")
    assert changed.type is EventType.MODEL_CHANGED
    assert step.checkpoint.state.anomaly is None
    odd = replace(step.checkpoint.state, anomaly=watched.state.anomaly)
    assert "expected no state of a watch" in plain.misfit(odd)
    back = change_model(stage, step.checkpoint, phases=("a", "b", "c"), actions=("d", "e"),
                        now_ns=START_NS, row=0)  # fmt: skip
    assert not stage.misfit(back.checkpoint.state)


def test_a_state_without_the_head_is_stored_as_it_always_was():
    plain = TemporalStage(leaky_bundle(), LeakyModel(4)).initial("cam", row=0).state
    raw = encode_state(plain)
    assert b"state/1" in raw
    assert b"watched" not in raw
    assert decode_state(raw).anomaly is None
