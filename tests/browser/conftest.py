"""A real Chromium, and a gateway with made-up cameras behind it."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.wall import TOKEN, made_up_wall

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Page

    from tests.wall import Wall

DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 360, "height": 740}

expect.set_options(timeout=20_000)


@pytest.fixture(scope="module")  # while it is open, this thread has an event loop
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium")
    if path is None:
        reason = "there is no chromium; `make test` as root installs it"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def wall(tmp_path) -> Iterator[Wall]:
    with made_up_wall(tmp_path, num_cameras=3, minutes=1.0) as wall:
        yield wall


@pytest.fixture
def open_page(browser: Browser, wall: Wall) -> Iterator[Callable[..., Page]]:
    """Opens the page in a browser profile of its own; it must throw nothing and ask no others."""
    contexts, wrong = [], []

    def open_(path: str = "/", *, token: str | None = TOKEN, **options) -> Page:
        options.setdefault("viewport", DESKTOP)
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda asked: _check_origin(asked.url, wall.url, wrong))
        page.on("console", lambda said: _check_console(said.text, wrong))
        if token is not None:
            path += ("&" if "?" in path else "?") + f"token={token}"
        page.goto(wall.url + path)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert wrong == []


def _check_origin(url: str, own: str, wrong: list[str]) -> None:
    if not url.startswith(own):
        wrong.append(f"asked {url}")


def _check_console(text: str, wrong: list[str]) -> None:
    if "Content Security Policy" in text or "TrustedHTML" in text:
        wrong.append(text)
