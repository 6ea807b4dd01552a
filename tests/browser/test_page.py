"""What a person sees and does on the page."""

from __future__ import annotations

import re
import time
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.sync_api import expect

from streamer.training.annotations.table import read_table
from streamer.transport.tokens import Scope, TokenStore
from tests.browser.conftest import PHONE
from tests.wall import TOKEN

HEADERS = {"Authorization": f"Bearer {TOKEN}"}


def cards(page):
    return page.locator("stream-card")


def rows(page):
    return page.locator(".scroller li:visible")


def until(page, expression, arg=None):
    """Wait for something to be true. Playwright's own way would need `unsafe-eval`."""
    for _ in range(200):
        if page.evaluate(expression, arg):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never true: {expression}")


def query(page):
    return parse_qs(urlsplit(page.url).query)


def test_a_token_in_the_address_signs_in_and_is_gone(open_page):
    page = open_page("/?range=5m")
    expect(cards(page)).to_have_count(3)
    expect(page.locator("#connection")).to_have_text("Connected")
    expect(page.locator("#summary")).to_have_text("3 cameras · 3 live")
    assert "token" not in page.url
    assert query(page) == {"range": ["5m"]}
    page.reload()
    expect(cards(page)).to_have_count(3)


def test_without_a_token_the_page_asks_for_one(open_page):
    page = open_page(token=None)
    dialog = page.get_by_role("dialog", name="Sign in")
    page.keyboard.press("Escape")
    expect(dialog).to_be_visible()
    dialog.get_by_label("Token").fill("nonsense")
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("alert")).to_contain_text("expected")
    dialog.get_by_label("Token").fill(TOKEN)
    dialog.get_by_role("button", name="Continue").click()
    expect(dialog).to_be_hidden()
    expect(cards(page)).to_have_count(3)


def test_a_card_says_what_the_gateway_says(open_page, wall):
    page = open_page()
    card = cards(page).first
    expect(card.locator("h2")).to_have_text("cam1")
    expect(card.locator(".chip")).to_have_text("live")
    streams = httpx.get(f"{wall.url}/v1/streams", headers=HEADERS).json()["streams"]
    live = streams[0]["live"]
    expect(card.locator(".phase strong")).to_have_text(live["phase"]["label"])
    expect(card.locator(".top .name")).to_have_text([top["label"] for top in live["top"]])
    expect(card.locator("[data-fact=missed]")).to_have_text(str(live["missing_frames"]))
    assert re.fullmatch(r"\d+ ms", card.locator("[data-fact=latency]").text_content())
    assert card.locator(".picture").get_attribute("data-has") is None


def test_news_arrive_by_themselves(open_page, wall):
    page = open_page()
    expect(cards(page)).to_have_count(3)
    until(page, "document.querySelectorAll('.scroller li').length > 0")
    before = sum(len(history.events) for history in wall.histories.values())
    wall.histories["cam2"].seq += 50
    for history in wall.histories.values():
        history.end()
    wall.histories["cam2"]._enter("grasp", wall.histories["cam2"].now_ns, None)
    wall.publish()
    assert sum(len(history.events) for history in wall.histories.values()) > before
    expect(cards(page).nth(1).locator(".phase strong")).to_have_text("grasp")
    expect(rows(page).filter(has_text="grasp").filter(has_text="cam2").first).to_be_visible()


def test_filters_stand_in_the_address(open_page, wall):
    page = open_page()
    wall.go_on(30)
    expect(rows(page).first).to_be_visible()
    page.get_by_role("combobox", name="Camera").select_option("cam2")
    page.get_by_label("Actions", exact=True).check()
    page.get_by_role("slider", name="Least confidence").fill("50")
    assert query(page) == {"stream": ["cam2"], "type": ["action.*"], "min_confidence": ["0.5"]}
    shown = "[...document.querySelectorAll('.scroller li:not([hidden])')]"
    until(
        page,
        f"{shown}.length && {shown}.every(row => row.textContent.includes('cam2')"
        " && parseInt(row.querySelector('.row-confidence').textContent) >= 50"
        " && /start|ends/.test(row.querySelector('.row-detail').textContent))",
    )
    page.reload()
    expect(page.get_by_role("combobox", name="Camera")).to_have_value("cam2")
    expect(page.get_by_label("Actions", exact=True)).to_be_checked()
    expect(page.get_by_role("slider", name="Least confidence")).to_have_value("50")
    page.get_by_label("Actions", exact=True).uncheck()
    page.get_by_role("combobox", name="Camera").select_option("")
    page.get_by_role("slider", name="Least confidence").fill("0")
    assert query(page) == {}


def test_the_time_shown_stands_in_the_address(open_page):
    page = open_page()
    page.get_by_label("15 min").check()
    assert query(page) == {"range": ["15m"]}
    page.reload()
    expect(page.get_by_label("15 min")).to_be_checked()


def test_the_feed_stays_where_somebody_reads(open_page, wall):
    page = open_page("/?stream=cam1")
    expect(cards(page)).to_have_count(3)
    wall.go_on(60)
    scroller = page.locator(".scroller")
    until(page, "document.querySelector('.scroller ol').scrollHeight > 2000")
    scroller.evaluate("element => { element.scrollTop = 640; }")
    until(page, "document.querySelector('.scroller').scrollTop === 640")
    seen = rows(page).all_text_contents()
    wall.go_on(20)
    fresh = page.get_by_role("button", name="new")
    expect(fresh).to_be_visible()
    assert rows(page).all_text_contents() == seen
    fresh.click()
    expect(fresh).to_be_hidden()
    assert scroller.evaluate("element => element.scrollTop") == 0


def test_the_theme_follows_the_system_until_somebody_chooses(open_page):
    page = open_page(color_scheme="dark")
    root = page.locator("html")
    expect(root).to_have_attribute("data-theme", "dark")
    page.get_by_role("button", name="Light theme").click()
    expect(root).to_have_attribute("data-theme", "light")
    page.reload()
    expect(root).to_have_attribute("data-theme", "light")
    page.get_by_role("button", name="Dark theme").click()
    expect(root).to_have_attribute("data-theme", "dark")


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
    dialog.get_by_label("Until").fill("soon")
    save.click()
    expect(dialog.get_by_role("alert")).to_contain_text("found soon")
    start, end = dialog.get_by_label("From"), dialog.get_by_label("Until")
    was, until = start.input_value(), re.sub(r"\d$", "9", start.input_value())
    end.fill(was)
    start.fill(until)
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


def test_on_a_phone_nothing_is_wider_than_the_screen(open_page):
    page = open_page(viewport=PHONE, has_touch=True)
    expect(cards(page)).to_have_count(3)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    expect(page.locator("#events")).to_be_hidden()
    page.get_by_role("button", name="Events").click()
    expect(page.locator("#events")).to_be_visible()
    expect(cards(page).first).to_be_hidden()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.get_by_role("button", name="Cameras").click()
    expect(cards(page).first).to_be_visible()


def test_with_reduced_motion_nothing_is_animated(open_page):
    page = open_page(reduced_motion="reduce")
    expect(cards(page)).to_have_count(3)
    page.evaluate("document.querySelector('#connection').dataset.state = 'connecting'")
    dot = page.locator("#connection i")
    assert dot.evaluate("e => getComputedStyle(e).animationName") == "none"


def test_events_of_an_absence_come_after_it(open_page, wall):
    page = open_page()
    expect(page.locator("#connection")).to_have_text("Connected")
    wall.gateway.stop()
    expect(page.locator("#connection")).to_have_text("Reconnecting")
    wall.go_on(10)
    wall.gateway.restart()
    expect(page.locator("#connection")).to_have_text("Connected")
    numbers = {name: len(history.events) for name, history in wall.histories.items()}
    until(
        page,
        "async (numbers) => { const { timelines } = (await import('/web/store.js')).store;"
        " return Object.entries(numbers).every(([id, n]) => timelines.get(id)?.next === n); }",
        numbers,
    )
    seen = page.evaluate(
        "async () => (await import('/web/store.js')).store.events.map(e => e.source + e.sequence)"
    )
    assert len(seen) == len(set(seen))
    for history in wall.histories.values():
        newest = {event.source + event.sequence for event in history.events[-5:]}
        assert newest <= set(seen)


def test_who_may_only_read_sees_no_controls(open_page, wall):
    token = TokenStore(wall.client, keys=wall.keys).create(
        "reader", scopes=[Scope.EVENTS_READ], now_ns=time.time_ns()
    )
    page = open_page(token=token)
    expect(cards(page)).to_have_count(3)
    for name in ("Add camera", "Pause cam1", "Remove cam1", "Wrong label: what cam1 shows now"):
        expect(page.get_by_role("button", name=name)).to_be_hidden()


def test_text_of_others_is_shown_as_text(open_page, wall):
    page = open_page()
    expect(cards(page)).to_have_count(3)
    history = wall.histories["cam1"]
    history.end()
    history.seq += 20
    hostile = "<img src=x onerror=window.hacked=1>"
    history._enter(hostile, history.now_ns, None)
    history.phases.pop()
    wall.publish()
    expect(cards(page).first.locator(".phase strong")).to_have_text(hostile)
    expect(rows(page).first.locator("b")).to_have_text(hostile)
    assert page.evaluate("window.hacked") is None


def test_without_cameras_the_page_says_what_to_do(open_page, wall):
    wall.client.delete(wall.keys.streams)
    page = open_page()
    expect(page.get_by_role("heading", name="No cameras yet")).to_be_visible()
