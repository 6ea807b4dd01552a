"""The command `streamer events replay`, on a real server."""

from __future__ import annotations

import contextlib
import json
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from streamer.cli.events import events_app
from streamer.core.errors import ConfigError, ModelError, TransportError
from streamer.core.event import decode_event
from streamer.transport.connection import connect
from streamer.transport.embedded import EmbeddedValkey
from tests.models import LeakyModel, bundle
from tests.plant import KEYS, Plant


def command(*arguments):
    return CliRunner().invoke(events_app, ["replay", *arguments])


@pytest.fixture
def serving(server, monkeypatch):
    """The command takes the small model for its bundle's."""
    monkeypatch.setattr("streamer.cli.replay.Bundle", SimpleNamespace(load=lambda _: bundle()))
    monkeypatch.setattr(
        "streamer.cli.replay.open_online_model", lambda _, *, rows, backend: LeakyModel(rows)
    )
    return server.url


def test_the_command_prints_what_the_log_has(plant, serving):
    plant.fold()
    result = command("--redis", serving, "--json")
    assert result.exit_code == 0
    recomputed = [decode_event(line) for line in result.stdout.splitlines()]
    assert [e.id for e in recomputed] == [f[b"id"].decode() for _, f in plant.events()]
    lines = command("--redis", serving, "--stream", "cam").stdout.splitlines()
    assert len(lines) == len(recomputed)
    assert "phase work" in "".join(lines)
    late = command("--redis", serving, "--from", "2026-01-01T00:00:02Z", "--json")
    shown = [decode_event(line) for line in late.stdout.splitlines()]
    assert shown == [e for e in recomputed if e.data.frame.seq > 20]
    assert late.stderr == ""


def test_the_command_verifies(plant, serving):
    plant.fold()
    result = command("--redis", serving, "--verify")
    num = len(plant.events())
    said = f"cam: {num} event(s) (sequence 0 to {num - 1}) and 1 state(s) compared: equal\n"
    assert (result.exit_code, result.stdout, result.stderr) == (0, said, "")
    plant.client.xdel(KEYS.events(0), plant.events()[3][0])
    result = command("--redis", serving, "--verify")
    assert result.exit_code == 1
    assert "different at sequence 3: event: recomputed streamer." in result.stdout
    assert "stored none" in result.stdout
    line = json.loads(command("--redis", serving, "--verify", "--json").stdout)
    assert (line["stream"], line["verdict"], line["difference"]["sequence"]) == (
        "cam",
        "different",
        3,
    )


def test_the_command_says_how_far_back_it_reaches(server, serving):
    with contextlib.closing(connect(server.url)) as client:
        client.flushdb()
        plant = Plant(client, replay_seconds=5.0)
        for _ in range(4):
            plant.fold()
    result = command("--redis", serving, "--verify", "--from", "2026-01-01T00:00:01Z")
    assert result.exit_code == 0
    assert "begins at 2026-01-01T00:00:0" in result.stderr
    assert "redis.replay_seconds" in result.stderr


def test_nothing_to_compare_is_not_equal(plant, serving):
    plant.fold(model_id="sha256:new")
    result = command("--redis", serving, "--verify")
    assert result.exit_code == 1
    assert "nothing compared" in result.stdout
    assert "sha256:new" in result.stderr
    plant.client.delete(KEYS.anchors("cam"))
    result = command("--redis", serving, "--verify")
    assert result.exit_code == 1
    assert "nothing to replay" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--from", "yesterday"), "--from"),
        (("--from", "2026-11-21T10:00:00"), "--from"),
        (("--stream", "nobody"), "nobody"),
        (("--bundle", "/no/bundle"), "/no/bundle"),
    ],
)
def test_the_command_with_bad_arguments(plant, server, arguments, said):
    plant.fold()
    error = command("--redis", server.url, *arguments).exception
    assert isinstance(error, ConfigError | ModelError)
    assert said in str(error)


@pytest.mark.usefixtures("runs_apart")
def test_the_command_without_a_pipeline():
    with EmbeddedValkey() as empty:
        assert "found none at all" in str(command().exception)
        assert empty.running
    error = command().exception
    assert isinstance(error, TransportError)
    assert "events replay: no running pipeline" in str(error)
