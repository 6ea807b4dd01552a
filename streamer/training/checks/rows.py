"""Findings in the table alone: faulty rows, overlaps, labels that can't be."""

from __future__ import annotations

import difflib
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from streamer.training.annotations.annotation import Kind
from streamer.training.annotations.table import MAX_OVERLAP_SECONDS, overlapping_phases
from streamer.training.checks.finding import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from streamer.training.annotations.table import Row, Table

MIN_SIMILARITY = 0.85
"""Labels this alike, one of them rare, look like one label misspelled."""
RARE_RATIO = 0.1
"""A label is rare beside another that occurs this many times as often."""


def check_rows(table: Table, known_labels: Collection[str] | None) -> Iterator[Finding]:
    """Findings in the rows.

    Args:
        table: As it was scanned.
        known_labels: All that may occur; None: nobody said.
    """
    for fault in table.faults:
        yield Finding(
            severity=Severity.ERROR,
            code="row",
            file=table.path,
            line=fault.line,
            text=fault.text,
            advice="correct the row, or remove it",
        )
    by_video: dict[Path, list[Row]] = defaultdict(list)
    for row in table.rows:
        by_video[row.video].append(row)
    for rows in by_video.values():
        yield from _phase_overlaps(table.path, rows)
        yield from _action_overlaps(table.path, rows)
    yield from _kinds(table)
    if known_labels is None:
        yield from _misspellings(table)
    else:
        yield from _unknown(table, known_labels)


def _phase_overlaps(path: Path, rows: Sequence[Row]) -> Iterator[Finding]:
    for before, after in overlapping_phases(rows):
        first, second = before.annotation, after.annotation
        yield Finding(
            severity=Severity.ERROR,
            code="phases-overlap",
            file=path,
            line=after.line,
            text=f"{after.video.name}: expected one phase at a time, found {second.label!r} from "
            f"{second.start_seconds:g} s and {first.label!r} (line {before.line}) until "
            f"{first.end_seconds:g} s",
            advice="correct the times, or give what may overlap the kind action",
        )


def _action_overlaps(path: Path, rows: Sequence[Row]) -> Iterator[Finding]:
    """The same action twice at once on one track: harmless, but rarely meant."""
    last: dict[tuple[str, str], Row] = {}
    for row in sorted(rows, key=lambda each: each.annotation.start_seconds):
        note = row.annotation
        if note.kind is not Kind.ACTION:
            continue
        before = last.get((note.label, note.track))
        if before is not None:
            overlap = before.annotation.end_seconds - note.start_seconds
            if overlap > MAX_OVERLAP_SECONDS:
                yield Finding(
                    severity=Severity.WARNING,
                    code="actions-overlap",
                    file=path,
                    line=row.line,
                    text=f"{row.video.name}: {note.label!r} begins at {note.start_seconds:g} s "
                    f"while it holds since line {before.line}",
                    advice="make one row of both, or give them different tracks",
                )
            if before.annotation.end_seconds >= note.end_seconds:
                continue
        last[note.label, note.track] = row


def _kinds(table: Table) -> Iterator[Finding]:
    first: dict[str, Row] = {}
    told = set()
    for row in table.rows:
        label, kind = row.annotation.label, row.annotation.kind
        known = first.setdefault(label, row)
        if known.annotation.kind is not kind and label not in told:
            told.add(label)
            yield Finding(
                severity=Severity.ERROR,
                code="two-kinds",
                file=table.path,
                line=row.line,
                text=f"label {label!r}: expected one kind, found {kind} and "
                f"{known.annotation.kind} (line {known.line})",
                advice="give it one kind everywhere, or two names",
            )


def _unknown(table: Table, known: Collection[str]) -> Iterator[Finding]:
    for row in table.rows:
        label = row.annotation.label
        if label not in known:
            near = difflib.get_close_matches(label, sorted(known), n=1)
            yield Finding(
                severity=Severity.ERROR,
                code="unknown-label",
                file=table.path,
                line=row.line,
                text=f"expected one of the {len(known)} known labels, found {label!r}",
                advice=f"did you mean {near[0]!r}?" if near else "correct it, or add it to them",
            )
    found = {row.annotation.label for row in table.rows}
    for label in sorted(set(known) - found):
        yield Finding(
            severity=Severity.ERROR,
            code="empty-class",
            file=table.path,
            text=f"expected rows with the label {label!r}, found none",
            advice="label some, or remove it from the known labels",
        )


def _misspellings(table: Table) -> Iterator[Finding]:
    """Rare labels that differ little from a frequent one, or only in upper and lower case."""
    counts = Counter(row.annotation.label for row in table.rows)
    lines = {row.annotation.label: row.line for row in reversed(table.rows)}
    for label, count in counts.items():
        others = [
            other
            for other in counts
            if other != label
            and (counts[other], other) > (count, label)
            and (
                other.casefold() == label.casefold()
                or (count < RARE_RATIO * counts[other] and _alike(other, label))
            )
        ]
        if others:
            yield Finding(
                severity=Severity.WARNING,
                code="unknown-label",
                file=table.path,
                line=lines[label],
                text=f"label {label!r} occurs {count} times, the similar {others[0]!r} "
                f"{counts[others[0]]} times",
                advice=f"write {others[0]!r} if it is the same",
            )


def _alike(one: str, other: str) -> bool:
    """`step 1` and `step 2` differ on purpose."""
    if any(character.isdigit() for character in one + other):
        return False
    return difflib.SequenceMatcher(None, one, other).ratio() >= MIN_SIMILARITY
