"""Who runs it for others finds the way from the README, by links alone."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from tests.pages import DOCS, ROOT

OPERATING = ("deploy.md", "monitoring.md", "runbooks/README.md")
WAY = (ROOT / "README.md", *(DOCS / page for page in OPERATING))
_LINK = re.compile(r"\]\(([^)#:]+\.md)(?:#[^)]*)?\)")


def linked(page):
    """The pages that a page links to."""
    return {(page.parent / link).resolve() for link in _LINK.findall(page.read_text())}


@pytest.mark.parametrize("page", OPERATING)
def test_the_readme_leads_there_within_two_links(page):
    first = linked(ROOT / "README.md")
    second = {target for near in first for target in linked(near)}
    assert DOCS / page in first | second


@pytest.mark.parametrize(("page", "then"), list(pairwise(WAY)))
def test_each_page_on_the_way_leads_to_the_next(page, then):
    assert then in linked(page)


@pytest.mark.parametrize("page", ["index.md", "operate.md"])
def test_the_pages_before_lead_to_all_of_them(page):
    assert linked(DOCS / page) >= {DOCS / target for target in OPERATING}


def test_every_alert_leads_on_from_the_index_of_runbooks():
    index = DOCS / "runbooks" / "README.md"
    assert {*index.parent.glob("*.md")} - {index} <= linked(index)
