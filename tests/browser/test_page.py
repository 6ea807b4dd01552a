"""What a person sees on the page."""

from __future__ import annotations

import re

import httpx
from playwright.sync_api import expect

from tests.browser.conftest import PHONE
from tests.browser.reading import cards, query, rows, until
from tests.wall import TOKEN

HEADERS = {"Authorization": f"Bearer {TOKEN}"}


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
    until(page, "document.querySelector('.scroller li').style.transform === 'translateY(576px)'")
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
