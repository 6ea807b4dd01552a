"""Pages that are written from the code say what the code says now."""

from __future__ import annotations

import json

import jsonschema
import pytest

from reference import DOCS, pages
from reference.events import EXAMPLES
from reference.markdown import prose, table
from streamer.core.event import EventType, decode_event
from streamer.core.event_schema import event_schema


@pytest.mark.parametrize("path", list(pages()), ids=lambda path: path.name)
def test_the_page_is_up_to_date(path):
    stale = path.read_text(encoding="utf-8") != pages()[path]
    assert not stale, f"docs/{path.relative_to(DOCS)} is stale: make generated"


def test_there_is_a_true_example_of_every_type():
    examples = json.loads(EXAMPLES.read_text())
    assert set(examples) == set(EventType)
    for kind, example in examples.items():
        jsonschema.validate(example, event_schema(kind, base=""))
        assert decode_event(json.dumps(example)).type == kind


def test_what_looks_like_markup_stands_as_it_is():
    assert prose("a * b, <c>, `d * e` and min_size") == r"a \* b, &lt;c>, `d * e` and `min_size`"
    assert table(("a",), [("b | c\nd",)]) == "| a |\n| --- |\n| b \\| c d |"
