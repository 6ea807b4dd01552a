"""A dataset of a user's own clips, for heads beyond classes per frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from streamer.core.errors import ConfigError
from streamer.training.annotations import Split
from streamer.training.clip_reading import ClipReading
from streamer.training.clip_truth import order_of, phases_at, values_of, words_of
from streamer.training.clips import ClipExample
from streamer.training.splitting import deal_out

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from streamer.core.clock import Clock
    from streamer.models.config import Head, Pooling
    from streamer.training.clip_reading import Draft
    from streamer.training.dataset import Progress
    from streamer.training.features import TrackMaker


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledClip:
    """A clip with features and truth.

    Attributes:
        example: What training needs.
        pts_T: float64, seconds from the video's first frame.
        group: The source it was cut from.
        phases_T: Of a CTC: int64, the phase of each frame, -1 between; None: only the order is
            known.
        words: Of a caption, also those that the model does not know.
    """

    example: ClipExample
    pts_T: np.ndarray
    group: str
    phases_T: np.ndarray | None = None
    words: tuple[str, ...] = ()

    @property
    def features_TD(self) -> np.ndarray:
        """float16."""
        return self.example.views[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipDataset:
    """Clips by part.

    Attributes:
        origin: What it is made of, for the model card.
        names: Classes, phases, names of values, or the words of captions: see `ModelConfig`.
        train: To learn from.
        validation: To stop in time.
        test: To measure on, once.
    """

    origin: str
    names: tuple[str, ...]
    train: tuple[LabelledClip, ...]
    validation: tuple[LabelledClip, ...]
    test: tuple[LabelledClip, ...]


def clip_dataset(
    path: Path,
    *,
    head: Head,
    pooling: Pooling,
    seed: int,
    maker: TrackMaker,
    clock: Clock,
    progress: Callable[[Progress], None],
) -> ClipDataset:
    """A user's own clips, in the parts that the table names, or dealt out by chance.

    Args:
        path: The table, see `streamer.training.annotations.clip_table`.
        head: Any but `frames`.
        pooling: Of the head.
        seed: Decides which sources are in which part.
        maker: Makes or reads the features.
        clock: For the sources.
        progress: Is told how far it is.

    Raises:
        ConfigError: The table or a video is not usable, or there are too few. What the table alone
            shows is found before any feature is made.
    """
    reading = ClipReading(path, head, pooling, for_training=True, progress=progress)
    drafts = reading.cut(maker, clock, progress)
    parts = _dealt(path, reading, drafts, seed)
    names = reading.labels
    if head == "caption":
        names = tuple(
            sorted({word for draft in parts[Split.TRAIN] for word in words_of(draft.rows)})
        )
    train, validation, test = (
        tuple(_labelled(draft, head, names) for draft in parts[split]) for split in Split
    )
    origin = (
        f"{len(train)} clips of `{path.name}`; {len(validation)} to validate, {len(test)} to test"
    )
    return ClipDataset(origin=origin, names=names, train=train, validation=validation, test=test)


def load_clips(
    path: Path,
    *,
    head: Head,
    pooling: Pooling,
    names: Sequence[str],
    split: Split | None,
    seed: int,
    maker: TrackMaker,
    clock: Clock,
    progress: Callable[[Progress], None],
) -> tuple[LabelledClip, ...]:
    """Clips to measure a model on.

    Args:
        path: See `clip_dataset`, as the other arguments.
        head: Of the model.
        pooling: Of the head.
        names: What the model knows: its classes, phases, values or words.
        split: Which part, as `clip_dataset` deals them out; None: all.
        seed: That `clip_dataset` was given.
        maker: Makes or reads the features.
        clock: For the sources.
        progress: Is told how far it is.

    Raises:
        ConfigError: The table is not usable, or names classes or values that the model lacks.
    """
    reading = ClipReading(path, head, pooling, for_training=False, progress=progress)
    if head != "caption":
        reading.check_known(names)
    drafts = reading.cut(maker, clock, progress)
    if split is None:
        chosen = [draft for each in drafts for draft in each]
    else:
        chosen = list(_dealt(path, reading, drafts, seed)[split])
    return tuple(_labelled(draft, head, tuple(names)) for draft in chosen)


def _dealt(
    path: Path, reading: ClipReading, drafts: Sequence[tuple[Draft, ...]], seed: int
) -> dict[Split, tuple[Draft, ...]]:
    def missing(train: Sequence[tuple[Draft, ...]]) -> list[str]:
        seen = {row.label for each in train for draft in each for row in draft.rows.rows}
        return [label for label in reading.labels if label not in seen]

    try:
        parts = deal_out(reading.recordings, drafts, missing=missing, seed=seed)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return {split: tuple(draft for each in part for draft in each) for split, part in parts.items()}


def _labelled(draft: Draft, head: Head, names: tuple[str, ...]) -> LabelledClip:
    rows, pts_T = draft.rows, draft.pts_T
    phases_T, words = None, tuple[str, ...]()
    if head == "sequence":
        target = np.array(names.index(rows.rows[0].label), np.int64)
    elif head == "regression":
        target = values_of(rows, names, pts_T)
        if not np.isfinite(target).any():
            raise rows.fault(
                f"{rows.name}: expected values that hold in an analysed frame, found none"
            )
    elif head == "ctc":
        target = np.array([names.index(label) for label in order_of(rows)], np.int64)
        phases_T = phases_at(rows, names, pts_T)
        # Between two of the same label, a path needs a blank.
        needed = target.size + int((target[1:] == target[:-1]).sum())
        if needed > len(pts_T):
            raise rows.fault(
                f"{rows.name}: expected at least {needed} analysed frames for {target.size} "
                f"phases, found {len(pts_T)}; analyse more frames per second"
            )
    else:
        words = words_of(rows)
        # What the training part never said can't be said: it counts when the model is measured.
        target = np.array([names.index(word) for word in words if word in names], np.int64)
    return LabelledClip(
        example=ClipExample(name=rows.name, views=(draft.features_TD,), target=target),
        pts_T=pts_T,
        group=draft.group,
        phases_T=phases_T,
        words=words,
    )
