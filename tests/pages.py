"""The documentation's pages as tests read them: their blocks, and what is done with each.

A block of `sh`, `console`, `python` or `js` is run. A comment on the line before its fence says
what else is done with it:

    <!-- background: TEXT -->   it keeps running; the test goes on when it has said TEXT
    <!-- until: TEXT -->        it is interrupted, as by Ctrl-C, when it has said TEXT
    <!-- browser: TEXT -->      it runs in a page of the gateway, until the console has TEXT
    <!-- fails: TEXT -->        it ends with another exit code than 0, and says TEXT
    <!-- parsed: WHY -->        CI can't run it; its commands, options and settings are checked
    <!-- shown: WHY -->         it is no command
    <!-- ctrl-c -->             what is in the background is interrupted (on a line of its own)

A page with `<!-- slow: WHY -->` in it is run by `make test-docs`. `python -m tests.pages` lists
what is not run, and why.
"""

from __future__ import annotations

import re
import sys
import textwrap
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

LANGUAGES = ("sh", "console", "python", "js")
"""What is run."""

_FENCE = re.compile(
    r"(?:^(?P<indent> *)<!-- (?P<treatment>\w+): (?P<note>[^\n]*?) -->\n)?"
    r"^(?P<margin> *)```(?P<language>\w+)\n(?P<code>.*?)^(?P=margin)```$"
    r"|^<!-- (?P<stop>ctrl-c) -->$",
    re.MULTILINE | re.DOTALL,
)
_FENCED = re.compile(r"^(?P<margin> *)```(?P<language>.*)\n(?:.*\n)*?(?P=margin)```$", re.MULTILINE)
_ITEM = re.compile(r" *(?:[-*+]|\d+\.) ")
_SLOW = re.compile(r"^<!-- slow: (.+) -->$", re.MULTILINE)


class Treatment(StrEnum):
    """What is done with a block."""

    RUN = "run"
    BACKGROUND = "background"
    UNTIL = "until"
    BROWSER = "browser"
    FAILS = "fails"
    PARSED = "parsed"
    SHOWN = "shown"
    STOP = "ctrl-c"


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block of a page."""

    page: Path
    line: int
    language: str
    code: str
    treatment: Treatment
    note: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def script(self) -> str:
        """What is typed: of a console's block, what stands after its prompts."""
        if self.language != "console":
            return self.code
        typed = re.findall(r"^[$>] (.*)$", self.code, re.MULTILINE)
        return "\n".join(typed) + "\n"

    @property
    def output(self) -> list[str]:
        """What the page says a console answers."""
        if self.language != "console":
            return []
        lines = self.code.splitlines()
        return [line for line in lines if line.strip() and not line.startswith(("$ ", "> "))]


def pages() -> list[Path]:
    """All of them."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """What is run of a page, and what might be, in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        language = "" if match["stop"] else match["language"]
        if language and language not in LANGUAGES:
            continue
        found.append(
            Block(
                page=page,
                line=_line(text, match.start()),
                language=language,
                code=textwrap.dedent(match["code"] or ""),
                treatment=Treatment(match["treatment"] or match["stop"] or "run"),
                note=match["note"] or "",
            )
        )
    return found


def unseen(page: Path) -> list[str]:
    """Blocks that `blocks` does not see: indented ones, and fences that name no language.

    Those without a language in runbooks are queries: `tests/monitoring` asks them.
    """
    text = page.read_text(encoding="utf-8")
    found = []
    if page.parent != DOCS / "runbooks":
        nameless = (match for match in _FENCED.finditer(text) if not match["language"])
        found += [f"line {_line(text, match.start())}" for match in nameless]
    prose = _FENCED.sub(lambda match: "\n" * match[0].count("\n"), text)
    in_list, blank = False, True
    for number, line in enumerate(prose.splitlines(), 1):
        indented = line.startswith(("    ", "\t"))
        if blank and indented and not in_list:
            found.append(f"line {number}")
        if line.strip() and not indented:
            in_list = bool(_ITEM.match(line)) or (in_list and line.startswith(" "))
        blank = not line.strip()
    return found


def why_slow(page: Path) -> str | None:
    """Why a page is not run by `make test`."""
    match = _SLOW.search(page.read_text(encoding="utf-8"))
    return None if match is None else match[1]


def _line(text: str, place: int) -> int:
    return text.count("\n", 0, place) + 1


def main() -> None:
    """List what is not run."""
    for page in pages():
        why = why_slow(page)
        if why is not None:
            sys.stdout.write(f"{page.relative_to(ROOT)}: only by `make test-docs`: {why}\n")
        for block in blocks(page):
            if block.treatment in (Treatment.PARSED, Treatment.SHOWN):
                sys.stdout.write(f"{block}: {block.treatment}: {block.note}\n")


if __name__ == "__main__":
    main()
