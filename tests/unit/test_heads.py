"""Heads beyond classes per frame: masks, two directions, and synthetic tasks with known answers."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
import torch

from streamer.core.errors import ConfigError
from streamer.models.temporal.heads.beam import beam_search
from streamer.models.temporal.heads.captioner import Captioner, TorchSpeaker
from streamer.models.temporal.heads.ctc import BeamState, GreedyState, beam_step, greedy_step
from streamer.models.temporal.heads.pooling import TimePooling
from streamer.models.temporal.network import read_clips
from streamer.training.clip_fit import fit_clips
from streamer.training.clip_losses import ClipObjective
from streamer.training.clip_predict import predict_captions, predict_clips, predict_frames
from streamer.training.clips import ClipExample, check_examples, make_batch
from streamer.training.metrics import edit_score, stretches
from streamer.training.metrics.captions import bleu
from streamer.training.metrics.regression import regression_scores
from tests.clips import (
    FEATURE_DIM,
    NUM_PHASES,
    PHASES,
    WORDS,
    caption_example,
    clip_config,
    clip_recipe,
    flash_example,
    level_example,
    make_model,
    ordered_example,
)
from tests.networks import make_network

POOLINGS = ("last", "mean", "attention")
VALUES = ("pressure", "angle")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("kind", POOLINGS)
def test_weights_over_time_are_a_distribution_over_the_clips_own_frames(kind):
    torch.manual_seed(0)
    pooling = TimePooling(kind, 5)
    outputs = torch.randn(6, 3, 5)
    lengths = [6, 1, 4]
    mask = (torch.arange(6)[:, None] < torch.tensor(lengths)).float()
    pooled, weights = pooling(outputs, mask)
    torch.testing.assert_close(weights.sum(dim=0), torch.ones(3))
    assert (weights >= 0).all()
    assert not weights[mask == 0].any()
    for row, length in enumerate(lengths):
        own = outputs[:length, row]
        if kind == "last":
            expected = own[-1]
        elif kind == "mean":
            expected = own.mean(dim=0)
        else:
            scores = torch.tanh(own @ pooling.query.weight.T + pooling.query.bias)
            alphas = torch.softmax(scores @ pooling.score.weight[0], dim=0)
            torch.testing.assert_close(weights[:length, row], alphas)
            expected = alphas @ own
        torch.testing.assert_close(pooled[row], expected)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize(
    "network",
    [
        {"directions": 1},
        {"directions": 2},
        {"directions": 2, "num_layers": 2},
        {"directions": 2, "architecture": "gru"},
        {"directions": 2, "layer_norm": True},
        {"directions": 2, "lookahead_frames": 3},
    ],
    ids=str,
)
def test_a_clip_is_read_alike_alone_and_padded_among_longer_ones(network, pooling):
    model = make_network(clip_config(head="sequence", phases=PHASES, pooling=pooling, **network))
    random = np.random.default_rng(0)
    tracks = [random.normal(size=(steps, FEATURE_DIM)) for steps in (5, 12, 1)]
    together = make_batch(tracks, [np.array(0)] * 3)
    # What stands after a clip's end is not looked at.
    noise = 100 * torch.randn_like(together.features_TBD)
    features = together.features_TBD + noise * (1 - together.mask_TB[..., None])
    with torch.inference_mode():
        logits, weights = read_clips(model, features, together.mask_TB)
        for row, track in enumerate(tracks):
            alone = make_batch([track], [np.array(0)])
            expected, alphas = read_clips(model, alone.features_TBD, alone.mask_TB)
            torch.testing.assert_close(logits[row], expected[0], atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(weights[: len(track), row], alphas[:, 0])


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("directions", [1, 2])
def test_the_class_of_a_clip_is_learnt_from_a_flash_in_it(pooling, directions):
    config = clip_config(
        head="sequence", phases=("red", "blue"), pooling=pooling, directions=directions
    )
    model = make_model(config)
    train, test = (
        [flash_example(seed) for seed in range(128)],
        [flash_example(seed) for seed in range(500, 600)],
    )
    fit_clips(
        model,
        [example for example, _ in train],
        [],
        clip_recipe(max_updates=80),
    )
    probabilities, weights = predict_clips(model, [example for example, _ in test])
    classes = np.array([int(example.target) for example, _ in test])
    most_frequent = max(classes.mean(), 1 - classes.mean())
    assert most_frequent < 0.65
    assert (probabilities.argmax(axis=1) == classes).mean() >= 0.9
    if pooling == "attention":
        peaks = np.array([alphas.argmax() for alphas in weights])
        starts = np.array([start for _, start in test])
        uniform = np.mean([6 / len(example) for example, _ in test])
        # The weights say where it was, or soon after: its frames and two more.
        found = ((peaks >= starts) & (peaks < starts + 6)).mean()
        assert found > 2 * uniform


def test_phases_known_only_in_order_are_found_in_time():
    config = clip_config(head="ctc", phases=PHASES)
    model = make_model(config)
    pairs = [ordered_example(seed) for seed in range(288)]
    train, validation = [pair[0] for pair in pairs[:256]], [pair[0] for pair in pairs[256:]]
    fit_clips(
        model,
        train,
        validation,
        clip_recipe(max_updates=400, learning_rate=3e-2, noise=0.0, shift=0.0),
    )
    test = [ordered_example(seed) for seed in range(500, 550)]
    log_probs = predict_frames(model, [example for example, _ in test])

    greedy_edits, beam_edits, uniform_edits = [], [], []
    ours_right, uniform_right, ours_onsets, uniform_onsets = [], [], [], []
    most_frequent = _most_frequent([tuple(example.target) for example in train])
    for (example, truth_T), log_probs_TC in zip(test, log_probs, strict=True):
        pts_T = np.arange(len(truth_T), dtype=float)
        truth = stretches(truth_T, pts_T)
        _, emissions = greedy_step(GreedyState(), log_probs_TC)
        best = beam_step(BeamState(), log_probs_TC, width=8).best
        said_T = _painted([(e.frame, e.label) for e in emissions], len(truth_T))
        greedy_edits.append(edit_score(stretches(said_T, pts_T), truth))
        beam_T = _painted(list(zip(best.frames, best.labels, strict=True)), len(truth_T))
        beam_edits.append(edit_score(stretches(beam_T, pts_T), truth))
        uniform_edits.append(edit_score(stretches(_uniform(most_frequent, truth_T), pts_T), truth))
        # Given the true order, as no online model is, how far does spreading it evenly get?
        oracle_T = _uniform(example.target, truth_T)
        ours_right.append((said_T == truth_T).mean())
        uniform_right.append((oracle_T == truth_T).mean())
        true_onsets = np.flatnonzero(np.diff(truth_T)) + 1
        uniform_onsets += list(abs(np.flatnonzero(np.diff(oracle_T)) + 1 - true_onsets))
        if best.labels == tuple(example.target):
            ours_onsets += list(abs(np.array(best.frames[1:]) - true_onsets))
    assert np.mean(greedy_edits) > 0.9 > 0.6 > np.mean(uniform_edits)
    assert np.mean(beam_edits) > 0.9
    assert np.mean(ours_right) > np.mean(uniform_right) + 0.1
    assert np.median(ours_onsets) < np.median(uniform_onsets)


def _most_frequent(sequences):
    return max(sorted(set(sequences)), key=sequences.count)


def _uniform(order, truth_T):
    """The order, each phase as long as another."""
    places = np.arange(len(truth_T)) * len(order) // len(truth_T)
    return np.array(order)[places]


def _painted(onsets, length):
    """Each phase until the next begins; -1 before the first."""
    labels_T = np.full(length, -1)
    for frame, label in onsets:
        labels_T[frame:] = label
    return labels_T


@pytest.mark.parametrize("pooling", ["none", *POOLINGS])
@pytest.mark.parametrize("loss", ["huber", "mse"])
def test_regression_explains_what_the_mean_does_not(pooling, loss):
    per_frame = pooling == "none"
    model = make_model(clip_config(head="regression", targets=VALUES, pooling=pooling))
    train = [level_example(seed, per_frame=per_frame) for seed in range(96)]
    test = [level_example(seed, per_frame=per_frame) for seed in range(500, 550)]
    recipe = clip_recipe(max_updates=120, check_every=120)
    fit_clips(model, train, [], recipe, objective=ClipObjective(regression=loss))
    predicted = predict_frames(model, test) if per_frame else [predict_clips(model, test)[0]]
    truth = [np.atleast_2d(example.target) for example in test]
    said_FK, truth_FK = np.concatenate(predicted), np.concatenate(truth)
    mean_K = np.concatenate([np.atleast_2d(example.target) for example in train]).mean(axis=0)
    for said_F, truth_F, mean in zip(said_FK.T, truth_FK.T, mean_K, strict=True):
        scores = regression_scores(said_F, truth_F)
        baseline = regression_scores(np.full(truth_F.shape, mean), truth_F)
        assert baseline["r2"] <= 0
        assert scores["r2"] > 0.75
        assert scores["mae"] < 0.6 * baseline["mae"]


def test_captions_are_learnt_and_attention_says_which_phase_a_word_is_about():
    model = make_model(clip_config(head="caption", targets=WORDS, directions=2))
    train = [caption_example(seed)[0] for seed in range(400)]
    pairs = [caption_example(seed) for seed in range(1000, 1060)]
    test = [example for example, _ in pairs]
    recipe = clip_recipe(max_updates=250, num_lanes=24, check_every=250, shift=0.0)
    fit_clips(model, train, [], recipe)
    captions = predict_captions(model, test)
    said, truth = [c.words for c in captions], [tuple(example.target) for example in test]
    frequent = [_most_frequent([tuple(example.target) for example in train])] * len(test)
    assert _part_right(frequent, truth) < 0.1
    assert _part_right(said, truth) > 0.7
    assert bleu(said, truth) > max(0.85, bleu(frequent, truth) + 0.3)
    inside, chance = [], []
    for caption, (example, turns_T) in zip(captions, pairs, strict=True):
        assert caption.weights_ST.shape == (len(caption.words), len(example))
        np.testing.assert_allclose(caption.weights_ST.sum(axis=1), 1, atol=1e-4)
        if caption.words != tuple(example.target):
            continue
        # Three words a phase: what, how long, then. The first is about the frames of its turn.
        for turn, weights_T in enumerate(caption.weights_ST[::3]):
            inside.append(float(weights_T[turns_T == turn].sum()))
            chance.append((turns_T == turn).mean())
    assert np.mean(inside) > 0.75 > 0.5 > np.mean(chance)


def _part_right(said, truth):
    return np.mean([one == other for one, other in zip(said, truth, strict=True)])


def test_bleu_is_that_of_the_paper():
    assert bleu([(1, 2, 3, 4, 5)], [(1, 2, 3, 4, 5)]) == pytest.approx(1.0)
    assert bleu([(1, 2, 3)], [(1, 2, 3)]) == 0.0  # no four in a row
    # Precisions 5/6, 4/5, 3/4, 2/3; the reference is one word longer.
    expected = math.exp(1 - 7 / 6) * (5 / 6 * 4 / 5 * 3 / 4 * 2 / 3) ** 0.25
    assert bleu([(1, 2, 3, 4, 5, 9)], [(1, 2, 3, 4, 5, 6, 7)]) == pytest.approx(expected)
    # A word said twice counts once if it is there once.
    assert bleu([(1, 1, 1, 1, 1)], [(1, 2, 3, 4, 5)]) == 0.0


def greedy_words(captioner, outputs_TI, max_words):
    memory, state = captioner.remember(outputs_TI[:, None], torch.ones(len(outputs_TI), 1))
    word, words = captioner.end, []
    while len(words) < max_words:
        logits, _, state = captioner.step(memory, state, torch.tensor([word]))
        word = int(logits.argmax())
        if word == captioner.end:
            break
        words.append(word)
    return tuple(words)


@pytest.mark.parametrize("seed", range(5))
def test_a_beam_of_one_is_greedy_and_a_wide_one_finds_the_most_probable(seed):
    torch.manual_seed(seed)
    captioner = Captioner(6, 8, 3).eval()
    with torch.no_grad():
        for weight in captioner.parameters():
            weight.mul_(3)
    outputs = torch.randn(7, 6)
    speaker = TorchSpeaker(captioner, outputs)
    greedy = beam_search(speaker, width=1, max_words=4)[0].words
    assert greedy == greedy_words(captioner, outputs, 4)
    # Wide enough that nothing is left out: 3 + 9 + 27 captions and the empty one.
    found = beam_search(speaker, width=1000, max_words=3)
    assert len({caption.words for caption in found}) == len(found) == 40
    for caption in found:
        words = torch.tensor([*caption.words, captioner.end])[:, None]
        with torch.inference_mode():
            logits, weights = captioner(outputs[:, None], torch.ones(7, 1), words)
        log_probs = torch.log_softmax(logits[:, 0], dim=1)
        expected = float(log_probs[torch.arange(len(words)), words[:, 0]].sum())
        assert caption.log_prob == pytest.approx(expected, abs=1e-4)
        np.testing.assert_allclose(caption.weights_ST, weights[:-1, :, 0], atol=1e-6)
    assert [c.score for c in found] == sorted((c.score for c in found), reverse=True)
    assert found[0].score >= beam_search(speaker, width=1, max_words=3)[0].score - 1e-6


def test_teacher_forcing_and_own_words_differ_only_in_what_comes_before():
    torch.manual_seed(0)
    captioner = Captioner(6, 8, 3).eval()
    outputs, words = torch.randn(7, 2, 6), torch.tensor([[0, 1], [2, 2], [3, 1]])
    mask = torch.ones(7, 2)
    taught, _ = captioner(outputs, mask, words)
    own, _ = captioner(outputs, mask, words, own_words=1.0)
    torch.testing.assert_close(taught[0], own[0])
    follows = taught[0].argmax(dim=1)
    again, _ = captioner(outputs, mask, torch.stack((follows, words[1], words[2])))
    torch.testing.assert_close(own[1], again[1])


def test_a_training_is_the_same_again_and_keeps_its_best_look():
    train = [flash_example(seed)[0] for seed in range(24)]
    validation = [flash_example(seed)[0] for seed in range(100, 116)]
    config = clip_config(head="sequence", phases=("red", "blue"), pooling="mean")
    recipe = clip_recipe(max_updates=40, check_every=5, dropout=0.2)
    weights, looks = [], []
    for _ in range(2):
        model = make_model(config, dropout=0.2)
        looks.append(fit_clips(model, train, validation, recipe))
        weights.append(model.state_dict())
    assert looks[0] == looks[1]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    batch = make_batch([e.views[0] for e in validation], [e.target for e in validation])
    with torch.inference_mode():
        kept = float(ClipObjective()(model, batch))
    assert kept == pytest.approx(min(look.validation_loss for look in looks[0]), abs=1e-5)


@pytest.mark.parametrize(
    ("config", "target", "message"),
    [
        ({"head": "sequence", "pooling": "mean"}, np.array(9), "labels from 0 to 3"),
        ({"head": "sequence", "pooling": "mean"}, np.array([1]), "0 axes"),
        ({"head": "ctc"}, np.array([1, 1, 2]), "at least 4 frames for 3 phases"),
        ({"head": "ctc"}, np.array([1.0]), "expected int64"),
    ],
)
def test_a_target_that_does_not_fit_is_told(config, target, message):
    example = ClipExample(name="clip 7", views=(np.zeros((3, FEATURE_DIM)),), target=target)
    with pytest.raises(ConfigError, match=f"clip 7.*{message}"):
        check_examples([example], clip_config(phases=PHASES, **config))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"head": "sequence", "phases": PHASES}, "pooling: expected last, mean or attention"),
        ({"head": "ctc", "phases": PHASES, "pooling": "mean"}, "pooling: expected"),
        ({"head": "ctc", "phases": PHASES, "actions": ("lamp",)}, "actions: expected none"),
        ({"head": "regression", "phases": PHASES}, "phases: expected none"),
        ({"head": "caption"}, "at least one label"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_told(changes, message):
    with pytest.raises(ValueError, match=message):
        clip_config(**changes)


def test_outputs_are_as_wide_as_the_head_needs():
    assert clip_config(head="ctc", phases=PHASES).num_classes == NUM_PHASES + 1
    assert clip_config(head="regression", targets=VALUES).num_classes == 2
    assert clip_config(head="caption", targets=WORDS).num_classes == len(WORDS) + 1
    plain = msgspec.json.decode(msgspec.json.encode(clip_config(phases=PHASES)))
    assert plain["head"] == "frames"
