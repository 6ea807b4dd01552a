"""The comparison: what is said of others has a source, what is said of us has evidence."""

from __future__ import annotations

import re

import pytest

from tests.pages import DOCS, ROOT

TEXT = (DOCS / "comparison.md").read_text()
SECTIONS = {part.partition("\n")[0]: part.partition("\n")[2] for part in TEXT.split("\n## ")[1:]}
CLAIMS = "What streamer claims, and where it shows"
OWN = {"In one table", "Where streamer is the wrong choice", CLAIMS}
PRODUCTS = {
    "NVIDIA DeepStream": ("docs.nvidia.com/",),
    "Savant": (
        "github.com/insight-platform/",
        "docs.savant-ai.io/",
        "insight-platform.github.io/",
    ),
    "Intel DL Streamer": (
        "github.com/open-edge-platform/",
        "docs.openvino.ai/",
        "dlstreamer.github.io/",
    ),
    "Frigate": ("docs.frigate.video/", "raw.githubusercontent.com/blakeblackshear/frigate/"),
    "Roboflow Inference": ("docs.roboflow.com/", "roboflow.github.io/"),
    "Triton Inference Server": ("docs.nvidia.com/", "github.com/triton-inference-server/"),
}


def test_all_products_are_there():
    assert set(SECTIONS) == OWN | set(PRODUCTS)


@pytest.mark.parametrize("product", PRODUCTS)
def test_what_is_said_of_another_has_a_source_of_its_own_makers(product):
    statements = re.findall(r"^- (.+)$", SECTIONS[product], re.MULTILINE)
    assert len(statements) >= 4, product
    assert any(statement.startswith("Better: ") for statement in statements)
    for statement in statements:
        sources = re.findall(r"\]\(https://([^)]+)\)", statement)
        assert sources, statement
        assert all(source.startswith(PRODUCTS[product]) for source in sources), statement


def test_sources_are_pages_for_people_that_stay():
    sources = re.findall(r"\]\((https://[^)]+)\)", TEXT)
    assert len(sources) > 30
    moving = [one for one in sources if one.rstrip("/").endswith(("/releases", "/tags"))]
    twins = [one for one in sources if one.endswith(".md") and "github" not in one]
    assert not moving + twins


def test_when_the_sources_were_read():
    assert re.search(r"read\s+on \d{4}-\d\d-\d\d", TEXT.partition("\n## ")[0])


def test_each_claim_about_streamer_shows_where():
    rows = re.findall(r"^\| (.+?) \| (.+) \|$", SECTIONS[CLAIMS], re.MULTILINE)[1:]
    assert len(rows) >= 8
    for claim, shown in rows:
        pages = [page.partition("#")[0] for page in re.findall(r"\]\(([^)]+)\)", shown)]
        places = re.findall(r"`([^`]+)`", shown)
        assert places or pages, claim
        assert all((DOCS / page).exists() for page in pages), claim
        assert all((ROOT / place).exists() for place in places), claim
