"""`streamer streams`, on a real Valkey."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from streamer.cli.streams import streams_app
from streamer.core.errors import ConfigError, TransportError
from streamer.transport.connection import connect
from streamer.transport.install import agree
from streamer.transport.keys import Keys
from streamer.transport.registry import StreamRegistry
from tests.videos import make_clip


@pytest.fixture
def registry(valkey, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    client = connect(valkey.url)
    agree(client, keys=Keys())
    yield StreamRegistry(client, keys=Keys())
    client.close()


@pytest.fixture
def streams(registry, valkey):
    def invoke(command, *arguments):
        arguments = [command, *arguments, "--redis", valkey.url]
        return CliRunner().invoke(streams_app, arguments)

    return invoke


def test_a_stream_s_life(streams, registry):
    assert streams("add", "door=rtsp://10.0.0.7/live#udp", "rtsp://10.0.0.8/live").exit_code == 0
    assert streams("pause", "door").stdout == "door is paused\n"
    assert streams("list").stdout.splitlines() == [
        "STREAM  SOURCE                OPTIONS  PAUSED",
        "cam1    rtsp://10.0.0.8/live",
        "door    rtsp://10.0.0.7/live  udp      yes",
    ]
    streams("resume", "door")
    rows = [json.loads(line) for line in streams("list", "--json").stdout.splitlines()]
    assert [(row["id"], row["paused"]) for row in rows] == [("cam1", False), ("door", False)]
    assert streams("remove", "door", "cam1").stdout == "door is removed\ncam1 is removed\n"
    assert registry.entries() == {}
    assert streams("list", "--json").stdout == ""


def test_what_is_there_already_can_be_left_as_it_is(streams, registry):
    streams("add", "door=rtsp://10.0.0.7/live")
    streams("pause", "door")
    again = streams("add", "--keep", "door=rtsp://10.0.0.9/live", "gate=rtsp://10.0.0.8/live")
    assert again.stdout == "door is there already\ngate is added\n"
    entries = registry.entries()
    assert b"10.0.0.7" in bytes(entries["door"].source)
    assert entries["door"].paused
    assert b"10.0.0.8" in bytes(entries["gate"].source)


def test_a_file_is_added_by_its_whole_path(streams, registry, tmp_path, monkeypatch):
    make_clip(tmp_path / "clip.mp4", frames=2)
    monkeypatch.chdir(tmp_path)
    streams("add", "clip.mp4#loop")
    assert f"{tmp_path}/clip.mp4".encode() in bytes(registry.get("clip").source)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("add", "door=rtsp://10.0.0.9/live"), "door: expected a name that is free"),
        (("add", "rtsp://u:hunter2@10.0.0.9/live"), "expected credentials apart"),
        (("add", "gopher://host"), "unknown scheme"),
        (("pause", "dor"), "dor: no such stream; did you mean door?"),
        (("remove", "door", "x"), "x: no such stream; `streamer streams list` has them"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_done(streams, registry, arguments, expected):
    registry.put("door", b'{"stream_id":"door","url":"rtsp://10.0.0.7/live"}')
    before = registry.read()
    error = streams(*arguments).exception
    assert isinstance(error, ConfigError)
    assert expected in str(error)
    assert "hunter2" not in str(error)
    assert registry.read() == before


def test_without_a_pipeline_it_says_what_to_do(valkey, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    bare = CliRunner().invoke(streams_app, ["list", "--redis", valkey.url])
    assert isinstance(bare.exception, ConfigError)
    none = CliRunner().invoke(streams_app, ["list"])
    assert isinstance(none.exception, TransportError)
    assert "start one with `streamer run`" in str(none.exception)
