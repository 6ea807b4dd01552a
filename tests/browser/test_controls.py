"""What a person does on the page: every control, by pointer and by keyboard."""

from __future__ import annotations

import re
import time

import pytest
from playwright.sync_api import expect

from streamer.training.annotations.table import read_table
from streamer.transport.tokens import Scope, TokenStore
from tests.browser.reading import cards, until
from tests.wall import TOKEN

HEADERS = {"Authorization": f"Bearer {TOKEN}"}


def test_a_camera_is_paused_and_resumed(open_page, wall):
    page = open_page()
    page.get_by_role("button", name="Pause cam2").click()
    expect(cards(page).nth(1).locator(".chip")).to_have_text("paused")
    expect(page.locator("#summary")).to_have_text("3 cameras · 2 live · 1 paused")
    page.get_by_role("button", name="Resume cam2").click()
    expect(page.get_by_role("button", name="Pause cam2")).to_be_visible()
    expect(cards(page).nth(1).locator(".chip")).to_have_text("live")


def test_a_camera_is_removed_once_that_is_meant(open_page):
    page = open_page()
    page.get_by_role("button", name="Remove cam3").click()
    dialog = page.get_by_role("dialog", name="Remove cam3?")
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_be_hidden()
    expect(cards(page)).to_have_count(3)
    page.get_by_role("button", name="Remove cam3").click()
    dialog.get_by_role("button", name="Remove").click()
    expect(cards(page)).to_have_count(2)
    expect(page.get_by_text("cam3 is removed.")).to_be_visible()


def test_a_camera_is_added_and_what_is_refused_is_told(open_page):
    page = open_page()
    page.get_by_role("button", name="Add camera").click()
    dialog = page.get_by_role("dialog", name="Add a camera")
    add = dialog.get_by_role("button", name="Add", exact=True)
    add.click()
    expect(dialog.get_by_role("alert")).to_contain_text("Address")
    dialog.get_by_label("Address").fill("ftp://10.0.0.9/x")
    add.click()
    expect(dialog.get_by_role("alert")).to_contain_text("ftp")
    dialog.get_by_label("Address").fill("rtsp://10.0.0.9/live")
    dialog.get_by_label("Name", exact=True).fill("cam1")
    add.click()
    expect(dialog.get_by_role("alert")).to_contain_text("taken")
    dialog.get_by_label("Name", exact=True).fill("gate")
    add.click()
    expect(dialog).to_be_hidden()
    expect(cards(page)).to_have_count(4)
    expect(page.locator("#card-gate")).to_have_text("gate")
    expect(page.get_by_text("gate is added.")).to_be_visible()


def test_a_source_is_tested_before_it_is_added(open_page, wall):
    page = open_page()
    page.get_by_role("button", name="Add camera").click()
    dialog = page.get_by_role("dialog", name="Add a camera")
    dialog.get_by_label("Address").fill("rtsp://10.0.0.9/live")
    # The camera is the only thing here that is not there.
    found = {"codec": "h264", "width": 1920, "height": 1080, "fps": 25.0}
    page.route("**/v1/streams/probe", lambda route: route.fulfill(json=found))
    dialog.get_by_role("button", name="Test").click()
    expect(dialog.locator(".probe dd")).to_have_text(["h264", "1920", "1080", "25"])
    page.unroute("**/v1/streams/probe")
    dialog.get_by_label("Address").fill("ftp://10.0.0.9/x")
    dialog.get_by_role("button", name="Test").click()
    expect(dialog.get_by_role("alert")).to_contain_text("ftp")
    expect(dialog.locator(".probe")).to_be_empty()


@pytest.mark.parametrize("origin", ["card", "row", "ribbon"])
def test_a_wrong_label_is_corrected_in_the_training_table(open_page, wall, origin):
    page = open_page()
    expect(cards(page)).to_have_count(3)
    for history in wall.histories.values():
        history.end()
        history.seq += 5
        history._enter("grasp", history.now_ns, None)
        history.seq += 30
    wall.publish()
    expect(cards(page).first.locator(".phase strong")).to_have_text("grasp")
    if origin == "card":
        page.get_by_role("button", name="Wrong label: what cam1 shows now").click()
    elif origin == "row":
        page.get_by_role("combobox", name="Camera").select_option("cam1")
        page.get_by_role("button", name=re.compile("Wrong label: grasp, cam1")).first.click()
    else:
        page.get_by_role("slider", name="Timeline of cam1").press("ArrowRight")
        page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Wrong label")
    expect(dialog.locator("dd").nth(1)).to_have_text("grasp")
    expect(dialog.locator(".choices label")).to_have_text(["idle", "reach", "move", "place"])
    save = dialog.get_by_role("button", name="Save correction")
    save.click()
    expect(dialog.get_by_role("alert")).to_contain_text("Choose")
    dialog.get_by_label("reach").check()
    start, end = dialog.get_by_label("From"), dialog.get_by_label("Until")
    earlier, later = start.input_value(), end.input_value()
    end.fill("soon")
    save.click()
    expect(dialog.get_by_role("alert")).to_contain_text("found soon")
    start.fill(later)
    end.fill(earlier)
    save.click()
    expect(dialog.get_by_role("alert")).to_contain_text("after From")
    dialog.get_by_role("button", name="Close").click()
    expect(dialog).to_be_hidden()
    page.get_by_role("button", name="Wrong label: what cam1 shows now").click()
    dialog.get_by_label("Another label").fill("reach out")
    save.click()
    expect(dialog).to_be_hidden()
    expect(page.get_by_text("Saved: reach out")).to_be_visible()
    (row,) = read_table(wall.corrections).rows
    assert row.annotation.label == "reach out"
    assert row.annotation.kind == "phase"
    assert 0 < row.annotation.end_seconds - row.annotation.start_seconds < 60
    assert row.source == "cam1"


def test_a_ribbon_is_read_with_the_keyboard_and_the_pointer(open_page):
    page = open_page()
    ribbon = page.get_by_role("slider", name="Timeline of cam1")
    expect(cards(page)).to_have_count(3)
    until(page, "document.querySelector('time-ribbon').scene?.phases.length > 3")
    tip = page.get_by_role("tooltip")
    told = set()
    for key in ("ArrowRight", "ArrowLeft", "Home", "End", "ArrowLeft", "ArrowDown"):
        ribbon.press(key)
        expect(tip).to_be_visible()
        told.add(ribbon.get_attribute("aria-valuetext"))
    assert len(told) >= 4
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()
    box = ribbon.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 20)
    expect(tip).to_contain_text(re.compile(r"idle|reach|grasp|move|place|missing"))
    page.mouse.move(1, 1)
    expect(tip).to_be_hidden()


def test_dialogs_close_with_escape_and_give_the_focus_back(open_page):
    page = open_page()
    expect(cards(page)).to_have_count(3)
    for name in ("Add camera", "Remove cam1", "Wrong label: what cam1 shows now"):
        button = page.get_by_role("button", name=name)
        button.focus()
        page.keyboard.press("Enter")
        expect(page.locator("dialog[open]")).to_have_count(1)
        page.keyboard.press("Escape")
        expect(page.locator("dialog[open]")).to_have_count(0)
        expect(button).to_be_focused()


def test_everything_is_reached_with_the_tab_key_in_reading_order(open_page):
    page = open_page()
    expect(cards(page)).to_have_count(3)
    expect(cards(page).first.locator("[data-do=wrong]")).to_be_enabled()
    reached = []
    for _ in range(10):
        page.keyboard.press("Tab")
        focused = page.evaluate(
            "(() => { const e = document.activeElement, s = getComputedStyle(e);"
            " return [e.getAttribute('aria-label') || e.textContent.trim() || e.name,"
            " s.outlineStyle !== 'none' || e.matches('.segments input')]; })()"
        )
        reached.append(focused[0])
        assert focused[1], f"no visible focus: {focused[0]}"
    assert reached[:3] == ["Skip to the cameras", "range", "Dark theme"]
    assert reached[3:8] == [
        "Add camera",
        "Pause cam1",
        "Remove cam1",
        "Wrong label: what cam1 shows now",
        "Timeline of cam1",
    ]


def test_who_may_only_read_sees_no_controls(open_page, wall):
    token = TokenStore(wall.client, keys=wall.keys).create(
        "reader", scopes=[Scope.EVENTS_READ], now_ns=time.time_ns()
    )
    page = open_page(token=token)
    expect(cards(page)).to_have_count(3)
    for name in ("Add camera", "Pause cam1", "Remove cam1", "Wrong label: what cam1 shows now"):
        expect(page.get_by_role("button", name=name)).to_be_hidden()
