"""The page before an accessibility engine (axe)."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browser.conftest import DESKTOP, PHONE

VIEWS = {
    "light": {"viewport": DESKTOP, "color_scheme": "light"},
    "dark": {"viewport": DESKTOP, "color_scheme": "dark"},
    "phone": {"viewport": PHONE, "color_scheme": "light", "has_touch": True},
    "phone-dark": {"viewport": PHONE, "color_scheme": "dark", "has_touch": True},
}


def violations(page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [f"{v['id']}: {node['html'][:160]}" for v in found for node in v["nodes"]]


@pytest.mark.parametrize("view", VIEWS)
def test_nothing_is_violated(open_page, view):
    # The engine needs no relaxed policy: it comes in by the debugger.
    page = open_page(**VIEWS[view])
    expect(page.locator("stream-card")).to_have_count(3)
    expect(page.locator("stream-card [data-do=wrong]").first).to_be_enabled()
    assert violations(page) == []
    if "phone" in view:
        page.get_by_role("button", name="Events").click()
        assert violations(page) == []
        page.get_by_role("button", name="Cameras").click()
    for name in ("Add camera", "Remove cam1", "Wrong label: what cam1 shows now"):
        page.get_by_role("button", name=name).click()
        expect(page.locator("dialog[open]")).to_have_count(1)
        assert violations(page) == []
        page.keyboard.press("Escape")


def test_nothing_is_violated_before_signing_in(open_page):
    page = open_page(token=None)
    expect(page.get_by_role("dialog", name="Sign in")).to_be_visible()
    assert violations(page) == []
