"""Heads in ONNX: as in torch, and served where they say something of a stream."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch

from streamer.core.errors import ModelError
from streamer.models.bundle import Bundle, DecoderConfig
from streamer.models.manifest import make_manifest
from streamer.models.temporal.captions import STEP_INPUTS, OnnxCaptioner
from streamer.models.temporal.network import read_clips
from streamer.models.temporal.registry import open_temporal_model
from streamer.training.clip_predict import predict_captions
from streamer.training.clips import ClipExample
from streamer.training.export import write_bundle
from streamer.training.graph import make_graph
from tests.clips import FEATURE_DIM, PHASES, WORDS, clip_config
from tests.networks import ARCHITECTURES, make_bundle, make_network

LENGTHS = (40, 1, 23)
STEPS = 300
NO_THRESHOLDS = DecoderConfig(
    phase_temperature=1.0,
    action_temperature=1.0,
    smoothing_seconds=0.0,
    enter_C=(),
    exit_C=(),
    min_on_seconds_C=(),
    min_off_seconds_C=(),
)
METRICS = {"origin": "noise"}


def scaled(network):
    """With targets far from 0 and 1, if it has any."""
    if network.config.head == "regression":
        network.head.fit_scale(torch.tensor([[100.0, -3.0], [140.0, -2.0], [90.0, 4.0]]))
    return network


@pytest.mark.parametrize("head", ["sequence", "regression"])
@pytest.mark.parametrize("pooling", ["last", "mean", "attention"])
@pytest.mark.parametrize(
    "network",
    [
        *({"architecture": kind, "directions": 2} for kind in ARCHITECTURES),
        {"directions": 1, "num_layers": 2},
        {"directions": 2, "num_layers": 2, "layer_norm": True},
    ],
    ids=str,
)
def test_torch_and_onnx_agree_on_clips_of_any_length(head, pooling, network):
    labels = {"phases": PHASES} if head == "sequence" else {"targets": ("a", "b")}
    model = scaled(make_network(clip_config(head=head, pooling=pooling, **labels, **network)))
    random = np.random.default_rng(0)
    features = random.normal(size=(max(LENGTHS), len(LENGTHS), FEATURE_DIM)).astype(np.float32)
    mask = (np.arange(max(LENGTHS))[:, None] < np.array(LENGTHS)).astype(np.float32)
    with torch.inference_mode():
        expected, alphas = read_clips(model, torch.from_numpy(features), torch.from_numpy(mask))
    session = onnxruntime.InferenceSession(make_graph(model))
    outputs, weights = session.run(None, {"features": features, "mask": mask})
    scale = 1.0 if head == "sequence" else 20.0
    np.testing.assert_allclose(outputs / scale, expected.numpy() / scale, atol=1e-4, rtol=0)
    np.testing.assert_allclose(weights, alphas.numpy(), atol=1e-5, rtol=0)
    # The clips differ: else agreement would mean nothing.
    assert np.abs(outputs[0] - outputs[1]).max() > 0.01


@pytest.mark.parametrize(
    "head",
    [{"head": "ctc", "phases": PHASES}, {"head": "regression", "targets": ("a", "b")}],
    ids=lambda head: head["head"],
)
@pytest.mark.parametrize("backend", ["onnx", "torch"])
def test_heads_per_frame_are_served_step_by_step(tmp_path, head, backend):
    model = scaled(make_network(clip_config(**head)))
    features = np.random.default_rng(0).normal(size=(STEPS, 3, FEATURE_DIM)).astype(np.float32)
    with torch.inference_mode():
        expected, _ = model(torch.from_numpy(features), model.initial_state(3))
    served = open_temporal_model(make_bundle(tmp_path, model), rows=3, backend=backend)
    hidden = cell = np.zeros((1, 3, model.config.hidden_dim), np.float32)
    for t, features_BD in enumerate(features):
        outputs, hidden, cell = served.step(features_BD, hidden, cell)
        np.testing.assert_allclose(outputs, expected[t].numpy(), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize(
    "head",
    [
        {"head": "ctc", "phases": PHASES},
        {"head": "regression", "targets": ("a", "b")},
        {"head": "sequence", "phases": PHASES, "pooling": "attention", "directions": 2},
        {"head": "regression", "targets": ("a", "b"), "pooling": "mean"},
        {"head": "caption", "targets": WORDS, "directions": 2},
    ],
    ids=lambda head: f"{head['head']}-{head.get('pooling')}",
)
def test_a_bundle_of_any_exported_head_is_written_and_read_again(tmp_path, head):
    model = scaled(make_network(clip_config(**head)))
    bundle = write_bundle(
        tmp_path / "bundle",
        model=model,
        config=model.config,
        preprocess=Bundle.load("workcell").preprocess,
        decoder=NO_THRESHOLDS,
        metrics=METRICS,
    )
    assert bundle.config == model.config
    assert (bundle.path / "model.onnx").read_bytes() == make_graph(model)
    with pytest.raises(ModelError, match="expected 0 values"):
        write_bundle(
            tmp_path / "other",
            model=model,
            config=model.config,
            preprocess=bundle.preprocess,
            decoder=replace_thresholds(len(PHASES)),
            metrics=METRICS,
        )


def replace_thresholds(count):
    shipped = Bundle.load("workcell").decoder
    return DecoderConfig(
        **{name: getattr(shipped, name) for name in NO_THRESHOLDS.__struct_fields__[:3]},
        **{
            name: getattr(shipped, name)[:count]
            for name in NO_THRESHOLDS.__struct_fields__
            if name.endswith("_C")
        },
    )


@pytest.mark.parametrize(
    ("head", "instead"),
    [
        ({"head": "sequence", "phases": PHASES, "pooling": "last"}, "train it with head=frames"),
        ({"head": "regression", "targets": ("a",), "pooling": "mean"}, "pooling=none"),
        ({"head": "caption", "targets": WORDS}, "streamer predict"),
    ],
    ids=lambda value: value.get("head") if isinstance(value, dict) else "",
)
@pytest.mark.parametrize("backend", ["onnx", "torch"])
def test_a_head_that_reads_whole_clips_is_not_served_on_streams(head, instead, backend):
    bundle = replace(Bundle.load("workcell"), config=clip_config(**head))
    with pytest.raises(ModelError, match=f"whole clip.*{instead}"):
        open_temporal_model(bundle, backend=backend)


def test_what_can_not_be_exported_is_told():
    for head in (
        {"head": "sequence", "phases": PHASES, "pooling": "mean"},
        {"head": "caption", "targets": WORDS},
    ):
        ahead = clip_config(**head, directions=2, lookahead_frames=2)
        with pytest.raises(ModelError, match="lookahead_frames: expected 0"):
            make_graph(make_network(ahead))


@pytest.mark.parametrize(
    "network",
    [
        *({"architecture": kind, "directions": 2} for kind in ARCHITECTURES),
        {"directions": 1, "num_layers": 2},
        {"directions": 2, "num_layers": 2, "layer_norm": True},
    ],
    ids=str,
)
def test_captions_are_the_same_by_torch_and_by_two_graphs(tmp_path, network):
    model = make_network(clip_config(head="caption", targets=WORDS, **network))
    with torch.no_grad():
        # So that it is sure of different words for different clips.
        for weight in model.head.parameters():
            weight.mul_(2)
    bundle = caption_bundle(tmp_path / "bundle", model)
    captioner = OnnxCaptioner(bundle)
    random, said = np.random.default_rng(0), set()
    for length in LENGTHS:
        track = (3 * random.normal(size=(length, FEATURE_DIM))).astype(np.float32)
        example = ClipExample(name="", views=(track,), target=np.zeros(1, np.int64))
        (expected,) = predict_captions(model, [example])
        found = captioner.captions(track)[0]
        assert found.words == expected.words
        assert found.log_prob == pytest.approx(expected.log_prob, abs=1e-4)
        np.testing.assert_allclose(found.weights_ST, expected.weights_ST, atol=1e-4)
        said.add(found.words)
    assert len(said) > 1


def test_a_word_more_is_the_same_by_torch_and_by_the_graph(tmp_path):
    model = make_network(clip_config(head="caption", targets=WORDS, directions=2))
    bundle = caption_bundle(tmp_path / "bundle", model)
    captioner, count = model.head, 5
    random = np.random.default_rng(0)
    outputs = random.normal(size=(9, 1, 2 * model.config.hidden_dim)).astype(np.float32)
    hidden, cell = random.normal(size=(2, count, model.config.hidden_dim)).astype(np.float32)
    words = random.integers(0, len(WORDS) + 1, count)
    with torch.inference_mode():
        memory, _ = captioner.remember(torch.from_numpy(outputs), torch.ones(9, 1))
        rows = memory.rows(torch.zeros(count, dtype=torch.int64))
        state = (torch.from_numpy(hidden), torch.from_numpy(cell))
        expected, weights, after = captioner.step(rows, state, torch.from_numpy(words))
    session = onnxruntime.InferenceSession(bundle.path / "caption_step.onnx")
    inputs = (outputs, memory.keys_TBH.numpy(), hidden, cell, words)
    found = session.run(None, dict(zip(STEP_INPUTS, inputs, strict=True)))
    for ours, theirs in zip(found, (expected, weights, *after), strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-5)


def caption_bundle(folder, model):
    return write_bundle(
        folder,
        model=model,
        config=model.config,
        preprocess=Bundle.load("workcell").preprocess,
        decoder=NO_THRESHOLDS,
        metrics=METRICS,
    )


def test_a_caption_bundle_without_its_second_graph_is_refused(tmp_path):
    model = make_network(clip_config(head="caption", targets=WORDS))
    bundle = caption_bundle(tmp_path / "bundle", model)
    with pytest.raises(ModelError, match="expected features"):
        OnnxCaptioner(bundle).captions(np.zeros((3, FEATURE_DIM + 1), np.float32))
    (bundle.path / "caption_step.onnx").write_bytes(b"other")
    with pytest.raises(ModelError, match=r"caption_step.onnx: expected sha256"):
        Bundle.load(bundle.path)
    (bundle.path / "caption_step.onnx").unlink()
    (bundle.path / "manifest.json").write_bytes(make_manifest(bundle.path))
    with pytest.raises(ModelError, match=r"caption_step.onnx: expected a file"):
        Bundle.load(bundle.path)
