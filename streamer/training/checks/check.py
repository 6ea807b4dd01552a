"""Checks a dataset: everything that would stop training or harm the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamer.core.errors import ConfigError
from streamer.training.annotations.documents import read_text
from streamer.training.annotations.table import scan_table
from streamer.training.checks.finding import Finding, Severity
from streamer.training.checks.media import check_media
from streamer.training.checks.rows import check_rows
from streamer.training.checks.splits import check_splits, check_training
from streamer.training.recording import group_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from streamer.training.annotations.table import Table
    from streamer.training.dataset import Progress
    from streamer.training.recording import Recording


def check_dataset(
    path: Path,
    *,
    known_labels: Collection[str] | None = None,
    for_training: bool = True,
    progress: Callable[[Progress], None] = lambda progress: None,
) -> list[Finding]:
    """Findings, errors first, else in the order of the checks.

    Args:
        path: The table of labels.
        known_labels: All that may occur; None: nobody said.
        for_training: Whether it is to be dealt out into parts and learned from; False: a model is
            to be measured on it.
        progress: Is told of each video that is looked at.

    Raises:
        ConfigError: The table can't be read at all.
    """
    table = scan_table(path)
    return _check(
        table,
        group_rows(table.rows),
        known_labels=known_labels,
        for_training=for_training,
        progress=progress,
    )


def read_checked(
    path: Path,
    progress: Callable[[Progress], None],
    *,
    for_training: bool = True,
    warn: Callable[[Finding], None] = lambda finding: None,
) -> list[Recording]:
    """The recordings of a table without errors.

    Args:
        path: The table of labels.
        progress: Is told of each video that is looked at.
        for_training: See `check_dataset`.
        warn: Is told each finding that stops nothing, also if another one does.

    Raises:
        ConfigError: A finding stops it; the first is named with its file and row.
    """
    table = scan_table(path)
    recordings = group_rows(table.rows)
    findings = _check(
        table, recordings, known_labels=None, for_training=for_training, progress=progress
    )
    for finding in findings:
        if finding.severity is Severity.WARNING:
            warn(finding)
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    if errors:
        more = len(errors) - 1
        rest = f" ({more} more: streamer dataset check {path})" if more else ""
        raise ConfigError(f"{errors[0]}{rest}")
    return recordings


def _check(
    table: Table,
    recordings: Sequence[Recording],
    *,
    known_labels: Collection[str] | None,
    for_training: bool,
    progress: Callable[[Progress], None],
) -> list[Finding]:
    findings = [
        *check_rows(table, known_labels),
        *check_splits(table, recordings),
        *(check_training(table, recordings) if for_training else ()),
        *check_media(table, recordings, progress),
    ]
    return sorted(findings, key=lambda finding: finding.severity is Severity.WARNING)


def read_known_labels(path: Path) -> list[str]:
    """Labels from a file, one per line.

    Raises:
        ConfigError: It can't be read or has none.
    """
    labels = [" ".join(line.split()) for line in read_text(path).splitlines()]
    if not any(labels):
        raise ConfigError(f"{path}: expected a label per line, found none")
    return [label for label in labels if label]
