from __future__ import annotations

import hashlib
import json
import shutil
from typing import TYPE_CHECKING

import pytest

from streamer.core.errors import ModelError
from streamer.models.bundle import Bundle, shipped_names
from streamer.models.manifest import FILES, make_manifest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped bundle, to be damaged."""
    path = tmp_path / "copy"
    shutil.copytree(Bundle.load("workcell").path, path)
    return path


def rewrite(folder: Path, name: str, change: Callable[[dict], None]) -> None:
    """Change a JSON file, and make the manifest fit it."""
    content = json.loads((folder / name).read_text())
    change(content)
    (folder / name).write_text(json.dumps(content))
    (folder / "manifest.json").write_bytes(make_manifest(folder))


def refused(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        Bundle.load(folder)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_the_shipped_bundle_is_whole_small_and_good():
    bundle = Bundle.load("workcell")
    assert "workcell" in shipped_names()
    assert sum(path.stat().st_size for path in bundle.path.iterdir()) <= 2_000_000
    assert bundle.config.phases == ("idle", "reach", "grasp", "move", "place", "inspect")
    assert bundle.config.actions == ("carrying", "lamp_on", "person_passing")
    assert bundle.config.num_classes == 9
    for part in ("test_rendered", "test_compressed"):
        assert bundle.metrics[part]["frames"]["phase_accuracy"] >= 0.9
        assert bundle.metrics[part]["phases"]["onset_error_median_seconds"] <= 0.3
        assert bundle.metrics[part]["phases"]["onsets_found_ratio"] >= 0.9


def test_the_model_card_says_what_the_metrics_say():
    bundle = Bundle.load("workcell")
    card = (bundle.path / "README.md").read_text()
    assert f"{bundle.metrics['test']['frames']['phase_accuracy']:.3f}" in card
    assert bundle.config.encoder_id in card


def test_the_shipped_bundle_fits_the_shipped_encoder():
    from streamer.models.encoders.registry import open_encoder

    bundle = Bundle.load("workcell")
    encoder = open_encoder(bundle.config.encoder, preprocess=bundle.preprocess)
    assert encoder.encoder_id == bundle.config.encoder_id
    assert encoder.feature_dim == bundle.config.feature_dim


def test_the_id_is_that_of_the_manifest(folder):
    digest = hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    assert (
        Bundle.load(folder).model_id == f"sha256:{digest[:16]}" == Bundle.load("workcell").model_id
    )


@pytest.mark.parametrize("name", FILES)
def test_a_changed_file_is_named_with_both_digests(folder, name):
    data = bytearray((folder / name).read_bytes())
    expected = hashlib.sha256(data).hexdigest()
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    message = refused(folder)
    assert str(folder / name) in message
    assert expected in message
    assert hashlib.sha256(data).hexdigest() in message


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    assert name in refused(folder)


def test_a_folder_that_is_not_there_names_the_shipped_ones(tmp_path):
    message = refused(tmp_path / "nothing")
    assert "nothing" in message
    assert "workcell" in message


TWO_PHASES = {
    "initial_P": [0.5, 0.5],
    "transition_PP": [[0, 1], [1, 0]],
    "mean_seconds_P": [1, 1],
    "stages_P": [1, 1],
    "prior_P": [0.5, 0.5],
}


@pytest.mark.parametrize(
    ("name", "key", "value", "said"),
    [
        ("config.json", "phases", ["idle", "idle"], "'idle' more than once"),
        ("config.json", "phases", ["idle", "lamp_on"], "'lamp_on' more than once"),
        ("config.json", "phases", ["idle", ""], "none of them empty"),
        ("config.json", "actions", ["carrying"], "expected 7 values"),
        ("config.json", "analysis_fps", 0, "above 0"),
        ("config.json", "hidden_dim", 0, "hidden_dim"),
        ("config.json", "hidden_dim", 95, "head.weight"),
        ("config.json", "feature_dim", 1000, "projection.weight"),
        ("config.json", "num_layers", 2, "lstm.weight_hh_l1"),
        ("config.json", "architecture", "rnn", "architecture"),
        ("config.json", "architecture", "gru", "gru.weight_hh_l0"),
        ("config.json", "architecture", "lstm_coupled", "lstm.weight_hh_l0"),
        ("config.json", "directions", 2, "head.weight"),
        ("config.json", "directions", 3, "directions"),
        ("config.json", "lookahead_frames", 2, "lookahead_frames"),
        ("config.json", "format_version", 2, "format_version"),
        ("config.json", "colour", "red", "colour"),
        ("config.json", "gap", {"hold_seconds": -1}, "hold_seconds"),
        ("decoder.json", "enter_C", [0.6] * 8, "expected 9 values"),
        ("decoder.json", "enter_C", [0.2] * 9, "exit <= enter"),
        ("decoder.json", "enter_C", [1.0] * 9, "enter < 1"),
        ("decoder.json", "exit_C", [0.0] * 9, "0 < exit"),
        ("decoder.json", "min_on_seconds_C", [-0.1] * 9, "at least 0"),
        ("decoder.json", "phase_temperature", 0, "temperatures"),
        ("decoder.json", "phase_filter", TWO_PHASES, "phase_filter: expected"),
        ("preprocess.json", "width", 0, "positive size"),
        ("preprocess.json", "fit", "bend", "fit"),
    ],
)
def test_what_can_not_be_is_refused_in_one_line(folder, name, key, value, said):
    rewrite(folder, name, lambda content: content.__setitem__(key, value))
    message = refused(folder)
    assert said in message
    assert str(folder) in message


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("decoder.json", b"{"),
        ("metrics.json", b"[]"),
        ("preprocess.json", b""),
        ("model.safetensors", b"PK\x03\x04" + bytes(64)),
        ("README.md", b"\x00\xff"),
    ],
)
def test_files_that_are_something_else_are_refused(folder, name, data):
    (folder / name).write_bytes(data)
    (folder / "manifest.json").write_bytes(make_manifest(folder))
    assert name in refused(folder)


def test_a_manifest_without_a_digest_is_refused(folder):
    content = json.loads((folder / "manifest.json").read_text())
    del content["files"]["model.onnx"]
    (folder / "manifest.json").write_text(json.dumps(content))
    assert "model.onnx" in refused(folder)
