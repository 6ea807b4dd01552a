"""What a message says about installing can be done."""

from __future__ import annotations

import ast
import re
import tomllib

from streamer.core.extras import how_to_install
from tests.pages import ROOT

EXTRAS = set(
    tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
)
SOURCES = [path for room in ("streamer", "workers") for path in (ROOT / room).rglob("*.py")]


def asked_for():
    """Extras that the code names: as arguments here, or to a `_missing` that passes it on."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            given = []
            if node.func.id == "how_to_install":
                given = node.args
            elif node.func.id == "_missing":
                given = [word.value for word in node.keywords if word.arg == "extra"]
            yield from (one.value for one in given if isinstance(one, ast.Constant))


def test_every_extra_that_is_asked_for_is_one():
    found = set(asked_for())
    assert {"cpu", "gpu", "otel", "train"} <= found <= EXTRAS


def test_it_says_what_to_type():
    assert how_to_install("otel") == (
        "install streamer with its extra otel: in its folder, pip install '.[otel]'"
    )
    assert how_to_install("cpu", "train").endswith(
        "extras cpu,train: in its folder, pip install '.[cpu,train]'"
    )


def test_nothing_sends_anybody_to_an_index_for_streamer():
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    pages += [path for room in ("docs", "streamer") for path in (ROOT / room).rglob("*.md")]
    wrong = [
        str(path.relative_to(ROOT))
        for path in [*SOURCES, *pages]
        if re.search(r"pip install (?:-\S+ )*['\"]?streamer\b", path.read_text(encoding="utf-8"))
    ]
    assert not wrong
