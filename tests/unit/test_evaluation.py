from __future__ import annotations

import math
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from streamer.core.errors import ConfigError
from streamer.core.event import EventType, PhaseData, Status
from streamer.training.annotations import Kind, Labels
from streamer.training.dataset import Example
from streamer.training.evaluation import run as evaluation
from streamer.training.evaluation.announced import read_events
from streamer.training.evaluation.report import write_report
from streamer.training.evaluation.run import Policy, measure_bundle
from streamer.training.evaluation.serving import Watcher
from streamer.training.evaluation.tables import interval, number, spread
from streamer.training.metrics import Stretch
from tests.models import ACTIONS, PHASES, LeakyModel, bundle, features_of

LABELS = Labels(PHASES, ACTIONS)
FPS = 10.0
IDLE, WORK, REST = range(3)


def features(*runs: tuple[int, int] | tuple[int, int, int]) -> np.ndarray:
    """Of runs (frames, phase[, action])."""
    rows = [features_of(phase, *actions) for n, phase, *actions in runs for _ in range(n)]
    return np.array(rows, np.float16)


def watch(features_TD, *, window_frames=None, model=None, **changes):
    watcher = Watcher(bundle(**changes), model or LeakyModel(), window_frames=window_frames)
    return watcher.watch("clip", features_TD, np.arange(len(features_TD)) / FPS)


def announced(watched):
    return read_events(
        watched.events,
        watched.closing,
        labels=LABELS,
        pts_T=np.arange(len(watched.logits_TC)) / FPS,
    )


def example(name: str, features_TD: np.ndarray, phases_T, lamp_T=None) -> Example:
    actions = np.zeros((len(features_TD), 2), np.float32)
    if lamp_T is not None:
        actions[:, 0] = lamp_T
    return Example(
        name=name,
        compressed=False,
        features_TD=features_TD,
        pts_T=np.arange(len(features_TD)) / FPS,
        phases_T=np.asarray(phases_T),
        actions_TA=actions,
    )


# Through the stages of serving.


def test_a_watched_video_has_an_output_and_calibrated_probabilities_per_frame():
    seen = features((4, IDLE), (4, WORK))
    watched = watch(seen, phase_temperature=2.0)
    hidden = np.zeros(5)
    for row, logits, probabilities in zip(
        seen, watched.logits_TC, watched.probabilities_TC, strict=True
    ):
        hidden = (hidden + 3 * row) / 4
        np.testing.assert_allclose(logits, 8 * hidden, rtol=1e-5)
        exponents = np.exp(8 * hidden[:3] / 2)
        np.testing.assert_allclose(probabilities[:3], exponents / exponents.sum(), rtol=1e-4)


def test_each_video_begins_from_a_fresh_state():
    watcher = Watcher(bundle(), LeakyModel())
    pts = np.arange(6) / FPS
    first = watcher.watch("a", features((6, WORK)), pts)
    watcher.watch("b", features((6, REST)), pts)
    assert (watcher.watch("a", features((6, WORK)), pts).logits_TC == first.logits_TC).all()


def test_a_window_makes_the_model_forget_and_leaves_the_decoder_alone():
    seen = features((3, IDLE), (6, WORK))
    carried, windowed = watch(seen), watch(seen, window_frames=4)
    same = (carried.logits_TC == windowed.logits_TC).all(axis=1)
    # Frames 4 and 8 begin a window; a leaky memory never quite agrees again.
    assert same.tolist() == [True] * 4 + [False] * 5
    np.testing.assert_allclose(windowed.logits_TC[4], 6 * seen[4], rtol=1e-3)
    starts = [e for e in windowed.events if e.type is EventType.PHASE_TRANSITION]
    assert [e.data.label for e in starts] == ["idle", "idle", "work", "work"]


def test_features_that_serving_refuses_are_refused():
    broken = features((4, IDLE))
    broken[2] = np.nan
    with pytest.raises(ConfigError, match="clip: can't be evaluated: expected finite"):
        watch(broken)


# What was announced.


def test_events_become_segments_announcements_and_what_was_shown():
    said = announced(watch(features((10, IDLE), (10, WORK, 0), (10, REST))))
    assert said.phases == [
        Stretch(IDLE, 0.0, 1.0),
        Stretch(WORK, 1.0, 2.0),
        Stretch(REST, 2.0, 2.9),
    ]
    (lamp,) = said.actions
    assert (lamp.label, lamp.start_seconds) == (0, pytest.approx(1.0))
    assert [note.label for note in said.announcements] == [IDLE, WORK, 3, REST]
    assert not any(note.retracted for note in said.announcements)
    # Shown from the frame of the announcement on, not from where the segment is said to begin.
    for note in said.announcements:
        at = round(note.at_seconds * FPS)
        assert said.shown_TC[at, note.label]
        assert not said.shown_TC[at - 1, note.label] or at == 0
    assert (said.shown_TC[:, :3].sum(axis=1) == 1).all()
    lamp_off = np.flatnonzero(np.diff(said.shown_TC[:, 3].astype(int)) == -1)
    assert len(lamp_off) == 1
    assert lamp_off[0] >= 20  # known to be off only after the minimum


def test_what_is_taken_back_is_no_segment_and_shown_only_until_then():
    said = announced(watch(features((10, IDLE), (2, WORK, 1), (10, IDLE))))
    assert said.phases == [Stretch(IDLE, 0.0, 2.1)]
    assert said.actions == []
    retracted = [note.label for note in said.announcements if note.retracted]
    assert sorted(retracted) == [WORK, 4]
    assert said.shown_TC[:, WORK].any()
    assert said.shown_TC[-1].tolist() == [True, False, False, False, False]


def test_what_the_end_of_the_video_takes_back_was_no_mistake():
    watched = watch(features((10, IDLE), (2, WORK)))
    assert any(
        isinstance(event.data, PhaseData) and event.data.status is Status.RETRACTED
        for event in watched.closing
    )
    said = announced(watched)
    assert [note.label for note in said.announcements] == [IDLE, WORK]
    assert not said.announcements[1].retracted
    assert [phase.label for phase in said.phases] == [IDLE]


# Scores.


@pytest.fixture
def leaky(monkeypatch):
    monkeypatch.setattr(evaluation, "open_online_model", lambda bundle: LeakyModel())


def measure(*examples, decoder=None, **changes):
    policy = Policy(**({"num_resamples": 50} | changes))
    return measure_bundle(bundle(**(decoder or {})), examples, policy)


RUNS = ((20, IDLE), (20, WORK, 0), (20, REST))
TRUTH = [IDLE] * 20 + [WORK] * 20 + [REST] * 20
LAMP = [0] * 20 + [1] * 20 + [0] * 20


@pytest.mark.usefixtures("leaky")
def test_a_perfect_video_has_perfect_scores_and_honest_delays():
    result = measure(example("a", features(*RUNS), TRUTH, LAMP))
    phases = result.kinds[Kind.PHASE].carried
    perfect = {
        name: value
        for name, value in phases.items()
        if name in ("accuracy", "macro_f1", "macro_jaccard", "map", "calibrated_map", "edit")
        or name.startswith(("f1_at", "point_ap"))
    }
    assert len(perfect) == 22
    assert perfect == dict.fromkeys(perfect, 1.0)
    assert phases["onsets"] == 2  # nobody saw the first phase begin
    assert 0 <= phases["onset_delay_median_seconds"] <= 0.2
    assert phases["onsets_missed_ratio"] == phases["false_onsets_per_hour"] == 0
    assert phases["retracted_ratio"] == phases["flickers_per_hour"] == 0
    assert phases["shown_onsets_ratio"] == 1
    assert result.confusion_CC.tolist() == [[20, 0, 0], [0, 20, 0], [0, 0, 20]]
    actions = result.kinds[Kind.ACTION].carried
    assert actions["onsets"] == actions["f1_at_50"] == 1
    assert "edit" not in actions


@pytest.mark.usefixtures("leaky")
def test_mistakes_are_counted_by_hand():
    # The model says 2 s idle, 2 s work, 2 s rest; in truth it is 2 s idle, 4 s work.
    wrong = example("a", features(*RUNS), [IDLE] * 20 + [WORK] * 40)
    phases = measure(wrong).kinds[Kind.PHASE].carried
    assert phases["accuracy"] == pytest.approx(40 / 60)
    assert phases["macro_recall"] == pytest.approx((1 + 0.5 + 0) / 3)
    assert phases["macro_precision"] == pytest.approx((1 + 1 + 0) / 3)
    assert phases["macro_jaccard"] == pytest.approx((1 + 0.5 + 0) / 3)
    assert phases["edit"] == pytest.approx(2 / 3)
    # Two of three are right; work overlaps 2.0 of 3.9 s (the last frame is where the video ends).
    assert phases["f1_at_50"] == pytest.approx(2 * 2 / (2 + 3))
    assert phases["false_onsets_per_hour"] == pytest.approx(3600 / 6.0)
    assert phases["onsets"] == 1
    assert phases["shown_onsets_ratio"] == pytest.approx(3 / 2)
    lamp = measure(wrong).kinds[Kind.ACTION].carried
    assert lamp["accuracy"] == pytest.approx(40 / 60)
    assert lamp["onsets"] == 0
    assert math.isnan(lamp["map"])
    assert lamp["false_onsets_per_hour"] == pytest.approx(3600 / 6.0)


@pytest.mark.usefixtures("leaky")
def test_background_is_no_segment_and_no_class_but_its_frames_count():
    wrong = example("a", features(*RUNS), [IDLE] * 20 + [WORK] * 40)
    phases = measure(wrong, background=("rest",)).kinds[Kind.PHASE].carried
    assert phases["accuracy"] == pytest.approx(40 / 60)
    assert phases["macro_precision"] == 1.0
    assert phases["edit"] == phases["f1_at_50"] == 1.0
    assert phases["false_onsets_per_hour"] == 0
    with pytest.raises(ConfigError, match="idle, work, rest, found 'lamp'"):
        measure(wrong, background=("lamp",))


@pytest.mark.usefixtures("leaky")
def test_pooled_and_per_video_scores_differ_as_they_should():
    good = example("a", features(*RUNS), TRUTH)
    bad = example("b", features((20, IDLE)), [REST] * 20)
    result = measure(good, bad)
    phases = result.kinds[Kind.PHASE].carried
    assert phases["accuracy"] == pytest.approx(60 / 80)
    assert phases["accuracy_per_video"] == pytest.approx((1 + 0) / 2)
    assert phases["f1_at_10"] == pytest.approx(2 * 3 / (6 + 1 + 1))
    assert phases["f1_at_10_per_video"] == pytest.approx((1 + 0) / 2)
    low, high = result.kinds[Kind.PHASE].intervals["accuracy_per_video"]
    assert (low, high) == (0.0, 1.0)


@pytest.mark.usefixtures("leaky")
def test_frames_of_unknown_phase_are_not_judged():
    half = example("a", features(*RUNS), [*TRUTH[:40], *[-1] * 20])
    assert measure(half).kinds[Kind.PHASE].carried["accuracy"] == 1.0
    assert measure(half).confusion_CC.sum() == 40


@pytest.mark.usefixtures("leaky")
def test_a_memory_that_is_needed_shows_in_the_comparison():
    # What a frame of doubt is, only memory says: between work and rest, a little nearer rest.
    doubt = (features_of(WORK) * 0.45 + features_of(REST) * 0.5).astype(np.float16)
    seen = np.concatenate([features((8, WORK)), np.tile(doubt, (1, 1)), features((7, WORK))])
    clip = example("a", seen, [WORK] * 16)
    kind = measure(clip, replace(clip, name="b"), window_frames=8).kinds[Kind.PHASE]
    assert kind.carried["accuracy"] == 1.0
    assert kind.windowed["accuracy"] == pytest.approx(15 / 16)
    assert kind.difference_intervals["accuracy"] == pytest.approx((1 / 16, 1 / 16))


@pytest.mark.usefixtures("leaky")
def test_what_was_shown_lags_behind_the_outputs():
    late = measure(example("a", features(*RUNS), TRUTH), decoder={"smoothing_seconds": 0.3})
    phases = late.kinds[Kind.PHASE].carried
    assert phases["accuracy"] == phases["accuracy_per_video"] == 1.0
    lag = phases["onset_delay_median_seconds"]
    assert lag > 0.1
    # At the beginning nothing is smoothed: the two onsets are all that is late.
    assert phases["shown_accuracy"] == pytest.approx(1 - 2 * lag * FPS / 60)


@pytest.mark.usefixtures("leaky")
def test_announcements_taken_back_are_counted_apart():
    seen = features((20, IDLE), (2, WORK), (18, IDLE))
    phases = measure(example("a", seen, [IDLE] * 40)).kinds[Kind.PHASE].carried
    assert phases["retracted_ratio"] == pytest.approx(1 / 2)
    assert phases["retracted_per_hour"] == pytest.approx(3600 / 4.0)
    assert phases["false_onsets_per_hour"] == 0
    assert phases["flickers_per_hour"] == pytest.approx(3600 / 4.0)
    # Two flickers and two real changes: each has a number of its own.
    seen = features((20, IDLE), (2, WORK), (18, IDLE), (9, REST), (11, IDLE))
    phases = measure(example("a", seen, [IDLE] * 60)).kinds[Kind.PHASE].carried
    assert phases["retracted_per_hour"] == pytest.approx(3600 / 6.0)
    assert phases["flickers_per_hour"] == pytest.approx(2 * 3600 / 6.0)


@pytest.mark.usefixtures("leaky")
def test_calibration_is_measured_before_and_after():
    wrong = example("a", features(*RUNS), [IDLE] * 20 + [WORK] * 40, LAMP)
    temperatures = {"phase_temperature": 4.0, "action_temperature": 2.0}
    found, plain = measure(wrong, decoder=temperatures), measure(wrong)
    for kind in (Kind.PHASE, Kind.ACTION):
        after, before = found.kinds[kind].carried, plain.kinds[kind].carried
        for name in ("ece", "nll", "brier"):
            assert after[f"raw_{name}"] == pytest.approx(before[name])
            assert after[name] != pytest.approx(before[name], rel=0.01)
    # One frame in three is wrong, and the outputs are sure of all.
    assert plain.kinds[Kind.PHASE].carried["ece"] > 0.3
    assert found.kinds[Kind.PHASE].carried["nll"] < plain.kinds[Kind.PHASE].carried["nll"]


@pytest.mark.usefixtures("leaky")
def test_a_video_that_counts_twice_is_there_twice():
    videos = [
        example("a", features(*RUNS), TRUTH, LAMP),
        example("b", features((15, WORK), (15, REST, 1), (9, IDLE)), [WORK] * 12 + [IDLE] * 27),
        example(
            "c", features((9, REST, 0), (20, WORK)), [REST] * 6 + [WORK] * 23, [1] * 5 + [0] * 24
        ),
        example("d", features((15, IDLE), (15, WORK)), [IDLE] * 12 + [WORK] * 18),
    ]
    once, copies = measure(*videos), measure(videos[0], videos[1], videos[1], videos[1], videos[3])
    for kind in (Kind.PHASE, Kind.ACTION):
        weighted = once.kinds[kind].scorer.scores(np.array([1.0, 3.0, 0.0, 1.0]))
        assert weighted == pytest.approx(dict(copies.kinds[kind].carried), nan_ok=True)
        assert weighted != pytest.approx(dict(once.kinds[kind].carried), nan_ok=True)


def test_nothing_to_measure_is_an_error():
    with pytest.raises(ConfigError, match="at least one video"):
        measure_bundle(bundle(), [], Policy())


# The report.


@pytest.mark.usefixtures("leaky")
def test_the_report_holds_every_bundle_and_their_spread(tmp_path):
    good = example("good", features(*RUNS), TRUTH, LAMP)
    wrong = example("wrong", features(*RUNS), [IDLE] * 20 + [WORK] * 40, LAMP)
    policy = Policy(num_resamples=50)
    results = []
    for name, videos in (("a", (good, wrong)), ("b", (wrong, wrong))):
        made = measure_bundle(bundle(), videos, policy)
        made.bundle.path = tmp_path / name
        results.append(made)
    write_report(
        tmp_path / "out", origin="here", examples=(good, wrong), results=results, policy=policy
    )
    report = msgspec.json.decode((tmp_path / "out" / "report.json").read_bytes())
    assert [one["path"] for one in report["bundles"]] == [str(tmp_path / k) for k in "ab"]
    accuracy = report["spread"]["phases"]["carried"]["accuracy"]
    assert accuracy["mean"] == pytest.approx((100 / 120 + 80 / 120) / 2)
    assert accuracy["standard_deviation"] == pytest.approx((20 / 120) / math.sqrt(2))
    assert [one["accuracy"] for one in report["bundles"][0]["phases"]["by_video"]] == [
        pytest.approx(1.0),
        pytest.approx(40 / 60),
    ]
    text = (tmp_path / "out" / "report.md").read_text()
    assert "0.750 ± 0.118" in text
    for name in ("confusion-1", "reliability-2", "ribbons-2"):
        assert f"({name}.png)" in text
        assert (tmp_path / "out" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_numbers_are_written_for_people():
    assert [number(x) for x in (0.5, -0.0004, 12.34, 89.0, math.nan, math.inf)] == [
        "0.500",
        "0.000",
        "12.3",
        "89",
        "-",
        "missed",
    ]
    assert interval(None) == "-"
    assert interval((-math.inf, 0.25), infinite="∞") == "-∞ to 0.250"
    assert spread([1.0, 3.0]) == "2 ± 1.414"
    assert spread([1.0, math.inf]) == "-"
