"""`streamer top`, as a command."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import deque

import pytest
from rich.console import Console

from streamer.cli.dashboard import StreamView, streams_table
from tests.wall import TOKEN, made_up_wall


@pytest.fixture(scope="module")
def wall(tmp_path_factory):
    with made_up_wall(tmp_path_factory.mktemp("wall"), num_cameras=2, minutes=0.5) as wall:
        for history in wall.histories.values():
            history.end()
            history.seq += 3
            history._enter("grasp", history.now_ns, None)
        wall.publish()
        yield wall


def run_top(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "streamer.cli.main", "top", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "COLUMNS": "160", **environment},
    )


def test_it_shows_the_same_over_redis_and_over_a_gateway(wall):
    over_redis = run_top("--redis", wall.redis_url)
    over_http = run_top("--url", wall.url, "--token", "env:WALL_TOKEN", WALL_TOKEN=TOKEN)
    by_variable = run_top("--url", wall.url, STREAMER_TOKEN=TOKEN)
    for shown in (over_redis, over_http, by_variable):
        assert (shown.returncode, shown.stderr) == (0, "")
        rows = [line for line in shown.stdout.splitlines() if "cam" in line]
        assert [row.split()[:3] for row in rows] == [
            ["cam1", "live", "grasp"],
            ["cam2", "live", "grasp"],
        ]


def test_numbers_are_whole_in_a_narrow_terminal():
    busy = StreamView(
        state="reconnecting",
        reason="read_timeout",
        phase="inspect",
        confidence=0.97,
        actions=dict.fromkeys(("carrying", "lamp_on", "person_passing"), 0.9),
        latencies=deque([0.109, 0.185]),
        drops=12345,
        fps=10.0,
    )
    console = Console(width=80)
    with console.capture() as capture:
        console.print(streams_table({"workcell-10": busy}))
    shown = capture.get()
    for whole in ("workcell-10", "inspect", "0.97", "10.0", "12345", "147 ms", "181 ms"):
        assert whole in shown
    assert "…" not in shown


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("--redis", "redis://x", "--url", "http://x"), 2, "found both"),
        (("--redis", "redis://x", "--token", "x"), 2, "--url"),
        (("--url", "ftp://x"), 2, "http://HOST:PORT"),
        (("--url", "http://127.0.0.1:9"), 1, "127.0.0.1:9"),
    ],
)
def test_what_can_not_be_is_told(arguments, code, told):
    shown = run_top(*arguments)
    assert shown.returncode == code
    assert told in shown.stderr
    assert "Traceback" not in shown.stderr


def test_a_wrong_token_is_told(wall):
    shown = run_top("--url", wall.url, STREAMER_TOKEN="nonsense")
    assert shown.returncode == 2
    assert "401" in shown.stderr
