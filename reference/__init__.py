"""Pages of `docs/` that are written from the code: `make generated` writes them again.

Each module has `PAGE`, the page's name in `docs/`, and `text()`, the whole page. Nothing else may
write to these pages; a test fails when one is stale.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

DOCS = Path(__file__).parents[1] / "docs"

MODULES = ("cli", "events", "metrics", "settings")
"""The modules here that write a page. A new one is listed here."""

NOTICE = "<!-- Written by `make generated`. Change what it is written from. -->"
"""The first line of each page."""


class Page(Protocol):
    """A module that writes a page."""

    PAGE: str

    def text(self) -> str:
        """The whole page, with a newline at its end."""
        ...


def pages() -> dict[Path, str]:
    """Each generated page: where it belongs, and what it has to be."""
    modules = [cast("Page", import_module(f"reference.{name}")) for name in MODULES]
    return {DOCS / module.PAGE: f"{NOTICE}\n\n{module.text()}" for module in modules}
