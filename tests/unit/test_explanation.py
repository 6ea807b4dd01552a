"""Groups of known structure, gates of known opening, importance of known worth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import average_precision_score

from streamer.core.errors import ConfigError, ModelError
from streamer.models.temporal.cells import as_loop, bias_memory_gates, gate_names
from streamer.models.temporal.network import RecurrentNetwork
from streamer.training.annotations import Labels
from streamer.training.dataset import Dataset
from streamer.training.explanation import gates as gates_module
from streamer.training.explanation.gates import record_gates
from streamer.training.explanation.groups import Group, correlated_groups, equal_blocks
from streamer.training.explanation.importance import Permuting, frame_scores, measure_importance
from streamer.training.explanation.shuffling import draw_sources, shuffled
from streamer.training.fit import fit
from streamer.training.recipe import Recipe
from tests.explaining import ACTIONS, FEATURE_DIM, PHASES, told_config, told_example
from tests.networks import ARCHITECTURES, make_config, make_network

T = 300  # more than two chunks
BY_VIDEOS = Permuting(shuffle="videos", block_frames=1, num_repeats=3, seed=0)
BY_BLOCKS = replace(BY_VIDEOS, shuffle="blocks", block_frames=20)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def trained():
    """Knows the phases by columns 4 to 7 and the lamp by 8 to 11."""
    examples = [told_example(seed) for seed in range(6)]
    labels = Labels(PHASES, ACTIONS)
    torch.manual_seed(0)
    network = RecurrentNetwork(told_config())
    recipe = Recipe(num_lanes=8, max_updates=120, warmup_updates=10, check_every=40, num_steps=32)
    dataset = Dataset(
        origin="told", labels=labels, train=tuple(examples[:4]), validation=tuple(examples[4:]),
        test=(),
    )  # fmt: skip
    recipe = replace(recipe, learning_rate=1e-2, noise=0.0, shift=0.0, dropout=0.0)
    fit(network, dataset, recipe, progress=lambda check: None)
    return network, [told_example(seed) for seed in range(10, 14)]


def features(frames=T, width=24):
    return np.random.default_rng(0).normal(size=(frames, width)).astype(np.float16)


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gates_are_those_of_the_network(architecture, layer_norm):
    network = make_network(make_config(architecture=architecture, layer_norm=layer_norm))
    layers = record_gates(network, features())
    with torch.inference_mode():
        inputs = torch.from_numpy(features().astype(np.float32))[:, None]
        hiddens, (_, cell_after) = network.hiddens(inputs, network.initial_state(1))
    assert len(layers) == 2
    np.testing.assert_allclose(layers[-1].hidden_TH, hiddens[:, 0].numpy(), atol=1e-4)
    for number, layer in enumerate(layers):
        assert tuple(layer.gates) == gate_names(architecture)
        for values in layer.gates.values():
            assert values.shape == (T, 32)
            assert ((values >= 0) & (values <= 1)).all()
            assert values.std() > 0.01
        before = np.vstack([np.zeros((1, 32), np.float32), layer.hidden_TH[:-1]])
        if architecture == "gru":
            assert layer.cell_TH is layer.hidden_TH
            keep = layer.gates["update"]
            candidate = (layer.hidden_TH - keep * before) / np.maximum(1 - keep, 1e-3)
            assert np.abs(candidate).max() < 1.01
            continue
        np.testing.assert_allclose(layer.cell_TH[-1], cell_after[number, 0].numpy(), atol=1e-3)
        if not layer_norm:
            shown = layer.gates["output"] * np.tanh(layer.cell_TH)
            np.testing.assert_allclose(layer.hidden_TH, shown, atol=1e-5)
        earlier = np.vstack([np.zeros((1, 32), np.float32), layer.cell_TH[:-1]])
        added = layer.cell_TH - layer.gates["forget"] * earlier
        assert (np.abs(added) <= layer.gates["input"] + 1e-4).all()
        if architecture == "lstm_coupled":
            np.testing.assert_allclose(layer.gates["forget"], 1 - layer.gates["input"], atol=1e-6)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_saturated_memory_gate_shows_as_open(architecture, monkeypatch):
    wide_open = {
        "lstm": (1, 60),
        "lstm_peephole": (1, 60),
        "lstm_coupled": (0, -60),
        "gru": (1, 60),
    }
    config = make_config(architecture=architecture, num_layers=1)
    network = make_network(config)
    monkeypatch.setattr("streamer.models.temporal.cells._MEMORY_GATE", wide_open)
    bias_memory_gates(network.cells, config)
    (layer,) = record_gates(network, features())
    kept = layer.gates["update" if architecture == "gru" else "forget"]
    assert kept.min() > 0.999
    others = [name for name in layer.gates if name not in ("update", "forget")]
    others = [name for name in others if architecture != "lstm_coupled" or name != "input"]
    assert others
    assert all(layer.gates[name].mean() < 0.9 for name in others)
    if architecture in ("gru", "lstm_coupled"):  # nothing comes in, either
        assert layer.norm_T.max() < 1e-3


def test_another_recurrence_is_not_taken_for_the_networks(monkeypatch):
    def wrong(cells, config):
        loop = as_loop(cells, config)
        with torch.no_grad():
            loop.weight_hh_l0.mul_(1.2)
        return loop

    monkeypatch.setattr(gates_module, "as_loop", wrong)
    with pytest.raises(ModelError, match="expected the observed cells to put out"):
        record_gates(make_network(make_config()), features())


def test_recording_leaves_the_network_as_it_was():
    network = make_network(make_config(architecture="lstm_peephole"))
    record_gates(network, features(5))
    assert network.cells.observer is None


def test_two_directions_have_no_gates_to_record():
    with pytest.raises(ConfigError, match="expected a model of one direction"):
        record_gates(make_network(make_config(directions=2)), features(5))


def test_blocks_share_out_all_columns():
    groups = equal_blocks(10, 4)
    assert [group.name for group in groups] == ["0-2", "3-5", "6-7", "8-9"]
    assert [column for group in groups for column in group.columns] == list(range(10))


@pytest.mark.parametrize("number", [0, 11])
def test_there_are_no_more_groups_than_features(number):
    for make in (
        lambda: equal_blocks(10, number),
        lambda: correlated_groups(features(5, 10), number),
    ):
        with pytest.raises(ConfigError, match=f"expected 1 to 10, .* found {number}"):
            make()


def test_features_of_one_origin_are_one_group():
    random = np.random.default_rng(0)
    origins = random.normal(size=(200, 3))
    signs = np.where(np.arange(12) % 2, 1.0, -1.0)
    mixed = origins[:, np.arange(12) % 3] * signs + 0.1 * random.normal(size=(200, 12))
    constant = np.full((200, 2), 3.0)
    groups = correlated_groups(np.hstack([mixed, constant]).astype(np.float16), 4)
    assert [group.columns for group in groups] == [
        (0, 3, 6, 9), (1, 4, 7, 10), (2, 5, 8, 11), (12, 13),
    ]  # fmt: skip


@pytest.mark.parametrize("number", [1, 2, 7, 30])
def test_clusters_are_those_of_complete_linkage(number):
    random = np.random.default_rng(1)
    drawn = random.normal(size=(50, 6)) @ random.normal(size=(6, 30)) + random.normal(size=(50, 30))
    distances = np.maximum(1 - np.abs(np.corrcoef(drawn.T)), 0)
    clusters = AgglomerativeClustering(number, metric="precomputed", linkage="complete")
    labels = clusters.fit_predict(distances)
    expected = {tuple(np.flatnonzero(labels == k).tolist()) for k in range(number)}
    assert {group.columns for group in correlated_groups(drawn, number)} == expected


def counting(index, frames):
    """Features that say whose they are and when: 1000 video + frame."""
    counts = (1000 * index + np.arange(frames))[:, None] * np.ones((1, FEATURE_DIM))
    example = told_example(index, num_frames=frames)
    return replace(example, features_TD=counts.astype(np.float32))


@pytest.mark.parametrize("seed", range(5))
def test_courses_come_whole_from_another_video(seed):
    examples = [counting(index, frames) for index, frames in enumerate((30, 50, 20, 7))]
    sources = draw_sources(examples, "videos", block_frames=1, random=np.random.default_rng(seed))
    assert sorted(donor for donor, _ in sources) == [0, 1, 2, 3]
    for index, (example, found) in enumerate(
        zip(examples, shuffled(examples, (2, 5), sources), strict=True)
    ):
        rest = [column for column in range(FEATURE_DIM) if column not in (2, 5)]
        assert (found[:, rest] == example.features_TD[:, rest]).all()
        taken = found[:, 2]
        assert (found[:, 5] == taken).all()
        (donor,) = {int(value) // 1000 for value in taken}
        assert donor != index
        steps = np.diff(taken)
        assert set(steps[steps != 1].tolist()) <= {1.0 - len(examples[donor])}


@pytest.mark.parametrize("seed", range(5))
def test_blocks_change_places_within_their_video(seed):
    examples = [counting(0, 47), counting(1, 20)]
    sources = draw_sources(examples, "blocks", block_frames=10, random=np.random.default_rng(seed))
    for example, found in zip(examples, shuffled(examples, (0,), sources), strict=True):
        original = example.features_TD[:, 0]
        assert sorted(found[:, 0]) == sorted(original)
        assert (np.diff(found[:, 0]) != 1).sum() <= len(original) // 10
        assert (found[:10, 0] != original[:10]).all()


def test_what_can_not_be_shuffled_is_told():
    random = np.random.default_rng(0)
    with pytest.raises(ConfigError, match=r"at least 2 videos .* choose --shuffle blocks"):
        draw_sources([counting(0, 9)], "videos", block_frames=1, random=random)
    with pytest.raises(ConfigError, match=r"0\.npy: expected at least 2 blocks of 9 frames"):
        draw_sources([counting(0, 9)], "blocks", block_frames=9, random=random)


def test_scores_are_the_known_ones():
    examples = [told_example(0), told_example(1)]
    random = np.random.default_rng(0)
    logits = [random.normal(size=(120, 4)) for _ in examples]
    examples[0].phases_T[:60] = -1
    scores = frame_scores(logits, examples, num_phases=3)
    said = np.concatenate(logits)
    phases = np.concatenate([example.phases_T for example in examples])
    lit = np.concatenate([example.actions_TA[:, 0] for example in examples])
    known = phases >= 0
    assert scores["accuracy"] == np.mean(said[known, :3].argmax(axis=1) == phases[known])
    assert scores["action_map"] == pytest.approx(average_precision_score(lit, said[:, 3]))


@pytest.mark.parametrize("permuting", [BY_VIDEOS, BY_BLOCKS])
def test_who_alone_carries_the_label_has_all_the_importance(trained, permuting):
    network, examples = trained
    groups = equal_blocks(FEATURE_DIM, 3)
    found = measure_importance(network, examples, groups, permuting)
    assert found.scores["accuracy"] > 0.9
    assert found.scores["action_map"] > 0.9
    noise, phases, lamp = found.groups
    assert found.together.mean("accuracy") == pytest.approx(phases.mean("accuracy"), abs=0.05)
    assert found.together.mean("action_map") == pytest.approx(lamp.mean("action_map"), abs=0.05)
    assert phases.mean("accuracy") > 0.4
    assert lamp.mean("action_map") > 0.25
    for group, score in ((noise, "accuracy"), (noise, "action_map"), (lamp, "accuracy")):
        assert abs(group.mean(score)) < 0.1 * phases.mean("accuracy")
    assert phases.deviation("accuracy") > 0
    assert phases.drops["accuracy"].shape == (3,)


def test_what_the_model_does_not_read_has_none_at_all(trained):
    network, examples = trained
    blind = RecurrentNetwork(network.config).eval()
    blind.load_state_dict(network.state_dict())
    with torch.no_grad():
        blind.projection.weight[:, :4] = 0
    unread, read = Group("unread", (0, 1, 2, 3)), Group("read", tuple(range(4, 12)))
    found = measure_importance(blind, examples, [unread, read], BY_VIDEOS)
    assert (found.groups[0].drops["accuracy"] == 0).all()
    assert (found.groups[0].drops["action_map"] == 0).all()
    again = measure_importance(blind, examples, [read], BY_VIDEOS)
    assert (again.groups[0].drops["accuracy"] == found.groups[1].drops["accuracy"]).all()


def test_one_repeat_has_no_spread(trained):
    network, examples = trained
    once = replace(BY_VIDEOS, num_repeats=1)
    found = measure_importance(network, examples, equal_blocks(FEATURE_DIM, 1), once)
    assert np.isnan(found.groups[0].deviation("accuracy"))
