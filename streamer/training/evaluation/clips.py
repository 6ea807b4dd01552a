"""Measures bundles of heads beyond classes per frame on labelled clips, and reports it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from streamer.core.errors import ConfigError
from streamer.training.clip_pictures import plot_clips
from streamer.training.clip_readings import read_with_bundle
from streamer.training.clip_scores import ClassScorer, make_scorer, meaning
from streamer.training.evaluation.tables import interval, number, spread
from streamer.training.metrics.bootstrap import bootstrap

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from streamer.models.bundle import Bundle
    from streamer.training.clip_dataset import LabelledClip
    from streamer.training.clip_readings import Reading
    from streamer.training.clip_scores import ClipScorer

FORMAT_VERSION = 1
"""Of `report.json`."""
MAX_ROWS = 100
"""Clips that the Markdown report tells one by one; the JSON has all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipResult:
    """All that was found of one bundle.

    Attributes:
        bundle: Which.
        readings: What it said of each clip.
        scorer: Of these.
        scores: Over all clips. See `streamer.training.clip_scores.MEANINGS`.
        intervals: 95 % of these, by a bootstrap over sources.
    """

    bundle: Bundle
    readings: tuple[Reading, ...]
    scorer: ClipScorer
    scores: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]


def measure_clips(
    bundle: Bundle, clips: Sequence[LabelledClip], *, seed: int, num_resamples: int
) -> ClipResult:
    """Let a bundle read clips as it is served, and compare with what is true.

    Args:
        bundle: To measure.
        clips: With features of its encoder and truth in its labels.
        seed: Of the bootstrap.
        num_resamples: Of the bootstrap.

    Raises:
        ConfigError: There are no clips.
        ModelError: The bundle's model can't be opened.
    """
    if not clips:
        raise ConfigError("eval: expected at least one clip, found none")
    readings = read_with_bundle(bundle, [clip.features_TD for clip in clips])
    scorer = make_scorer(bundle.config, clips, readings)
    groups = sorted({clip.group for clip in clips})
    group_N = np.array([groups.index(clip.group) for clip in clips])
    return ClipResult(
        bundle=bundle,
        readings=readings,
        scorer=scorer,
        scores=scorer.scores(np.ones(len(clips))),
        intervals=bootstrap(
            lambda weights_G: scorer.scores(weights_G[group_N]),
            num_videos=len(groups),
            seed=seed,
            num_resamples=num_resamples,
        ),
    )


def write_clip_report(
    out: Path,
    *,
    origin: str,
    clips: Sequence[LabelledClip],
    results: Sequence[ClipResult],
    seed: int,
    num_resamples: int,
) -> None:
    """Write `report.md`, `report.json` and the pictures of each bundle.

    Args:
        out: The folder.
        origin: What was measured on, a line.
        clips: The truth.
        results: Of each bundle; all have the same labels.
        seed: Of the bootstrap.
        num_resamples: Of the bootstrap.

    Raises:
        ConfigError: The folder can't be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        pictures = [
            plot_clips(out, one.bundle.config, clips, one.readings, one.scorer, suffix=f"-{number}")
            for number, one in enumerate(results, start=1)
        ]
        lines = [*_head(origin, clips, results, seed=seed, num_resamples=num_resamples)]
        for index, result in enumerate(results):
            lines += _section(index + 1, result, clips, pictures[index])
        (out / "report.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
        (out / "report.json").write_bytes(_json(origin, clips, results))
    except OSError as error:
        raise ConfigError(f"{out}: can't write the report ({error.strerror})") from error


def _head(
    origin: str,
    clips: Sequence[LabelledClip],
    results: Sequence[ClipResult],
    *,
    seed: int,
    num_resamples: int,
) -> Iterator[str]:
    config = results[0].bundle.config
    num_sources, frames = len({clip.group for clip in clips}), sum(len(c.pts_T) for c in clips)
    yield "# Evaluation"
    yield ""
    yield (
        f"- **Data**: {origin}: {len(clips)} clips of {num_sources} sources, "
        f"{frames} analysed frames"
    )
    yield f"- **Head**: {config.head}, pooling {config.pooling}"
    for number_, result in enumerate(results, start=1):
        bundle = result.bundle
        yield f"- **Bundle {number_}**: `{bundle.path}` ({bundle.config.name}, {bundle.model_id})"
    if num_sources > 1:
        yield (
            f"- **95 %**: percentile bootstrap over sources, {num_resamples} resamples, seed {seed}"
        )
    else:
        yield "- **95 %**: none: one source has no spread"
    if config.head == "caption":
        yield "- **Captions**: words in lower case, without punctuation; one reference each"
    if len(results) > 1:
        yield from ("", "## Mean ± standard deviation over bundles", "")
        columns = " | ".join(str(k) for k in range(1, len(results) + 1))
        yield f"| | mean | {columns} |"
        yield f"|---|---:|{'---:|' * len(results)}"
        for name in results[0].scores:
            each = [result.scores[name] for result in results]
            yield f"| {meaning(name)} | {spread(each)} | {' | '.join(map(number, each))} |"


def _section(
    index: int, result: ClipResult, clips: Sequence[LabelledClip], pictures: Sequence[str]
) -> Iterator[str]:
    yield from ("", f"## Bundle {index}", "", "| | | 95 % |", "|---|---:|---:|")
    for name, value in result.scores.items():
        yield f"| {meaning(name)} | {number(value)} | {interval(result.intervals.get(name))} |"
    if isinstance(result.scorer, ClassScorer):
        yield from ("", f"### Truth (rows) against what was said (bundle {index})", "")
        names = result.bundle.config.phases
        yield f"| | {' | '.join(_cell(name) for name in names)} |"
        yield f"|---|{'---:|' * len(names)}"
        for name, row_C in zip(names, _confusion(result), strict=True):
            yield f"| {_cell(name)} | {' | '.join(map(str, row_C))} |"
    yield from ("", f"### By clip (bundle {index})", "", "| clip | truth | said |", "|---|---|---|")
    for k, clip in enumerate(clips[:MAX_ROWS]):
        told = result.scorer.told(k)
        truth = told.pop("truth", "-")
        said = told.get("said", told)
        yield f"| {_cell(clip.example.name)} | {_cell(truth)} | {_cell(said)} |"
    if len(clips) > MAX_ROWS:
        yield ""
        yield f"And {len(clips) - MAX_ROWS} more in `report.json`."
    for name in pictures:
        yield ""
        yield f"![{name}]({name})"


def _confusion(result: ClipResult) -> list[list[int]]:
    assert isinstance(result.scorer, ClassScorer), "only classes are confused"
    confusion_CC = result.scorer.confusion(np.ones(len(result.readings)))
    rows: list[list[int]] = confusion_CC.astype(np.int64).tolist()
    return rows


def _cell(value: object) -> str:
    if isinstance(value, dict):
        text = ", ".join(f"{name}: {_cell(each)}" for name, each in value.items())
    elif isinstance(value, list):
        text = " → ".join(map(str, value)) or "nothing"
    elif isinstance(value, float):
        text = f"{value:.4g}"
    else:
        text = str(value)
    return text.replace("|", "\\|") or "nothing"


def _json(origin: str, clips: Sequence[LabelledClip], results: Sequence[ClipResult]) -> bytes:
    content = {
        "format_version": FORMAT_VERSION,
        "data": origin,
        "clips": [
            {"name": clip.example.name, "source": clip.group, "frames": len(clip.pts_T)}
            for clip in clips
        ],
        "bundles": [_bundle(result, clips) for result in results],
    }
    return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"


def _bundle(result: ClipResult, clips: Sequence[LabelledClip]) -> dict[str, Any]:
    config = result.bundle.config
    content: dict[str, Any] = {
        "path": str(result.bundle.path),
        "model_id": result.bundle.model_id,
        "head": config.head,
        "pooling": config.pooling,
        "scores": {
            name: None if math.isnan(value) else value for name, value in result.scores.items()
        },
        "intervals": {
            name: None if any(map(math.isnan, bounds)) else bounds
            for name, bounds in result.intervals.items()
        },
        "clips": [result.scorer.told(index) for index in range(len(clips))],
    }
    if isinstance(result.scorer, ClassScorer):
        content["classes"] = config.phases
        content["confusion"] = _confusion(result)
    return content
