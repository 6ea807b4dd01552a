"""Every message that somebody may meet while running it is on a page, as is every log line."""

from __future__ import annotations

import ast
import re

import pytest

from tests.pages import DOCS, ROOT

ERRORS = {"ConfigError", "SourceError", "TransportError", "ModelError", "StateError"}
ERRORS |= {"WorkerFailed", "StreamerError", "MemoryFullError"}
PAGES = ("troubleshooting.md", "cameras.md")
LEFT_OUT = ("streamer/training/", "streamer/cli/", "streamer/models/encoders/efficientnet_lite0/")
"""Errors of training are those of `dataset check`; those about what was typed say all there is."""
_COMMANDS = ("local", "run", "settings", "streams", "token", "events", "replay")
KEPT = tuple(f"streamer/cli/{name}" for name in _COMMANDS)
LEVELS = {"info", "warning", "error", "exception", "warn"}
HOLE = "…"


def sources():
    for room in ("streamer", "workers"):
        yield from sorted((ROOT / room).rglob("*.py"))


def template(node):
    """A message's words, with a hole for each part that is computed."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else HOLE for part in node.values
        )
    return HOLE


def calls():
    for path in sources():
        name = str(path.relative_to(ROOT))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and node.args:
                yield name, node


def errors():
    for name, call in calls():
        raised = isinstance(call.func, ast.Name) and call.func.id in ERRORS
        if raised and (not name.startswith(LEFT_OUT) or name.startswith(KEPT)):
            text = template(call.args[0])
            if text.strip(HOLE + " ;:"):  # what only repeats another error has no words of its own
                yield f"{name}:{call.lineno}", text


def log_lines():
    for name, call in calls():
        function = call.func
        named = isinstance(function, ast.Attribute) and function.attr in LEVELS
        logs = named and re.search(
            r"\blog\b|_log\b|get_logger|_logger", ast.unparse(function.value)
        )
        warns = isinstance(function, ast.Name) and function.id == "warn"
        if (logs or (warns and name.startswith("streamer/runtime"))) and template(
            call.args[0]
        ) != HOLE:
            yield template(call.args[0])


def messages_on_pages():
    """Code on the pages that names messages, as patterns."""
    for page in PAGES:
        text = (DOCS / page).read_text()
        for row in re.findall(r"^\| (.+?) \|", text, re.MULTILINE):
            for code in re.findall(r"`([^`]+)`", row):
                words = [word for word in code.split(HOLE) if word.strip(" :;,")]
                size = sum(len(word.strip()) for word in words)
                pattern = ".*?".join(re.escape(word) for word in words)
                if size >= 5:
                    yield re.compile(pattern, re.DOTALL)
                elif size and not code.startswith(HOLE):
                    yield re.compile(f"^{pattern}", re.DOTALL)


PATTERNS = list(messages_on_pages())


@pytest.mark.parametrize(("place", "text"), list(errors()), ids=lambda value: value[:60])
def test_the_message_is_on_a_page(place, text):
    assert any(pattern.search(text) for pattern in PATTERNS), (
        f"{place}: {text!r} is neither in docs/troubleshooting.md nor in docs/cameras.md"
    )


@pytest.mark.parametrize("line", sorted(set(log_lines())))
def test_the_log_line_is_explained(line):
    explained = re.findall(r"^\| `([^`]+)` \|", (DOCS / "operate.md").read_text(), re.MULTILINE)
    assert any(line.startswith(known) for known in explained), line
