"""The examples of docs/subscribe.md, each as it stands there, against a real gateway."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from streamer.core.event import EventType
from streamer.transport.connection import connect
from streamer.transport.embedded import EmbeddedValkey
from tests.eventlog import append, make_event
from tests.gateways import TOKEN, serving_events
from tests.loopback import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import redis
    from playwright.sync_api import Page

PATIENCE_SECONDS = 30.0
PAGE = Path(__file__).parents[2] / "docs" / "subscribe.md"
_EXAMPLE = re.compile(r"^```(?P<language>\w+)\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL)

INSTALLED = {"curl", "redis-cli", "chromium"}
"""`make test` installs these."""


def example(language: str, containing: str) -> str:
    """The only example of the page in that language with that word in it."""
    found = [
        match["code"]
        for match in _EXAMPLE.finditer(PAGE.read_text())
        if match["language"] == language and containing in match["code"]
    ]
    assert len(found) == 1, f"{containing!r}: expected one {language} example, found {len(found)}"
    assert len(found[0].splitlines()) <= 14
    return found[0]


def program(name: str) -> str:
    """Where it is; skips without it."""
    path = shutil.which(name)
    if path is None:
        if os.environ.get("CI") == "true" and name in INSTALLED:
            pytest.fail(f"{name} is missing; install it (Debian: {name})")
        pytest.skip(f"needs {name}")
    return path


@pytest.fixture
def port() -> int:
    """Of the server: redis-cli knows no URLs of Unix sockets."""
    return free_port()


@pytest.fixture
def server(port) -> Iterator[EmbeddedValkey]:
    with EmbeddedValkey({"port": str(port), "bind": "127.0.0.1"}) as server:
        yield server


@pytest.fixture
def client(server) -> Iterator[redis.Redis]:
    client = connect(server.url)
    append(
        client,
        [
            make_event(0, stream="cam1", type=EventType.ACTION_START),
            make_event(1, stream="cam1", type=EventType.PHASE_TRANSITION),
        ],
    )
    yield client
    client.close()


@pytest.fixture
def url(server, client) -> Iterator[str]:
    with serving_events(server.url) as url:
        yield url


def hear(
    command: Sequence[str], client: redis.Redis, *, past: str, new: str, **environment: str
) -> None:
    """Start the example, and see that it tells what was, and then what comes."""
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "TOKEN": TOKEN, **environment},
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    watchdog = threading.Timer(PATIENCE_SECONDS, process.kill)
    watchdog.start()
    try:
        said = b""
        for wanted in (past, new):
            while wanted.encode() not in said:
                line = process.stdout.readline()
                assert line, (wanted, said, process.stderr.read())
                said += line
            if wanted == past:
                append(client, [make_event(2, stream="cam2", type=EventType.PHASE_TRANSITION)])
                append(client, [make_event(3, stream="cam2", type=EventType.ACTION_START)])
    finally:
        watchdog.cancel()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.communicate()


def test_python(url, client):
    code = example("python", "import subscribe\n")
    past, new = "cam1 grasp 0.93", "cam2 grasp 0.93"
    hear([sys.executable, "-c", code], client, past=past, new=new, URL=url)


def test_python_over_redis(server, client):
    code = example("python", "import subscribe\n")
    past, new = "cam1 grasp 0.93", "cam2 grasp 0.93"
    hear([sys.executable, "-c", code], client, past=past, new=new, URL=server.url)


def test_python_in_an_event_loop(url, client):
    code = example("python", "subscribe_async")
    past, new = "cam1 streamer.phase.transition", "cam2 streamer.action.start"
    hear([sys.executable, "-c", code], client, past=past, new=new, URL=url)


def test_curl(url, client):
    program("curl")
    code = example("sh", "curl -sN")
    hear(["bash", "-c", code], client, past='"/streams/cam1"', new='"/streams/cam2"', URL=url)


def test_node(url, client):
    node = program("node")
    code = example("js", "process.env")
    command = [node, "--input-type=module", "--eval", code]
    past, new = "/streams/cam1 streamer.phase", "/streams/cam2 streamer.action.start"
    hear(command, client, past=past, new=new, URL=url)


def test_redis_cli(port, client):
    program("redis-cli")
    code = example("sh", "redis-cli -u")
    address = f"redis://127.0.0.1:{port}"
    hear(["bash", "-c", code], client, past="cam1", new="cam2", REDIS=address)


def test_a_browser(url, client):
    from playwright.sync_api import sync_playwright

    code = example("js", "EventSource")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program("chromium"))
        page = browser.new_page()
        said: list[str] = []
        page.on("console", lambda message: message.type == "log" and said.append(message.text))
        page.goto(f"{url}/schemas/")  # any page of the gateway
        page.evaluate(f"async (token) => {{ {code} }}", TOKEN)
        wait_for_lines(page, said, 1)
        append(client, [make_event(2, stream="cam2", type=EventType.PHASE_TRANSITION)])
        wait_for_lines(page, said, 2)
        browser.close()
    assert said == ["/streams/cam1 grasp 0.93", "/streams/cam2 grasp 0.93"]


def wait_for_lines(page: Page, said: list[str], count: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(said) < count:
        assert time.monotonic() < deadline, said
        page.wait_for_timeout(20)
