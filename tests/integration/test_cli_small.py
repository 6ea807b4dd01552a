"""The small commands: events tail, sources probe, doctor."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import datetime

import pytest
from typer.testing import CliRunner

from streamer.cli.events import events_app
from streamer.cli.sources import sources_app
from streamer.cli.token import token_app
from streamer.core.errors import ConfigError, TransportError
from streamer.core.event import EventType, decode_event
from streamer.transport.connection import connect
from streamer.transport.embedded import EmbeddedValkey
from streamer.transport.gateway_address import GatewayAddress
from streamer.transport.rundir import RunDirectory
from tests.eventlog import append, make_event
from tests.gateways import TOKEN, serving_events
from tests.videos import make_clip

EVENTS = [
    make_event(0),
    make_event(1, type=EventType.ACTION_START),
    make_event(0, stream="other", type=EventType.PHASE_TRANSITION),
]


@pytest.fixture(autouse=True)
def runs_apart(monkeypatch, tmp_path):
    """No other run of this user is in sight."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@pytest.fixture
def client(valkey):
    client = connect(valkey.url)
    append(client, EVENTS)
    yield client
    client.close()


def tail(*arguments: str):
    return CliRunner().invoke(events_app, ["tail", *arguments])


def test_tail_prints_json_as_it_stands_in_the_log(valkey, client):
    result = tail("--redis", valkey.url, "--json", "--no-follow")
    assert result.exit_code == 0
    assert [decode_event(line) for line in result.stdout.splitlines()] == EVENTS


def test_tail_finds_the_running_pipeline_and_filters(valkey, client):
    result = tail("--json", "--no-follow", "--stream", "cam", "--type", "action.*")
    assert [decode_event(line) for line in result.stdout.splitlines()] == [EVENTS[1]]


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (("--stream", "c*"), EVENTS[:2]),
        (("--stream", "o*", "--stream", "x"), EVENTS[2:]),
        (("--min-confidence", "0.9"), EVENTS),
        (("--min-confidence", "0.95"), EVENTS[:1]),  # a status has none
    ],
)
def test_tail_takes_globs_and_a_confidence(valkey, client, arguments, found):
    result = tail("--json", "--no-follow", "--since", "10m", *arguments)
    assert [decode_event(line) for line in result.stdout.splitlines()] == found


def test_tail_prints_a_line_per_event_for_people(valkey, client):
    lines = tail("--since", "10m", "--no-follow").stdout.splitlines()
    assert len(lines) == 3
    assert "carry" in lines[1]
    assert "0.93" in lines[1]
    assert "grasp" in lines[2]
    assert not any("\x1b" in line for line in lines)


def test_tail_without_a_pipeline():
    error = tail().exception
    assert isinstance(error, TransportError)
    assert "no running pipeline" in str(error)


def test_tail_with_several_pipelines(valkey):
    with EmbeddedValkey() as second:
        error = tail().exception
    assert isinstance(error, ConfigError)
    assert valkey.url in str(error)
    assert second.url in str(error)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--redis", "redis://u:secret@127.0.0.1:1"), "connect"),
        (("--redis", "nonsense"), "expected a URL"),
        (("--redis", "redis://h", "--url", "http://h"), "found both"),
        (("--redis", "redis://h", "--since", "yesterday"), "since"),
    ],
)
def test_tail_with_bad_arguments(arguments, said):
    error = tail(*arguments).exception
    assert isinstance(error, ConfigError | TransportError)
    assert said in str(error)
    assert "secret" not in str(error)


def start_tail(*arguments: str) -> subprocess.Popen[str]:
    program = "from streamer.cli.events import events_app; events_app()"
    return subprocess.Popen(
        [sys.executable, "-c", program, "tail", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_tail_follows_until_it_is_interrupted(valkey, client):
    with start_tail("--json", "--since", "0") as process:
        got = [decode_event(process.stdout.readline()) for _ in EVENTS]
        append(client, [make_event(2)])
        got.append(decode_event(process.stdout.readline()))
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert process.stderr.read() == ""
    assert got == [*EVENTS, make_event(2)]


def test_tail_says_what_is_missing(valkey, client):
    with start_tail("--json", "--since", "0") as process:
        for _ in EVENTS:
            process.stdout.readline()
        append(client, [make_event(9)])
        assert decode_event(process.stdout.readline()).number == 9
        assert "7 event(s) of cam missing" in process.stderr.readline()
        process.terminate()


def test_tail_ends_with_its_pipeline(valkey, client):
    with start_tail("--json", "--since", "0") as process:
        process.stdout.readline()
        valkey.stop()
        assert process.wait(10) != 0
        assert "the pipeline has ended" in process.stderr.read()


def probe(*arguments: str):
    return CliRunner().invoke(sources_app, ["probe", "--seconds", "0.3", *arguments])


def test_probe_measures(tmp_path):
    clip = tmp_path / "clip.mp4"
    make_clip(clip)
    result = probe("--json", "--", str(clip), "lively=synthetic:workcell?fps=20")
    assert result.exit_code == 0
    file, scene = json.loads(result.stdout)
    assert file["stream"] == "clip"
    assert file["codec"] == "h264"
    assert (file["live"], file["clock"]) == (False, "file")
    assert file["width"] > 0
    assert file["fps"] == pytest.approx(25, rel=0.05)
    assert (scene["stream"], scene["live"], scene["clock"]) == ("lively", True, "host")
    assert (scene["width"], scene["height"]) == (320, 240)
    assert scene["fps"] == pytest.approx(20, rel=0.5)
    table = probe(str(clip)).stdout.splitlines()
    assert table[0].startswith("STREAM")
    assert table[1].split()[:2] == ["clip", "h264"]


def test_probe_tells_failures_in_one_line_each_and_goes_on(tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video at all")
    result = probe("rtsp://me:secret@127.0.0.1:9/live", str(broken), "synthetic:workcell")
    assert result.exit_code == 1
    assert "workcell" in result.stdout
    errors = result.stderr.splitlines()
    assert len(errors) == 2
    assert "rtsp://127.0.0.1:9/live" in errors[0]
    assert "broken.mp4" in errors[1]
    assert "secret" not in result.output


@pytest.mark.parametrize("source", ["gopher://x", "synthetic:nothing", "*.none"])
def test_probe_of_what_is_no_source(source):
    assert isinstance(probe(source).exception, ConfigError)


def test_doctor_looks_at_every_part():
    program = (
        "import typer; from streamer.cli.doctor import doctor; "
        "app = typer.Typer(); app.command()(doctor); app()"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, "--redis", "redis://me:secret@127.0.0.1:1"],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ,
        check=False,
    )
    verdicts = {line[5:20].strip(): line[:5].strip() for line in result.stdout.splitlines()}
    assert verdicts.keys() == {
        "python",
        "video",
        "onnxruntime",
        "torch",
        "valkey",
        "shared memory",
        "open files",
        "models",
        "redis",
    }
    assert verdicts["python"] == verdicts["video"] == verdicts["valkey"] == "ok"
    assert verdicts["redis"] == "fail"
    assert result.returncode == 1
    assert "secret" not in result.stdout + result.stderr
    assert "Traceback" not in result.stderr


class TestTokens:
    """`streamer token`, and tokens of other commands."""

    def run(self, *arguments: str):
        return CliRunner().invoke(token_app, [*arguments])

    def test_create_list_revoke(self, valkey, client):
        made = self.run("create", "bob", "--scope", "streams:write", "--expires", "12h")
        token = made.stdout.strip()
        assert token.startswith("streamer_")
        assert "not shown again" in made.stderr
        listed = self.run("list")
        assert "bob" in listed.stdout
        assert "streams:write" in listed.stdout
        assert token not in listed.output
        (row,) = json.loads(self.run("list", "--json").stdout)
        assert (row["name"], row["scopes"], row["expired"]) == ("bob", ["streams:write"], False)
        created, expires = (datetime.fromisoformat(row[key]) for key in ("created", "expires"))
        assert (expires - created).total_seconds() == 12 * 3600
        assert self.run("revoke", "bob").exit_code == 0
        assert json.loads(self.run("list", "--json").stdout) == []
        with pytest.raises(ConfigError, match="there is none"):
            CliRunner().invoke(token_app, ["revoke", "bob"], catch_exceptions=False)

    @pytest.mark.parametrize("expires", ["soon", "0d", "-1d", "1w"])
    def test_an_end_that_can_not_be(self, valkey, expires):
        with pytest.raises(ConfigError, match="--expires: expected a duration"):
            CliRunner().invoke(
                token_app, ["create", "bob", "--expires", expires], catch_exceptions=False
            )

    def test_tail_at_a_gateway(self, valkey, client, tmp_path, monkeypatch):
        file = tmp_path / "token"
        file.write_text(f"{TOKEN}\n")
        monkeypatch.setenv("MY_TOKEN", TOKEN)
        with serving_events(valkey.url) as url:
            base = ["--url", url, "--since", "0", "--no-follow", "--json"]
            for given in (f"file:{file}", "env:MY_TOKEN", TOKEN):
                lines = tail(*base, "--token", given).stdout.splitlines()
                assert [decode_event(line) for line in lines] == EVENTS
            failed = tail(*base)
            assert isinstance(failed.exception, ConfigError)
            assert "STREAMER_TOKEN" in str(failed.exception)
            monkeypatch.setenv("STREAMER_TOKEN", TOKEN)
            assert len(tail(*base).stdout.splitlines()) == len(EVENTS)

    def test_tail_at_the_gateway_of_an_own_run(self, valkey, client):
        with serving_events(valkey.url) as url:
            folder = RunDirectory()
            path = GatewayAddress(url=url, token=TOKEN).write(folder.path)
            assert path.stat().st_mode & 0o777 == 0o600
            result = tail("--url", url, "--since", "0", "--no-follow", "--json")
            folder.close()
        assert len(result.stdout.splitlines()) == len(EVENTS)

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("--token", "x"), "expected --url with --token"),
            (("--url", "http://127.0.0.1:1", "--token", "env:NO_SUCH"), "NO_SUCH is not set"),
            (("--url", "http://127.0.0.1:1", "--token", "file:/no/such"), "No such file"),
            (("--url", "http://127.0.0.1:1", "--token", "two words"), "expected a token as"),
        ],
    )
    def test_tokens_that_can_not_be(self, arguments, said):
        failed = tail(*arguments)
        assert isinstance(failed.exception, ConfigError)
        assert said in str(failed.exception)
        assert "two words" not in str(failed.exception)
