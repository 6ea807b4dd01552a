"""The labelled videos that a bundle is measured on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamer.core.errors import ConfigError
from streamer.training.annotations import Kind, Labels
from streamer.training.checks.check import read_checked
from streamer.training.splitting import deal
from streamer.training.video_dataset import read_examples

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from streamer.core.clock import Clock
    from streamer.training.annotations import Split
    from streamer.training.dataset import Example, Progress
    from streamer.training.features import TrackMaker
    from streamer.training.recording import Recording


def load_videos(
    path: Path,
    *,
    labels: Labels,
    split: Split | None,
    seed: int,
    maker: TrackMaker,
    clock: Clock,
    progress: Callable[[Progress], None],
) -> tuple[Example, ...]:
    """Features and truth of the videos.

    Args:
        path: The table of labels, see `streamer.training.annotations.table`.
        labels: Of the bundle.
        split: Which part, as `streamer fit` deals them out; None: all.
        seed: The split seed that `streamer fit` was given.
        maker: Makes or reads the features.
        clock: For the sources.
        progress: Is told how far it is.

    Raises:
        ConfigError: The table is not usable, names labels that the bundle doesn't know, can't be
            split, or a video can't be read.
    """
    recordings = read_checked(path, progress, for_training=False)
    _check_labels(path, recordings, labels)
    examples = read_examples(
        path, recordings, labels=labels, maker=maker, clock=clock, progress=progress
    )
    if split is None:
        return examples
    try:
        return deal(recordings, examples, labels=labels, seed=seed)[split]
    except ConfigError as error:
        raise ConfigError(
            f"{path}: {error}; leave out --split to evaluate on all of them"
        ) from None


def _check_labels(path: Path, recordings: Sequence[Recording], labels: Labels) -> None:
    known = {Kind.PHASE: labels.phases, Kind.ACTION: labels.actions}
    for recording in recordings:
        for row in recording.rows:
            note = row.annotation
            if note.label not in known[note.kind]:
                raise ConfigError(
                    f"{path}, line {row.line}: {recording.path.name}: expected {note.kind}s of the "
                    f"bundle ({', '.join(known[note.kind]) or 'it has none'}), found {note.label!r}"
                )
