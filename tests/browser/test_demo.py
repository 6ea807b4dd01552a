"""`streamer demo`: from the address it prints to a page with everything on it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import DESKTOP

PATIENCE_MS = 60_000


@pytest.fixture
def address(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    command = [sys.executable, "-m", "streamer.cli.main", "demo"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as demo:
        assert demo.stdout is not None
        try:
            found = (re.search(r"http://\S+token=\S+", line) for line in demo.stdout)
            yield next(address[0] for address in found if address)
        finally:
            demo.send_signal(signal.SIGINT)


def test_the_demo_opens_to_a_page_that_says_what_is_happening(browser, address):
    with browser.new_context(viewport=DESKTOP) as context:
        page = context.new_page()
        page.goto(address)
        cards = page.locator("stream-card")
        expect(cards).to_have_count(4, timeout=PATIENCE_MS)
        phases = re.compile("idle|reach|grasp|move|place|inspect")
        for card in cards.all():
            expect(card.locator(".chip")).to_have_text("live", timeout=PATIENCE_MS)
            expect(card.locator(".phase strong")).to_have_text(phases, timeout=PATIENCE_MS)
            expect(card.locator(".picture[data-has]")).to_have_count(1, timeout=PATIENCE_MS)
        snapshot = page.locator(".scroller img:not([hidden])").first
        expect(snapshot).to_be_visible(timeout=PATIENCE_MS)
        assert snapshot.evaluate("image => image.naturalWidth") > 64
        page.get_by_role("button", name="Pause workcell-8").click()
        paused = page.locator("stream-card[data-state=paused]")
        expect(paused).to_have_count(1, timeout=PATIENCE_MS)
        page.get_by_role("button", name="Resume workcell-8").click()
        expect(paused).to_have_count(0, timeout=PATIENCE_MS)
