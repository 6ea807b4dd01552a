"""The anomaly head itself: its formula, its graph, and that models without it are as they were."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
import torch
from torch.distributions import Normal

from streamer.core.errors import ModelError
from streamer.models.bundle import Bundle
from streamer.models.temporal.anomaly import AnomalyHead
from streamer.models.temporal.network import RecurrentNetwork
from streamer.models.temporal.registry import open_temporal_model
from tests.networks import ARCHITECTURES, make_bundle, make_config, make_network

ROWS, STEPS, DIM = 3, 400, 24


def make_features() -> np.ndarray:
    """A slow signal in a few directions, under noise."""
    random = np.random.default_rng(1)
    slow = np.sin(np.arange(STEPS)[:, None, None] / random.uniform(3, 40, (ROWS, 5)))
    shown = slow @ random.normal(size=(5, DIM))
    return (shown + 0.3 * random.normal(size=shown.shape)).astype(np.float32)


def anomaly_network(**changes) -> RecurrentNetwork:
    network = make_network(make_config(anomaly_dim=6, **changes))
    network.fit_normalisation(torch.from_numpy(make_features()).flatten(0, 1))
    return network


LABELS = [{}, {"phases": (), "actions": ()}]


@pytest.mark.parametrize("labels", LABELS, ids=["with labels", "alone"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_torch_and_onnx_agree_step_by_step(tmp_path, architecture, labels):
    network = anomaly_network(architecture=architecture, **labels)
    features_TBD = make_features()
    with torch.inference_mode():
        expected, _ = network(torch.from_numpy(features_TBD), network.initial_state(ROWS))
    config = network.config
    assert expected.shape == (STEPS, ROWS, config.num_classes + 1)
    for backend in ("onnx", "torch"):
        bundle = make_bundle(tmp_path / backend, network)
        model = open_temporal_model(bundle, rows=ROWS, backend=backend)
        hidden = cell = np.zeros((2, ROWS, 32), np.float32)
        for t, features_BD in enumerate(features_TBD):
            outputs, hidden, cell = model.step(features_BD, hidden, cell)
            np.testing.assert_allclose(outputs, expected[t].numpy(), atol=1e-4, rtol=0)
    assert expected[..., -1].std() > 0.1


def test_the_score_is_the_likelihood_under_what_was_predicted_before_the_frame():
    network = anomaly_network()
    features_TBD = torch.from_numpy(make_features())
    head = network.anomaly
    with torch.inference_mode():
        outputs, _ = network(features_TBD, network.initial_state(ROWS))
        # Up to frame 100 alone, so that the prediction can't have seen what follows.
        _, (hidden, _) = network(features_TBD[:100], network.initial_state(ROWS))
        mean, log_std = head.predict(hidden[-1]).chunk(2, dim=-1)
        normed = (features_TBD[100] - network.mean_D) * network.scale_D
        predicted = Normal(mean, log_std.clamp(-3, 3).exp())
        expected = -predicted.log_prob(head.targets(normed)).mean(dim=1)
    np.testing.assert_allclose(outputs[100, :, -1], expected, atol=1e-5)


def test_targets_are_white_on_the_training_part_and_the_rest_tells_the_unseen():
    network = anomaly_network()
    features_ND = torch.from_numpy(make_features()).flatten(0, 1)
    normed_ND = (features_ND - network.mean_D) * network.scale_D
    targets_NK = network.anomaly.targets(normed_ND)
    assert targets_NK.shape[1] == 6
    np.testing.assert_allclose(torch.cov(targets_NK[:, :5].T), np.eye(5), atol=1e-3)
    np.testing.assert_allclose(targets_NK.mean(dim=0), np.zeros(6), atol=1e-3)
    # A change in a direction that no component has is seen by the last one alone.
    basis_DJ = network.anomaly.basis_DJ.double()
    other_D = torch.linalg.qr(torch.cat((basis_DJ, torch.ones(DIM, 1)), dim=1))[0][:, -1].float()
    changed_NK = network.anomaly.targets(normed_ND + 5 * other_D)
    np.testing.assert_allclose(changed_NK[:, :5], targets_NK[:, :5], atol=1e-3)
    assert (changed_NK[:, 5] - targets_NK[:, 5]).min() > 1


def test_features_that_never_change_give_finite_scores():
    head = AnomalyHead(4, 8, 3)
    head.fit_basis(torch.zeros(50, 4))
    for value in (0.0, 1e6):
        assert torch.isfinite(head(torch.zeros(8), torch.full((4,), value)))


def test_disturbing_the_input_does_not_disturb_what_is_to_be_predicted():
    network = anomaly_network()
    features = torch.from_numpy(make_features())[:1]
    state = network.initial_state(ROWS)
    with torch.inference_mode():
        expected, _ = network(features, state)
        disturbed, _ = network(features + 1, state, clean_TBD=features)
        plain, _ = network(features + 1, state)
    assert torch.equal(disturbed[..., -1], expected[..., -1])
    assert not torch.equal(plain[..., -1], expected[..., -1])


def test_the_head_changes_nothing_for_the_labels():
    with_head = anomaly_network()
    without = RecurrentNetwork(msgspec.structs.replace(with_head.config, anomaly_dim=0)).eval()
    weights = with_head.state_dict()
    without.load_state_dict({k: v for k, v in weights.items() if not k.startswith("anomaly.")})
    features = torch.from_numpy(make_features())
    with torch.inference_mode():
        expected, _ = without(features, without.initial_state(ROWS))
        found, _ = with_head(features, with_head.initial_state(ROWS))
    assert torch.equal(found[..., :-1], expected)


def test_the_shipped_bundle_is_as_it_was():
    bundle = Bundle.load("workcell")
    assert bundle.config.anomaly_dim == 0
    assert bundle.config.num_outputs == bundle.config.num_classes
    assert bundle.decoder.anomaly is None


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"anomaly_dim": 1}, "0 or 2 to feature_dim"),
        ({"anomaly_dim": 25}, "0 or 2 to feature_dim"),
        ({"anomaly_dim": 6, "directions": 2}, "they see the next frame"),
        ({"phases": (), "actions": ()}, "at least one label or an anomaly head"),
    ],
)
def test_heads_that_can_not_be(changes, told):
    with pytest.raises(ValueError, match=told):
        make_config(**changes)


def test_a_bundle_without_thresholds_for_its_head_is_refused(tmp_path):
    from streamer.training.export import write_bundle

    network, shipped = anomaly_network(), Bundle.load("workcell")
    with pytest.raises(ModelError, match="expected thresholds for the anomaly head"):
        write_bundle(
            tmp_path / "bundle",
            model=network,
            config=network.config,
            preprocess=shipped.preprocess,
            decoder=shipped.decoder,
            metrics=dict(shipped.metrics),
        )
    assert not list(tmp_path.iterdir())
