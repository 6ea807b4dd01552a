"""Everything that the pages tell somebody to type, typed."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from streamer.cli.settings import known_keys
from tests.pages import ROOT, Treatment, blocks, pages, unseen, why_slow
from tests.spoken_commands import faults, invocations, part_faults, unknown_settings
from tests.typing_session import Session

ALL = os.environ.get("TEST_DOCS") == "all"
"""Set by `make test-docs`: pages that take long are run too."""

RUN = (Treatment.RUN, Treatment.BACKGROUND, Treatment.UNTIL, Treatment.BROWSER, Treatment.FAILS)
BLOCKS = [block for page in pages() for block in blocks(page) if block.language]
_INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_SETTING = re.compile(r"(redis|ingest|encoder|temporal|gateway|metrics|log|tracing)\.[a-z_]+")
_FILE = re.compile(r".*\.(json|py|md|onnx|toml|conf|key|crt|yaml|yml|log|lua)")
_NO_SETTINGS = {"redis.acl_check_cmd"}
"""What looks like one: a function of Redis."""
_MADE_BY_USERS = ("deploy/compose/bundles", "deploy/compose/secrets")
_ROOMS = ("tests", "benchmarks", "streamer", "workers", "docs", "reference", "deploy", "docker")
_PLACES = tuple(f"{room}/" for room in _ROOMS)


def runnable_pages():
    for page in pages():
        if any(block.treatment in RUN and block.language for block in blocks(page)):
            why = why_slow(page)
            marks = [] if why is None or ALL else [pytest.mark.skip(f"make test-docs: {why}")]
            yield pytest.param(page, id=str(page.relative_to(ROOT)), marks=marks)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", list(runnable_pages()))
def test_a_page_typed_from_top_to_bottom(page):
    with Session() as session:
        for block in blocks(page):
            session.do(block)


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_what_is_to_be_typed_can_be_read(block):
    if block.language == "python":
        compile(block.script, str(block), "exec")
        return
    if block.language == "js" or block.treatment is Treatment.SHOWN:
        return
    assert block.script.strip(), f"{block}: there is nothing to type in it"
    checked = subprocess.run(
        ["bash", "-n"], input=block.script, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, f"{block}: {checked.stderr}"
    if block.treatment is not Treatment.FAILS:
        wrong = [fault for words in invocations(block.script) for fault in faults(words)]
        assert not wrong, f"{block}: {wrong}"
        assert not unknown_settings(block.script), str(block)
    for target in re.findall(r"^make ([a-z-]+)", block.script, re.MULTILINE):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), target


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_is_fenced_and_names_its_language(page):
    assert not unseen(page)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Type:\n\n    make demo\n", ["line 3"]),
        ("# A\n\n- one\n\n    its second paragraph\n\nType:\n\n\tmake demo\n", ["line 9"]),
        ("```sh\nmake\n\n    demo\n```\n", []),
        ("Look:\n\n```\nmake demo\n```\n", ["line 3"]),
        ("A sentence\n    that goes on.\n", []),
    ],
)
def test_a_block_that_would_not_be_typed_is_found(tmp_path, text, found):
    page = tmp_path / "page.md"
    page.write_text(text)
    assert unseen(page) == found


def test_what_is_not_run_says_why():
    for block in BLOCKS:
        if block.treatment is not Treatment.RUN:
            assert len(block.note) > 3, str(block)


def inline():
    """Code within sentences and tables: page, text."""
    for page in pages():
        text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        for code in _INLINE.findall(text):
            yield page.relative_to(ROOT), code


def test_commands_within_sentences_exist():
    wrong = [
        f"{page}: {fault}"
        for page, code in inline()
        for words in invocations(code.replace("'", "").replace("…", "x"))
        for fault in part_faults(words)
    ]
    assert not wrong


def test_settings_within_sentences_exist():
    keys = {*known_keys()}
    wrong = [
        f"{page}: {code}"
        for page, code in inline()
        if _SETTING.fullmatch(code)
        and not _FILE.fullmatch(code)
        and code not in keys | _NO_SETTINGS
    ]
    wrong += [f"{page}: {name}" for page, code in inline() for name in unknown_settings(code)]
    assert not wrong


def test_the_tree_in_architecture_is_that_of_the_repository():
    text = (ROOT / "docs" / "architecture.md").read_text()
    drawn, above = set(), ""
    for indent, name in re.findall(r"^( {2})?([a-z0-9]+/)  ", text, re.MULTILINE):
        above = above if indent else name
        drawn.add(f"{above}{name}" if indent else name)
    there = {f"{room}/" for room in _ROOMS}
    for room in ("streamer", "deploy", "tests"):
        files = (ROOT / room).glob("*/**/*")
        folders = {file.relative_to(ROOT).parts[:2] for file in files if file.suffix != ".pyc"}
        there |= {f"{room}/{name}/" for _, name in folders if name != "__pycache__"}
    assert drawn == there


def test_places_in_the_repository_exist():
    wrong = []
    for page, code in inline():
        path = code.partition("::")[0].partition(" ")[0].rstrip("/")
        named = code.startswith(_PLACES) and not {*"…*<{"} & {*path}
        named = named and not path.startswith(_MADE_BY_USERS)
        if named and not (ROOT / path).exists():
            wrong.append(f"{page}: {code}")
    assert not wrong
