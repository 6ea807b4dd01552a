"""Measures outputs and announced segments against the truth."""

from __future__ import annotations

from functools import reduce
from operator import iadd
from typing import TYPE_CHECKING, Any

import numpy as np

from streamer.training.clip_tally import (
    ACTION_OVERLAP,
    OVERLAPS,
    tally_action,
    tally_clip,
    tally_phases,
)
from streamer.training.decoding import ClipDecoder
from streamer.training.metrics import Counts, painted
from streamer.training.metrics.frames import ClassScores, class_counts, confusion_matrix

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from streamer.models.bundle import DecoderConfig
    from streamer.training.annotations import Labels
    from streamer.training.clip_tally import ClipTally, PhaseTally
    from streamer.training.dataset import Example
    from streamer.training.decoding import Decoded


def evaluate(
    examples: Sequence[Example],
    logits: Sequence[np.ndarray],
    *,
    labels: Labels,
    decoder: DecoderConfig,
    analysis_fps: float,
    lookahead_frames: int = 0,
) -> dict[str, Any]:
    """Metrics over clips, rounded, as they stand in `metrics.json`.

    Args:
        examples: The clips.
        logits: float32 (T, C) of each.
        labels: The classes.
        decoder: Makes the segments.
        analysis_fps: Frames per second.
        lookahead_frames: How many frames later than a frame its outputs are known.

    Returns:
        `frames` (what each frame's output says at once), `phases` and `actions` (the segments
        that are announced), scores from 0 to 1, times in seconds.
    """
    decoded = decode_clips(
        examples,
        logits,
        labels=labels,
        decoder=decoder,
        analysis_fps=analysis_fps,
        lookahead_frames=lookahead_frames,
    )
    tallies = [
        tally_clip(*triple, labels=labels) for triple in zip(examples, logits, decoded, strict=True)
    ]
    return score(tallies, labels=labels)


def decode_clips(
    examples: Sequence[Example],
    logits: Sequence[np.ndarray],
    *,
    labels: Labels,
    decoder: DecoderConfig,
    analysis_fps: float,
    lookahead_frames: int = 0,
) -> list[Decoded]:
    """What is announced of each clip. Arguments: see `evaluate`."""
    clip_decoder = ClipDecoder(
        decoder, labels=labels, analysis_fps=analysis_fps, lookahead_frames=lookahead_frames
    )
    return [
        clip_decoder.decode(outputs, example.pts_T)
        for example, outputs in zip(examples, logits, strict=True)
    ]


def score(tallies: Sequence[ClipTally], *, labels: Labels) -> dict[str, Any]:
    """The metrics of `evaluate`, from counts. A clip may come more than once: see `bootstrap`."""
    metrics: dict[str, Any] = {
        "num_clips": len(tallies),
        "num_frames": sum(tally.num_frames for tally in tallies),
        "frames": _frames(tallies, labels),
    }
    if labels.phases:
        metrics["phases"] = _phases([tally.phases for tally in tallies])
    if labels.actions:
        by_label = {
            label: _round(_sum(tally.actions[action] for tally in tallies).f1)
            for action, label in enumerate(labels.actions)
        }
        mean = _round(float(np.mean(list(by_label.values()))))
        metrics["actions"] = {f"f1_at_{round(100 * ACTION_OVERLAP)}": mean, "by_label": by_label}
    return metrics


def confirmed_confusion(
    examples: Sequence[Example], decoded: Sequence[Decoded], *, num_phases: int
) -> np.ndarray:
    """Frames of each true phase (row) by confirmed phase, int64 (P, P + 1); the last: none."""
    counts_PP1 = np.zeros((num_phases, num_phases + 1), np.int64)
    for example, clip in zip(examples, decoded, strict=True):
        said_T = painted(clip.phases, example.pts_T)
        counts_PP1 += confusion_matrix(
            np.where(said_T < 0, num_phases, said_T), example.phases_T, num_classes=num_phases + 1
        )[:num_phases]
    return counts_PP1


def phase_metrics(examples: Sequence[Example], decoded: Sequence[Decoded]) -> dict[str, Any]:
    """Of announced phases.

    Frame accuracy here is that of the segments, known afterwards. Onsets are compared between
    analysed frames: the first that shows the phase, and the one said to be.
    """
    return _phases([tally_phases(*pair) for pair in zip(examples, decoded, strict=True)])


def action_counts(examples: Sequence[Example], decoded: Sequence[Decoded], action: int) -> Counts:
    """Segments of one action found, over all clips."""
    pairs = zip(examples, decoded, strict=True)
    return _sum(tally_action(example, clip, action) for example, clip in pairs)


def _phases(tallies: Sequence[PhaseTally]) -> dict[str, Any]:
    errors = np.array([error for tally in tallies for error in tally.onset_errors])
    found = errors[~np.isnan(errors)]
    delays = np.array([delay for tally in tallies for delay in tally.delays_seconds])
    retracted = sum(tally.retracted for tally in tallies)
    f1 = [_sum(tally.counts[k] for tally in tallies).f1 for k in range(len(OVERLAPS))]
    return {
        "frame_accuracy": _round(
            sum(tally.right for tally in tallies) / max(1, sum(tally.known for tally in tallies))
        ),
        "edit": _round(float(np.mean([tally.edit for tally in tallies]))),
        **{f"f1_at_{round(100 * k)}": _round(v) for k, v in zip(OVERLAPS, f1, strict=True)},
        "onsets": len(errors),
        "onsets_found_ratio": _round(len(found) / len(errors)) if len(errors) else None,
        "onset_error_median_seconds": _quantile(np.abs(found), 0.5),
        "onset_error_p90_seconds": _quantile(np.abs(found), 0.9),
        "onset_bias_median_seconds": _quantile(found, 0.5),
        "announcement_delay_median_seconds": _quantile(delays, 0.5),
        "retracted_ratio": _round(
            retracted / max(1, retracted + sum(tally.said for tally in tallies))
        ),
    }


def _frames(tallies: Sequence[ClipTally], labels: Labels) -> dict[str, Any]:
    metrics: dict[str, Any] = {}
    if labels.phases:
        confusion_PP = np.asarray(sum(tally.frames_PP for tally in tallies))
        right, known = int(np.diagonal(confusion_PP).sum()), int(confusion_PP.sum())
        f1 = ClassScores.of(class_counts(confusion_PP)).macro()["f1"]
        metrics["phase_accuracy"] = _round(right / known) if known else None
        metrics["phase_macro_f1"] = None if np.isnan(f1) else _round(f1)
    if labels.actions:
        scores = {
            label: _round(_sum(tally.frame_actions[action] for tally in tallies).f1)
            for action, label in enumerate(labels.actions)
        }
        metrics["action_macro_f1"] = _round(float(np.mean(list(scores.values()))))
        metrics["action_f1_by_label"] = scores
    return metrics


def _sum(counts: Iterable[Counts]) -> Counts:
    return reduce(iadd, counts, Counts())


def _round(value: float) -> float:
    return round(value, 4)


def _quantile(values: np.ndarray, part: float) -> float | None:
    return round(float(np.quantile(values, part)), 4) if len(values) else None
