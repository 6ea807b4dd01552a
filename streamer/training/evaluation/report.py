"""The report of an evaluation: Markdown for people, JSON for programs, and pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from streamer.core.errors import ConfigError
from streamer.training.annotations import Kind, Labels
from streamer.training.evaluation.foresight import foresight_lines
from streamer.training.evaluation.pictures import plot_confusion, plot_reliability
from streamer.training.evaluation.tables import (
    label_table,
    mean_and_deviation,
    result_table,
    spread_table,
    video_table,
)
from streamer.training.metrics.calibration import NUM_BINS
from streamer.training.metrics.onsets import TOLERANCE_SECONDS
from streamer.training.metrics.stability import FLICKER_SECONDS
from streamer.training.plots import plot_ribbons

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from streamer.training.dataset import Example
    from streamer.training.evaluation.run import BundleResult, KindResult, Policy

FORMAT_VERSION = 1
"""Of `report.json`."""
_TITLES = {Kind.PHASE: "Phases", Kind.ACTION: "Actions"}


def write_report(
    out: Path,
    *,
    origin: str,
    examples: Sequence[Example],
    results: Sequence[BundleResult],
    policy: Policy,
) -> None:
    """Write `report.md`, `report.json` and the pictures of each bundle.

    Args:
        out: The folder.
        origin: What was measured on, a line.
        examples: The videos.
        results: Of each bundle; all have the same labels.
        policy: They were measured by.

    Raises:
        ConfigError: The folder can't be written.
    """
    labels = Labels(results[0].bundle.config.phases, results[0].bundle.config.actions)
    text = "\n".join(_lines(origin, examples, results, policy)) + "\n"
    try:
        out.mkdir(parents=True, exist_ok=True)
        for number, result in enumerate(results, start=1):
            files = _pictures(result, number)
            if "confusion" in files:
                plot_confusion(out / files["confusion"], result.confusion_CC, labels.phases)
            plot_ribbons(out / files["ribbons"], examples, result.announced, labels)
            plot_reliability(out / files["reliability"], result)
        (out / "report.md").write_text(text, encoding="utf-8")
        (out / "report.json").write_bytes(_json(origin, examples, results, policy))
    except OSError as error:
        raise ConfigError(f"{out}: can't write the report ({error.strerror})") from error


def _pictures(result: BundleResult, number: int) -> dict[str, str]:
    """File names, by what they show."""
    names = ["ribbons", "reliability"]
    if Kind.PHASE in result.kinds:
        names.insert(0, "confusion")
    return {name: f"{name}-{number}.png" for name in names}


def _lines(
    origin: str,
    examples: Sequence[Example],
    results: Sequence[BundleResult],
    policy: Policy,
) -> Iterator[str]:
    first = results[0].bundle.config
    labels = Labels(first.phases, first.actions)
    frames = sum(map(len, examples))
    yield "# Evaluation"
    yield ""
    yield f"- **Data**: {origin}: {len(examples)} videos, {frames} analysed frames"
    for number, result in enumerate(results, start=1):
        bundle = result.bundle
        yield f"- **Bundle {number}**: `{bundle.path}` ({bundle.config.name}, {bundle.model_id})"
        if bundle.config.lookahead_frames:
            yield (
                f"- **Look-ahead of bundle {number}**: {bundle.config.lookahead_frames} frames "
                f"({1000 * bundle.config.lookahead_seconds:.0f} ms). Everything is told so much "
                "later than the frame that decides it, and delays include it"
            )
    yield from _policy_lines(policy, labels, num_videos=len(examples))
    if len(results) > 1:
        for kind in results[0].kinds:
            yield from ("", f"## {_TITLES[kind]}: mean ± standard deviation over bundles", "")
            yield from spread_table([result.kinds[kind] for result in results])
    for number, result in enumerate(results, start=1):
        for kind, found in result.kinds.items():
            yield from ("", f"## {_TITLES[kind]} of bundle {number}", "")
            yield from result_table(found, window_frames=policy.window_frames)
            yield from ("", f"### By label ({_TITLES[kind].lower()} of bundle {number})", "")
            yield from label_table(found.scorer.by_label())
            yield from ("", f"### By video ({_TITLES[kind].lower()} of bundle {number})", "")
            yield from video_table(_by_video(found, examples))
        if result.foreseen is not None:
            yield from foresight_lines(
                result.foreseen, number_=number, analysis_fps=first.analysis_fps
            )
        for name, file in _pictures(result, number).items():
            yield ""
            yield f"![{name} of bundle {number}]({file})"


def _policy_lines(policy: Policy, labels: Labels, *, num_videos: int) -> Iterator[str]:
    background = policy.background_of(labels)
    if background:
        yield (
            f"- **Background**: {', '.join(f'`{label}`' for label in background)}: not counted as "
            "segments or onsets, nor in means over classes; its frames count in the accuracy, in "
            "the calibration, and as negatives of others"
        )
    else:
        yield "- **Background**: none: every phase counts"
    if num_videos > 1:
        yield (
            f"- **95 %**: percentile bootstrap over videos, {policy.num_resamples} resamples, "
            f"seed {policy.seed}"
        )
    else:
        yield "- **95 %**: none: one video has no spread"
    yield (
        "- **Segments**: F1@k pooled over all videos (Farha and Gall 2019), and as the mean of "
        "each video's (Lea et al. 2017); edit score per video"
    )
    yield (
        "- **Onsets**: a point is the frame at which something was first announced (Shou et al. "
        f"2018). For delays an announcement belongs to a segment from {TOLERANCE_SECONDS:g} s "
        f"before it begins to {TOLERANCE_SECONDS:g} s after it ends; a missed onset is infinitely "
        "late; what held in the first frame has no onset. An announcement that stood and belongs "
        "to no segment is a false one"
    )
    yield (
        f"- **Flicker**: a label shown for less than {FLICKER_SECONDS:g} s while it was never true"
    )
    yield (
        f"- **Calibration**: ECE in {NUM_BINS} bins (Guo et al. 2017), of the most probable phase, "
        "or of each action's probability; calibrated AP weighs negatives as much as positives "
        "(De Geest et al. 2016)"
    )


def _by_video(
    result: KindResult, examples: Sequence[Example]
) -> list[tuple[str, Mapping[str, float]]]:
    ones_VV = np.eye(len(examples))
    return [
        (example.name, result.scorer.scores(only_V))
        for example, only_V in zip(examples, ones_VV, strict=True)
    ]


def _json(
    origin: str,
    examples: Sequence[Example],
    results: Sequence[BundleResult],
    policy: Policy,
) -> bytes:
    """Null: nothing to measure, or a delay that is a missed onset."""
    first = results[0].bundle.config
    report: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "origin": origin,
        "videos": [
            {"name": example.name, "frames": len(example), "seconds": float(example.pts_T[-1])}
            for example in examples
        ],
        "policy": {
            "background": policy.background_of(Labels(first.phases, first.actions)),
            "window_frames": policy.window_frames,
            "seed": policy.seed,
            "num_resamples": policy.num_resamples,
        },
        "bundles": [_bundle_json(result, examples) for result in results],
    }
    if len(results) > 1:
        report["spread"] = {
            f"{kind}s": _spread_json([result.kinds[kind] for result in results])
            for kind in results[0].kinds
        }
    # msgspec writes NaN and infinity as null.
    return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"


def _bundle_json(result: BundleResult, examples: Sequence[Example]) -> dict[str, Any]:
    bundle = result.bundle
    kinds = {
        f"{kind}s": {
            "carried": found.carried,
            "carried_interval": found.intervals,
            "window_reset": found.windowed,
            "difference_interval": found.difference_intervals,
            "by_label": found.scorer.by_label(),
            "by_video": [{"name": name, **scores} for name, scores in _by_video(found, examples)],
        }
        for kind, found in result.kinds.items()
    }
    return {
        "path": str(bundle.path),
        "name": bundle.config.name,
        "model_id": bundle.model_id,
        "lookahead_frames": bundle.config.lookahead_frames,
        "lookahead_seconds": bundle.config.lookahead_seconds,
        "confusion": result.confusion_CC.tolist(),
        "foreseen": None if result.foreseen is None else result.foreseen.json(),
        **kinds,
    }


def _spread_json(results: Sequence[KindResult]) -> dict[str, Any]:
    def of(scores: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
        table = {}
        for name in scores[0]:
            mean, deviation = mean_and_deviation([one[name] for one in scores])
            table[name] = {"mean": mean, "standard_deviation": deviation}
        return table

    return {
        "carried": of([result.carried for result in results]),
        "window_reset": of([result.windowed for result in results]),
    }
