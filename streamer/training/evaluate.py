"""Measures outputs and announced segments against the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from streamer.training.decoding import ClipDecoder
from streamer.training.losses import UNKNOWN
from streamer.training.metrics import (
    Counts,
    edit_score,
    frame_counts,
    macro_f1,
    onset_errors,
    painted,
    segment_counts,
    stretches,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.models.bundle import DecoderConfig
    from streamer.training.annotations import Labels
    from streamer.training.dataset import Example
    from streamer.training.decoding import Decoded

OVERLAPS = (0.10, 0.25, 0.50)
ACTION_OVERLAP = 0.25


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
    clip_decoder = ClipDecoder(
        decoder, labels=labels, analysis_fps=analysis_fps, lookahead_frames=lookahead_frames
    )
    decoded = [
        clip_decoder.decode(outputs, example.pts_T)
        for example, outputs in zip(examples, logits, strict=True)
    ]
    metrics: dict[str, Any] = {
        "num_clips": len(examples),
        "num_frames": sum(map(len, examples)),
        "frames": _frames(examples, logits, labels),
    }
    if labels.phases:
        metrics["phases"] = phase_metrics(examples, decoded)
    if labels.actions:
        metrics["actions"] = action_metrics(examples, decoded, labels)
    return metrics


def phase_metrics(examples: Sequence[Example], decoded: Sequence[Decoded]) -> dict[str, Any]:
    """Of announced phases.

    Frame accuracy here is that of the segments, known afterwards. Onsets are compared between
    analysed frames: the first that shows the phase, and the one said to be.
    """
    counts = {overlap: Counts() for overlap in OVERLAPS}
    edits, errors, right, known = [], [], 0, 0
    for example, clip in zip(examples, decoded, strict=True):
        truth = stretches(example.phases_T, example.pts_T)
        for overlap in OVERLAPS:
            counts[overlap] += segment_counts(clip.phases, truth, overlap=overlap)
        edits.append(edit_score(clip.phases, truth))
        errors += onset_errors(clip.phases, truth)
        said_T = painted(clip.phases, example.pts_T)
        right += int(((said_T == example.phases_T) & (example.phases_T != UNKNOWN)).sum())
        known += int((example.phases_T != UNKNOWN).sum())
    found = np.array([error for error in errors if not np.isnan(error)])
    delays = [delay for clip in decoded for delay in clip.delays_seconds]
    return {
        "frame_accuracy": _round(right / max(1, known)),
        "edit": _round(float(np.mean(edits))),
        **{f"f1_at_{round(100 * k)}": _round(counts[k].f1) for k in OVERLAPS},
        "onsets": len(errors),
        "onsets_found_ratio": _round(len(found) / len(errors)) if errors else None,
        "onset_error_median_seconds": _quantile(np.abs(found), 0.5),
        "onset_error_p90_seconds": _quantile(np.abs(found), 0.9),
        "onset_bias_median_seconds": _quantile(found, 0.5),
        "announcement_delay_median_seconds": _quantile(np.array(delays), 0.5),
        "retracted_ratio": _round(
            sum(clip.retracted for clip in decoded)
            / max(1, sum(clip.retracted + len(clip.phases) for clip in decoded))
        ),
    }


def action_metrics(
    examples: Sequence[Example], decoded: Sequence[Decoded], labels: Labels
) -> dict[str, Any]:
    """Segment F1 of announced actions, each and in the mean."""
    scores = {
        label: _round(action_counts(examples, decoded, action).f1)
        for action, label in enumerate(labels.actions)
    }
    return {
        f"f1_at_{round(100 * ACTION_OVERLAP)}": _round(float(np.mean(list(scores.values())))),
        "by_label": scores,
    }


def action_counts(examples: Sequence[Example], decoded: Sequence[Decoded], action: int) -> Counts:
    """Segments of one action found, over all clips."""
    counts = Counts()
    for example, clip in zip(examples, decoded, strict=True):
        held_T = np.where(example.actions_TA[:, action] > 0, action, -1)
        said = [segment for segment in clip.actions if segment.label == action]
        counts += segment_counts(said, stretches(held_T, example.pts_T), overlap=ACTION_OVERLAP)
    return counts


def _frames(
    examples: Sequence[Example], logits: Sequence[np.ndarray], labels: Labels
) -> dict[str, Any]:
    logits_NC = np.concatenate(list(logits))
    num_phases = len(labels.phases)
    metrics: dict[str, Any] = {}
    if num_phases:
        truth_N = np.concatenate([example.phases_T for example in examples])
        known_N = truth_N != UNKNOWN
        said_N = logits_NC[known_N, :num_phases].argmax(axis=1)
        metrics["phase_accuracy"] = _round(float((said_N == truth_N[known_N]).mean()))
        metrics["phase_macro_f1"] = _round(
            macro_f1(said_N, truth_N[known_N], num_classes=num_phases)
        )
    if labels.actions:
        held_NA = np.concatenate([example.actions_TA for example in examples]) > 0
        said_NA = logits_NC[:, num_phases:] > 0
        scores = {
            label: _round(frame_counts(said_NA[:, a], held_NA[:, a]).f1)
            for a, label in enumerate(labels.actions)
        }
        metrics["action_macro_f1"] = _round(float(np.mean(list(scores.values()))))
        metrics["action_f1_by_label"] = scores
    return metrics


def _round(value: float) -> float:
    return round(value, 4)


def _quantile(values: np.ndarray, part: float) -> float | None:
    return round(float(np.quantile(values, part)), 4) if len(values) else None
