"""`streamer models`: what is listed, shown, found wrong, and asked of running workers."""

from __future__ import annotations

import contextlib
import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

from streamer.cli.models import models_app
from streamer.core.errors import ConfigError, ModelError, TransportError
from streamer.models.bundle import Bundle
from streamer.models.manifest import FILES, make_manifest
from streamer.transport.connection import connect
from streamer.transport.install import agree
from streamer.transport.keys import Keys
from streamer.transport.model_registry import ModelEntry, ModelRegistry, WantedModel
from tests.bundles import copy_bundle

OLD = Bundle.load("workcell")


def command(*arguments):
    return CliRunner().invoke(models_app, [str(argument) for argument in arguments])


@pytest.fixture
def other(tmp_path):
    return copy_bundle(tmp_path / "other", config={"name": "other"})


def remake(bundle):
    (bundle.path / "manifest.json").write_bytes(make_manifest(bundle.path))


# List and show.


def test_list_has_the_shipped_ones_and_those_in_folders_however_deep(other, tmp_path):
    lines = command("list", tmp_path).stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["NAME", "MODEL"],
        ["workcell", OLD.model_id],
        ["other", other.model_id],
    ]
    rows = [json.loads(line) for line in command("list", other.path, "--json").stdout.splitlines()]
    assert rows[1]["where"] == str(other.path)
    assert rows[1]["labels"] == 9


def test_list_goes_on_after_a_damaged_one(other, tmp_path):
    broken = copy_bundle(tmp_path / "another")
    (broken.path / "README.md").write_text("tampered")
    result = command("list", tmp_path)
    assert result.exit_code == 1
    assert str(broken.path / "README.md") in result.stderr
    assert other.model_id in result.stdout


def test_show_prints_the_labels_and_the_card(other):
    shown = command("show", other.path).stdout
    assert other.model_id in shown
    assert "idle, reach, grasp" in shown
    assert "Edit score of announced phases | 0.979" in shown
    content = json.loads(command("show", other.path, "--json").stdout)
    assert content["config"]["name"] == "other"
    assert content["decoder"]["enter_C"] == list(other.decoder.enter_C)
    assert content["metrics"] == other.metrics


@pytest.mark.parametrize("arguments", [("show", "/nowhere"), ("verify", "/nowhere")])
def test_what_is_not_there_is_one_line(arguments):
    error = command(*arguments).exception
    assert isinstance(error, ModelError)
    assert "/nowhere" in str(error)
    assert "\n" not in str(error)


# Verify.


def test_a_whole_bundle_verifies(other):
    result = command("verify", other.path)
    assert (result.exit_code, result.stderr) == (0, "")
    assert other.model_id in result.stdout


def test_every_damaged_file_gets_a_line(other):
    for name in FILES:
        (other.path / name).write_bytes((other.path / name).read_bytes() + b" ")
    (other.path / "README.md").unlink()
    (other.path / "model.pkl").touch()
    result = command("verify", other.path)
    lines = result.stdout.splitlines()
    assert result.exit_code == 1
    assert [line.split(":")[0] for line in lines] == [
        str(other.path / name) for name in (*FILES, "model.pkl")
    ]
    assert sum("expected sha256" in line for line in lines) == len(FILES) - 1


def test_what_a_right_digest_hides_is_found(other):
    (other.path / "decoder.json").write_text("{}")
    remake(other)
    result = command("verify", other.path)
    assert result.exit_code == 1
    assert "decoder.json" in result.stdout


def test_a_manifest_that_is_none_or_points_elsewhere(other):
    manifest = other.path / "manifest.json"
    content = json.loads(manifest.read_text())
    content["files"]["../secret"] = "0" * 64
    manifest.write_text(json.dumps(content))
    assert "../secret" in command("verify", other.path).stdout
    manifest.write_text("[]")
    result = command("verify", other.path)
    assert (result.exit_code, len(result.stdout.splitlines())) == (1, 1)


@pytest.mark.torch
def test_a_graph_of_another_model_is_found_by_what_it_says(other):
    """Every digest and shape is right; one weight in 592 kB is not."""
    path = other.path / "model.safetensors"
    tensors = load_file(path)
    tensors["head.bias"][3] += np.float32(0.001)
    save_file(tensors, path)
    remake(other)
    result = command("verify", other.path)
    assert result.exit_code == 1
    (line,) = result.stdout.splitlines()
    assert line.startswith(f"{other.path / 'model.onnx'}: expected the outputs of")
    assert "difference of 0.001" in line


def test_a_graph_that_is_none(other):
    (other.path / "model.onnx").write_bytes(b"not a graph")
    remake(other)
    result = command("verify", other.path)
    assert result.exit_code == 1
    assert "model.onnx: not an ONNX file" in result.stdout


def test_without_torch_it_says_what_it_did_not_compare(other, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = command("verify", other.path)
    assert result.exit_code == 0
    assert "not compared with model.safetensors" in result.stderr


# What a server knows, and what is asked of it.


@pytest.fixture
def registry(valkey):
    with contextlib.closing(connect(valkey.url)) as client:
        agree(client, keys=Keys(4))
        yield ModelRegistry(client, keys=Keys(4))


def entry(**changes):
    config = OLD.config
    fields = {"name": "workcell", "phases": config.phases, "actions": config.actions}
    return ModelEntry(**(fields | {"encoder_id": config.encoder_id} | changes))


def run_streams(registry, *models):
    for number, model_id in enumerate(models):
        registry._client.hset(Keys(4).state(f"cam-{number}"), "model", model_id)


def test_list_of_a_server_counts_streams_and_marks_what_is_wanted(valkey, registry):
    registry.put(OLD.model_id, entry())
    registry.put("sha256:old", entry(name="former", encoder_id=""))
    run_streams(registry, OLD.model_id, OLD.model_id, "sha256:unknown")
    registry.want(WantedModel(model_id="sha256:coming", bundle="/coming"))
    rows = command("list", "--redis", valkey.url, "--json").stdout.splitlines()
    found = {row["model"]: row for row in map(json.loads, rows)}
    assert {model: row["streams"] for model, row in found.items()} == {
        OLD.model_id: 2,
        "sha256:old": 0,
        "sha256:unknown": 1,
        "sha256:coming": 0,
    }
    assert [model for model, row in found.items() if row["wanted"]] == ["sha256:coming"]
    assert found["sha256:old"]["name"] == "former"


def test_use_writes_the_wish_with_a_path_that_is_right_everywhere(
    valkey, registry, other, monkeypatch
):
    registry.put(OLD.model_id, entry())
    run_streams(registry, OLD.model_id)
    monkeypatch.chdir(other.path.parent)
    assert command("use", "other", "--redis", valkey.url).exit_code == 0
    assert registry.wanted() == WantedModel(model_id=other.model_id, bundle=str(other.path))
    assert command("use", "workcell", "--redis", valkey.url).exit_code == 0
    assert registry.wanted() == WantedModel(model_id=OLD.model_id, bundle="workcell")


def test_unuse_sends_each_worker_back_to_its_own(valkey, registry, other):
    own = WantedModel(model_id="sha256:own", bundle="own")
    worker = ModelRegistry(registry._client, keys=Keys(), configured=own)
    assert worker.wanted() is None
    assert "no bundle was asked for" in command("unuse", "--redis", valkey.url).stdout
    assert worker.wanted() == own
    command("use", other.path, "--redis", valkey.url)
    assert worker.wanted().model_id == other.model_id
    done = command("unuse", "--redis", valkey.url)
    assert f"{other.model_id} is wanted no more" in done.stdout
    assert (registry.wanted(), worker.wanted()) == (None, own)
    assert "yes" not in command("list", "--redis", valkey.url).stdout


def test_use_refuses_a_bundle_for_another_encoder_and_names_both(valkey, registry, tmp_path):
    registry.put(OLD.model_id, entry())
    run_streams(registry, OLD.model_id)
    foreign = copy_bundle(tmp_path / "foreign", config={"encoder_id": "sha256:another"})
    error = command("use", foreign.path, "--redis", valkey.url).exception
    assert isinstance(error, ModelError)
    assert "sha256:another" in str(error)
    assert OLD.config.encoder_id in str(error)
    assert registry.wanted() is None


def test_use_refuses_a_damaged_bundle(valkey, registry, other):
    (other.path / "model.safetensors").write_bytes(b"")
    assert "model.safetensors" in str(command("use", other.path, "--redis", valkey.url).exception)
    assert registry.wanted() is None


def test_wrong_servers_and_arguments(valkey, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "nobody"))
    assert isinstance(command("use", "workcell").exception, TransportError)
    assert "without" in str(command("list", "--redis", valkey.url).exception)
    for arguments in (("list", tmp_path, "--redis", valkey.url), ("list", "/nowhere")):
        assert isinstance(command(*arguments).exception, ConfigError)


def test_a_wish_of_somebody_else_is_none(registry):
    registry._client.set("streamer:model", b"[]")
    assert registry.wanted() is None
