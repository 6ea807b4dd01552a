"""CTC decoders against enumeration of all alignments."""

from __future__ import annotations

from itertools import groupby, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.models.temporal.heads.ctc import (
    BeamState,
    GreedyState,
    beam_step,
    greedy_step,
)
from streamer.training.clip_losses import ctc_loss
from streamer.training.clips import make_batch

EVERYTHING = 10_000


def random_log_probs(seed, steps, num_labels, *, sharp=2.0) -> np.ndarray:
    logits = sharp * np.random.default_rng(seed).normal(size=(steps, num_labels + 1))
    return logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)


def collapse(path, blank) -> tuple[int, ...]:
    return tuple(symbol for symbol, _ in groupby(path) if symbol != blank)


def all_sequences(log_probs_TC) -> dict[tuple[int, ...], float]:
    """Log probability of every sequence: the sum over all paths that give it."""
    steps, num_symbols = log_probs_TC.shape
    totals: dict[tuple[int, ...], float] = {}
    for path in product(range(num_symbols), repeat=steps):
        labels = collapse(path, num_symbols - 1)
        score = log_probs_TC[np.arange(steps), path].sum()
        totals[labels] = np.logaddexp(totals.get(labels, -np.inf), score)
    return totals


def chunks(log_probs_TC, cuts):
    return np.split(log_probs_TC, sorted(min(cut, len(log_probs_TC)) for cut in cuts))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("steps", "num_labels"), [(1, 2), (4, 2), (6, 2), (5, 3)])
def test_an_unpruned_beam_has_the_probability_of_every_sequence(seed, steps, num_labels):
    log_probs = random_log_probs(seed, steps, num_labels)
    expected = all_sequences(log_probs)
    found = beam_step(BeamState(), log_probs, width=EVERYTHING).prefixes
    ours = {prefix.labels: prefix.log_prob for prefix in found if prefix.log_prob > -np.inf}
    assert ours.keys() == expected.keys()
    assert [ours[labels] for labels in expected] == pytest.approx(list(expected.values()))
    assert found[0].labels == max(expected, key=expected.__getitem__)
    assert np.logaddexp.reduce(list(ours.values())) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("seed", range(8))
def test_the_loss_is_that_of_all_alignments(seed):
    log_probs = random_log_probs(seed, 5, 2)
    expected = all_sequences(log_probs)
    for labels, log_prob in expected.items():
        batch = make_batch([np.zeros((5, 1))], [np.array(labels, np.int64)])
        loss = ctc_loss(torch.from_numpy(log_probs)[:, None].float(), batch)
        assert float(loss) * max(1, len(labels)) == pytest.approx(-log_prob, abs=1e-4)


def test_padding_and_batchmates_do_not_touch_the_loss():
    parts = [(6, [0, 1]), (9, [1, 1, 0]), (4, [])]
    logits = [torch.randn(steps, 1, 3) for steps, _ in parts]
    alone = [
        float(ctc_loss(one, make_batch([np.zeros((steps, 1))], [np.array(labels, np.int64)])))
        * max(1, len(labels))
        for one, (steps, labels) in zip(logits, parts, strict=True)
    ]
    padded = torch.full((9, 3, 3), 7.0)
    for row, one in enumerate(logits):
        padded[: len(one), row] = one[:, 0]
    batch = make_batch(
        [np.zeros((steps, 1)) for steps, _ in parts],
        [np.array(labels, np.int64) for _, labels in parts],
    )
    assert float(ctc_loss(padded, batch)) * 5 == pytest.approx(sum(alone), abs=1e-4)


def test_a_beam_sees_what_the_best_path_does_not():
    """The example of Graves: the likeliest path is all blanks, the likeliest sequence is not."""
    log_probs = np.log([[0.4, 0.6], [0.4, 0.6]])
    _, emissions = greedy_step(GreedyState(), log_probs)
    best = beam_step(BeamState(), log_probs, width=2).best
    assert emissions == []
    assert best.labels == (0,)
    assert np.exp(best.log_prob) == pytest.approx(1 - 0.36)


cuts = st.lists(st.integers(0, 40), max_size=6)


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), steps=st.integers(0, 40), cuts=cuts)
def test_greedy_says_the_same_whatever_the_chunks(seed, steps, cuts):
    log_probs = random_log_probs(seed, steps, 3)
    blank = 3
    state, emissions = GreedyState(), []
    for chunk in chunks(log_probs, cuts):
        state, more = greedy_step(state, chunk)
        emissions += more
    whole_state, whole = greedy_step(GreedyState(), log_probs)
    assert (state, emissions) == (whole_state, whole)
    path = log_probs.argmax(axis=1)
    assert tuple(emission.label for emission in emissions) == collapse(path, blank)
    for emission in emissions:
        assert path[emission.frame] == emission.label
        assert emission.frame == 0 or path[emission.frame - 1] != emission.label
        assert emission.confidence == pytest.approx(
            np.exp(log_probs[emission.frame, emission.label])
        )


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), steps=st.integers(0, 30), cuts=cuts, width=st.integers(1, 8))
def test_a_beam_is_the_same_whatever_the_chunks(seed, steps, cuts, width):
    log_probs = random_log_probs(seed, steps, 3)
    state = BeamState()
    for chunk in chunks(log_probs, cuts):
        state = beam_step(state, chunk, width=width)
    assert state == beam_step(BeamState(), log_probs, width=width)
    assert len(state.prefixes) <= width
    for prefix in state.prefixes:
        assert len(prefix.frames) == len(prefix.labels)
        assert list(prefix.frames) == sorted(set(prefix.frames))


def test_beam_and_greedy_agree_where_outputs_are_sure():
    path = np.array([2, 0, 0, 2, 0, 1, 1, 2])
    log_probs = np.log(np.where(np.eye(3)[path] > 0, 0.98, 0.01))
    _, emissions = greedy_step(GreedyState(), log_probs)
    best = beam_step(BeamState(), log_probs, width=4).best
    assert best.labels == tuple(emission.label for emission in emissions) == (0, 0, 1)
    assert best.frames == tuple(emission.frame for emission in emissions) == (1, 4, 5)
