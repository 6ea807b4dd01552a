"""What the tests of the page look for in it."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit


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
