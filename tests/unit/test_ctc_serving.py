"""A CTC head served online: its best path as transitions, through the same fold as any model."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.core.clock import Mark
from streamer.core.errors import ModelError
from streamer.core.event import EndReason, EventType, Status
from streamer.models.temporal.heads.ctc import GreedyState, greedy_step
from streamer.stages.ctc import CtcDecoder, make_decoder
from streamer.stages.reset import change_model
from streamer.stages.temporal import TemporalStage
from streamer.transport.codec import encode_input
from streamer.transport.state_codec import decode_state, encode_state
from streamer.transport.transport import LogEntry
from tests import models
from tests.models import LeakyModel, decoder_config
from tests.samples import chunk

NUM_PHASES, BLANK = 4, 4
PHASES = ("take", "fit", "screw", "put")
NO_THRESHOLDS = dict.fromkeys(("enter_C", "exit_C", "min_on_seconds_C", "min_off_seconds_C"), ())
TAKEN = Mark("test", 10**12)


def ctc_stage(model_id="sha256:ctc"):
    made = models.bundle(model_id=model_id, **NO_THRESHOLDS)
    changes = {"head": "ctc", "phases": PHASES, "actions": ()}
    config = SimpleNamespace(**(vars(made.config) | changes))
    return TemporalStage(SimpleNamespace(**(vars(made) | {"config": config})), LeakyModel())


def story(symbols, cuts=()):
    rows = np.eye(5)[list(symbols)]
    edges = sorted({0, len(rows), *(cut for cut in cuts if 0 < cut < len(rows))})
    items = [
        chunk("cam", a, length=b - a, features=rows[a:b]) for a, b in itertools.pairwise(edges)
    ]
    return [LogEntry(item.entry_us, encode_input(item), item) for item in items]


def fold(stage, checkpoint, entries):
    (advanced,) = stage.advance([(checkpoint, entries)], taken=TAKEN)
    return advanced


def decide(rows, *, temperature=1.0):
    config = decoder_config(phase_temperature=temperature, **NO_THRESHOLDS)
    decoder = CtcDecoder(config, num_phases=NUM_PHASES, analysis_fps=10.0)
    state, made = decoder.initial(), []
    for seq, logits in enumerate(rows):
        at = (seq, seq * 100_000_000, seq / 10)
        state, decisions = decoder.decode(state, logits, at=at, step_seconds=0.1)
        made += decisions
    return decoder, state, made


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**32 - 1), steps=st.integers(1, 40))
def test_transitions_are_those_of_the_whole_best_path(seed, steps):
    logits = 3 * np.random.default_rng(seed).normal(size=(steps, NUM_PHASES + 1))
    _, _, made = decide(logits.astype(np.float32))
    log_probs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    _, expected = greedy_step(GreedyState(), log_probs)
    assert [(d.label, d.segment.start_seq) for d in made] == [(e.label, e.frame) for e in expected]
    assert [d.confidence for d in made] == pytest.approx([e.confidence for e in expected], abs=1e-5)
    for decision, before in zip(made[1:], made, strict=False):
        assert decision.previous[0] == before.segment
        assert decision.previous[2] is EndReason.NEXT_PHASE
    assert all(d.status is Status.CONFIRMED for d in made)


def test_a_phase_goes_on_through_blanks_and_comes_again_after_one():
    rows = 6 * np.eye(5, dtype=np.float32)[[BLANK, 1, 1, BLANK, BLANK, 1, 3]]
    decoder, state, made = decide(rows)
    assert [(d.label, d.segment.start_seq) for d in made] == [(1, 1), (1, 5), (3, 6)]
    after, ended = decoder.close(state, at=(9, 9, 0.9), reason=EndReason.STREAM_ENDED)
    assert ended[0].previous == (made[-1].segment, (9, 9, 0.9), EndReason.STREAM_ENDED)
    assert after.phase is None
    assert np.isnan(after.smoothed_C).all()
    again = 6 * np.eye(5, dtype=np.float32)[3]
    _, decisions = decoder.decode(after, again, at=(10, 10, 1.0), step_seconds=0.1)
    assert [d.label for d in decisions] == [3]


def test_the_temperature_changes_how_sure_it_is_and_not_what_it_says():
    rows = 6 * np.eye(5, dtype=np.float32)[[1, BLANK, 2]]
    _, _, sharp = decide(rows)
    _, _, soft = decide(rows, temperature=4.0)
    assert [d.label for d in soft] == [d.label for d in sharp]
    assert soft[0].confidence < sharp[0].confidence


symbols = st.lists(st.integers(0, BLANK), min_size=1, max_size=30)


@settings(deadline=None, max_examples=50)
@given(symbols, st.sets(st.integers(1, 29)), st.integers(0, 30))
def test_chunks_and_a_restart_change_no_event(symbols, cuts, stop):
    stage = ctc_stage()
    whole = fold(stage, stage.initial("cam", row=1), story(symbols))
    entries = story(symbols, cuts)
    first = fold(stage, stage.initial("cam", row=1), entries[:stop])
    raw = encode_state(first.after.state)
    assert stage.misfit(decode_state(raw)) == ""
    rest = fold(ctc_stage(), first.after, entries[stop:])
    assert [e.id for e in (*first.events, *rest.events)] == [e.id for e in whole.events]
    assert encode_state(rest.after.state) == encode_state(whole.after.state)
    for event in whole.events:
        if event.type is EventType.PHASE_TRANSITION:
            assert event.data.label in PHASES


def test_it_hands_over_to_a_model_with_thresholds_and_back():
    ctc, frames = ctc_stage(), TemporalStage(models.bundle(), LeakyModel())
    checkpoint = fold(ctc, ctc.initial("cam", row=1), story([1] * 5)).after
    commit = change_model(frames, checkpoint, phases=PHASES, actions=(), now_ns=10**18, row=1)
    assert commit.events[0].data.previous.label == "fit"
    assert frames.misfit(commit.checkpoint.state) == ""
    back = change_model(
        ctc, commit.checkpoint, phases=models.PHASES, actions=models.ACTIONS, now_ns=10**18, row=1
    )
    assert ctc.misfit(back.checkpoint.state) == ""
    assert ctc.misfit(commit.checkpoint.state) == ""  # as wide by chance: its model_id differs


@pytest.mark.parametrize("head", ["regression", "sequence", "caption"])
def test_outputs_that_are_no_events_are_refused(head):
    with pytest.raises(ModelError, match=f"expected frames or ctc to make events, found {head}"):
        make_decoder(decoder_config(), head=head, num_phases=0, num_actions=0, analysis_fps=10.0)
