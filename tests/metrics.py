"""Reading metrics in tests."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

PAGE = Path(__file__).parents[1] / "docs/metrics.md"


def values(registry: CollectorRegistry) -> dict[tuple[str, ...], float]:
    """What a scrape gives: by name and labels' values, in the labels' alphabetical order."""
    return values_of(generate_latest(registry).decode())


def values_of(text: str) -> dict[tuple[str, ...], float]:
    """The same, of a text."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def families_of(text: str) -> set[str]:
    """Names of our families in a scrape, as the page has them."""
    kinds = re.findall(r"^# TYPE (streamer_\w+) \w+$", text, re.MULTILINE)
    return {kind for kind in kinds if not kind.endswith("_created")}


def families_on_page(role: str) -> set[str]:
    """Names of the families that the page lists for a role."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    section = ""
    for line in PAGE.read_text().splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ").lower()
        elif line.startswith("| `streamer_"):
            found[section].add(line.split("`")[1])
    return found["every role"] | found[role]
