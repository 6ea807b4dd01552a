"""What a recipe asks for is what training does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from streamer.core.errors import ConfigError
from streamer.models.temporal.network import RecurrentNetwork
from streamer.training import checkpoint
from streamer.training.dataset import Dataset, Example
from streamer.training.fit import fit, predict
from streamer.training.lanes import Lanes, LastFrames
from streamer.training.losses import (
    MAX_JUMP_NATS,
    Objective,
    Targets,
    class_weights,
    distillation_loss,
    frame_loss,
    smoothing_loss,
)
from streamer.training.recipe import Recipe, make_recipe
from streamer.training.run import Shape, make_config, train_bundle
from streamer.training.teacher import taught
from tests.encoders import DrawnEncoder
from tests.unit.test_training_fit import FEATURE_DIM, FPS, LABELS, make_example

P = len(LABELS.phases)
SMALL = {
    "num_lanes": 4,
    "num_steps": 16,
    "max_updates": 30,
    "warmup_updates": 5,
    "learning_rate": 1e-2,
    "dropout": 0.1,
    "noise": 0.1,
    "shift": 0.1,
    "check_every": 10,
}


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    train, validation, test = (
        tuple(make_example(seed) for seed in seeds) for seeds in (range(6), (8, 9), (10,))
    )
    return Dataset(origin="drawn", labels=LABELS, train=train, validation=validation, test=test)


def network(dataset, *, seed=0, **shape):
    torch.manual_seed(seed)
    size = Shape(projection_dim=8, hidden_dim=12, **shape)
    encoder = DrawnEncoder(FEATURE_DIM)
    return RecurrentNetwork(
        make_config(dataset, size, name="drawn", encoder=encoder, analysis_fps=FPS)
    )


def trained(dataset, *, folder=None, stop_after=None, **recipe):
    """The weights after a training; None if it was interrupted after so many looks."""
    model, seen = network(dataset), []

    def progress(check):
        seen.append(check)
        if len(seen) == stop_after:
            raise KeyboardInterrupt

    try:
        fit(model, dataset, Recipe(**(SMALL | recipe)), progress=progress, folder=folder)
    except KeyboardInterrupt:
        return None
    return model.state_dict()


def same(ours, theirs):
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize(
    "recipe",
    [
        {},
        {"method": "window"},
        {"ema_decay": 0.9},
        {"feature_dropout": 0.3, "time_warp": 0.2, "class_weights": "sqrt"},
    ],
    ids=str,
)
def test_an_interrupted_training_ends_with_the_weights_it_would_have_had(dataset, tmp_path, recipe):
    undisturbed = trained(dataset, **recipe)
    # Interrupted in its third look, which is not on disk: it goes on after the second.
    assert trained(dataset, folder=tmp_path, stop_after=3, **recipe) is None
    assert (tmp_path / checkpoint.NAME).exists()
    assert same(trained(dataset, folder=tmp_path, **recipe), undisturbed)
    assert not (tmp_path / checkpoint.NAME).exists()


def test_what_is_unfinished_is_not_mixed_with_another_training(dataset, tmp_path):
    trained(dataset, folder=tmp_path, stop_after=2)
    with pytest.raises(ConfigError, match="others; remove it"):
        trained(dataset, folder=tmp_path, learning_rate=2e-2)
    (tmp_path / checkpoint.NAME).write_bytes(b"no such thing")
    with pytest.raises(ConfigError, match="not an unfinished training"):
        trained(dataset, folder=tmp_path)


@pytest.mark.parametrize(
    "recipe",
    [
        {"method": "window"},
        {"class_weights": "inverse"},
        {"label_smoothing": 0.1},
        {"temporal_smoothing": 0.15},
        {"feature_dropout": 0.2},
        {"time_warp": 0.3},
        {"ema_decay": 0.9},
    ],
    ids=str,
)
def test_every_part_of_a_recipe_changes_the_weights_and_still_learns(dataset, recipe):
    plain = trained(dataset, max_updates=80)
    changed = trained(dataset, max_updates=80, **recipe)
    assert not same(plain, changed)
    model = network(dataset)
    model.load_state_dict(changed)
    logits = np.concatenate(predict(model, dataset.test))
    truth = np.concatenate([example.phases_T for example in dataset.test])
    assert (logits[:, :P].argmax(axis=1) == truth).mean() > 0.75


def test_windows_end_anywhere_and_begin_with_repeats_if_they_must(dataset):
    examples = [
        replace(example, features_TD=np.arange(len(example))[:, None].astype(np.float16))
        for example in dataset.train
    ]
    windows = LastFrames(examples, num_lanes=64, num_steps=24, random=np.random.default_rng(0))
    window = windows.next_window()
    frames_TB = window.features_TBD[..., 0]
    assert window.begins_B.all()
    assert (np.diff(frames_TB, axis=0) <= 1).all()
    assert len(set(frames_TB[-1])) > 30
    short = frames_TB[:, frames_TB[-1] < 23]
    assert short.shape[1] > 0
    assert (short[0] == 0).all()


def test_a_warped_clip_goes_faster_or_slower(dataset):
    examples = [
        replace(example, features_TD=np.arange(len(example))[:, None].astype(np.float16))
        for example in dataset.train
    ]

    def spans(time_warp):
        lanes = Lanes(
            examples,
            num_lanes=32,
            num_steps=50,
            random=np.random.default_rng(0),
            time_warp=time_warp,
        )
        frames_TB = lanes.next_window().features_TBD[..., 0]
        inside = frames_TB[-1] > frames_TB[0]
        return (frames_TB[-1] - frames_TB[0])[inside]

    assert np.ptp(spans(0.0)) < np.ptp(spans(0.5))
    assert spans(0.5).min() < 45 < 60 < spans(0.5).max()


def test_class_weights_are_inverse_frequencies_with_mean_one():
    phases = np.repeat([0, 1, 2], [600, 300, 100])
    lamp = (np.arange(1000) < 200).astype(np.float32)[:, None]
    example = Example(
        name="",
        compressed=False,
        features_TD=np.zeros((1000, 1), np.float16),
        pts_T=np.arange(1000) / FPS,
        phases_T=phases,
        actions_TA=lamp,
    )
    phases_P, actions_A = class_weights([example], num_phases=3, kind="inverse")
    np.testing.assert_allclose(phases_P * [6, 3, 1], np.full(3, 10 / 3), rtol=1e-5)
    assert actions_A == pytest.approx([4.0])
    rooted_P, _ = class_weights([example], num_phases=3, kind="sqrt")
    assert rooted_P[2] / rooted_P[0] == pytest.approx(6**0.5)


def test_label_smoothing_has_its_minimum_where_it_says():
    """The best logits give the softened target itself."""
    target = torch.tensor([[1]])
    best = torch.log(torch.tensor([0.1 / 3, 0.9 + 0.1 / 3, 0.1 / 3]))
    lamp = torch.tensor(0.95).logit()
    logits = torch.cat((best, lamp[None]))[None, None].clone().requires_grad_()
    loss = frame_loss(logits, target, torch.ones(1, 1, 1), num_phases=3, label_smoothing=0.1)
    loss.backward()
    assert logits.grad.abs().max() < 1e-6


def test_the_smoothing_loss_by_hand():
    logits = torch.tensor([[[0.0, 0.0]], [[2.0, 0.0]], [[90.0, 0.0]]])
    logs = functional.log_softmax(logits, dim=-1)[:, 0]
    first = (logs[1] - logs[0]).square()
    second = torch.stack(((logs[2] - logs[1])[0].abs(), torch.tensor(MAX_JUMP_NATS))).square()
    expected = torch.cat((first, second)).mean()
    assert smoothing_loss(logits, num_phases=2) == pytest.approx(float(expected), rel=1e-5)


def test_distillation_is_least_where_the_teacher_is():
    torch.manual_seed(0)
    teacher = torch.randn(3, 2, 5)
    ours = teacher.clone().requires_grad_()
    distillation_loss(ours, teacher, num_phases=3, temperature=3.0).backward()
    assert ours.grad.abs().max() < 1e-6
    gradients = []
    for temperature in (1.0, 10.0):  # the factor T² keeps gradients of a size
        other = (teacher + 1e-2 * torch.randn_like(teacher)).requires_grad_()
        distillation_loss(other, teacher, num_phases=3, temperature=temperature).backward()
        gradients.append(float(other.grad.norm()))
    assert 0.1 < gradients[0] / gradients[1] < 10


def test_a_teacher_alone_can_teach(dataset, tmp_path):
    """The labels of the pupil's data are wrong; the teacher knows better."""
    encoder, shape = DrawnEncoder(FEATURE_DIM), Shape(projection_dim=8, hidden_dim=12)
    config = make_config(dataset, shape, name="drawn", encoder=encoder, analysis_fps=FPS)
    recipe = Recipe(**(SMALL | {"max_updates": 120, "check_every": 40}))

    def bundle(name, data, **more):
        return train_bundle(
            tmp_path / name, data, config=config, encoder=encoder, recipe=recipe,
            progress=lambda check: None, **more,
        )  # fmt: skip

    teacher = bundle("teacher", dataset)
    wrong = replace(
        dataset,
        train=tuple(replace(e, phases_T=(e.phases_T + 1) % P) for e in dataset.train),
    )
    recipe = replace(recipe, distillation=1.0)
    pupil = bundle("pupil", wrong, teacher=teacher)
    assert pupil.metrics["test"]["frames"]["phase_accuracy"] > 0.8
    with pytest.raises(ConfigError, match="encoder: expected sha256:other, found sha256:encoder"):
        taught(dataset, teacher, encoder_id="sha256:other")
    assert (tmp_path / "pupil" / "tensorboard").is_dir()


def test_a_last_frame_s_loss_is_that_of_the_last_frame():
    torch.manual_seed(0)
    logits, phases = torch.randn(5, 2, 4), torch.randint(3, (5, 2))
    targets = Targets(phases_TB=phases, actions_TBA=torch.rand(5, 2, 1).round())
    objective = Objective(Recipe(), num_phases=3)
    last = objective(logits[-1:], targets.last())
    expected = frame_loss(logits[-1], phases[-1], targets.actions_TBA[-1], num_phases=3)
    assert torch.equal(last, expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_lanes": 0}, "num_lanes: expected at least 1, found 0"),
        ({"label_smoothing": 1.5}, "label_smoothing: expected 0 to 1, found 1.5"),
        ({"mixed_precision": True}, "device=cuda"),
    ],
)
def test_a_recipe_says_what_is_wrong_with_it(changes, message):
    with pytest.raises(ConfigError, match=message):
        Recipe(**changes)


def test_a_device_that_is_not_there_is_refused(dataset):
    with pytest.raises(ConfigError, match=r"what this machine has \(cpu.*\), found cuda:99"):
        trained(dataset, device="cuda:99")


def test_a_recipe_is_made_from_text():
    recipe = make_recipe({"seed": "3"}, ["method=window", "learning_rate=1e-2", "seed = 4"])
    assert (recipe.method, recipe.learning_rate, recipe.seed) == ("window", 0.01, 4)
    assert make_recipe({}) == Recipe()


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("method", "expected NAME=VALUE, found 'method'"),
        ("metod=window", "found 'metod'"),
        ("method=widow", "method: expected tbptt or window, found 'widow'"),
        ("learning_rate=fast", "learning_rate: expected a number, found 'fast'"),
        ("num_lanes=many", "num_lanes: expected a whole number, found 'many'"),
        ("mixed_precision=perhaps", "mixed_precision: expected true or false, found 'perhaps'"),
        ("num_lanes=0", "num_lanes: expected at least 1"),
        ("num_threads=0", "num_threads: expected at least 1"),
        ("learning_rate=-1", "learning_rate: expected a number above 0, found -1"),
        ("learning_rate=nan", "learning_rate: expected a number above 0, found nan"),
        ("clip_norm=0", "clip_norm: expected a number above 0"),
        ("distillation_temperature=0", "distillation_temperature: expected a number above 0"),
        ("noise=-1", "noise: expected a number of 0 or more"),
        ("shift=inf", "shift: expected a number of 0 or more, found inf"),
        ("warmup_updates=-3", "warmup_updates: expected a number of 0 or more"),
        ("seed=-1", "seed: expected a number of 0 or more"),
        ("seed=9223372036854775808", "seed: expected at most"),
        ("dropout=1", "dropout: expected 0 or more, and below 1"),
        ("distillation=2", "distillation: expected 0 to 1"),
        ("device=toaster", "device: expected cpu, cuda or cuda:N, found 'toaster'"),
    ],
)
def test_text_that_is_no_recipe_is_refused(assignment, message):
    with pytest.raises(ConfigError, match=message):
        make_recipe({}, [assignment])
