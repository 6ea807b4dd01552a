"""`streamer eval` of bundles whose head is not classes per frame."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from streamer.cli.labelled import load_labelled_clips
from streamer.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from streamer.models.bundle import Bundle


def eval_clips(
    bundles: Sequence[Bundle],
    videos: Path,
    out: Path,
    *,
    split: str,
    split_seed: int,
    seed: int,
    resamples: int,
    encoder: str | None,
    device: str | None,
    cache: Path,
) -> None:
    """Let bundles read clips, compare with what is true, and write a report.

    Args:
        bundles: Of one training.
        videos: The table.
        out: Folder of the report.
        split: One of `streamer.cli.labelled.PARTS`.
        split_seed: Of the split.
        seed: Of the bootstrap.
        resamples: Of the bootstrap.
        encoder: Another name of the bundles' encoder, or None.
        device: Where the encoder runs.
        cache: Folder of features that are made here.

    Raises:
        ConfigError: The table or a video is not usable, or a bundle is of another kind.
        ModelError: The encoder is not the bundles'.
    """
    from streamer.training.evaluation.clips import measure_clips, write_clip_report

    config = bundles[0].config
    for other in bundles[1:]:
        ours, theirs = config, other.config
        if (ours.head, ours.pooling, ours.targets) != (theirs.head, theirs.pooling, theirs.targets):
            raise ConfigError(
                f"eval: expected bundles of one training, found other heads or labels in "
                f"{bundles[0].path} and {other.path}; evaluate them one by one"
            )
    clips = load_labelled_clips(
        bundles[0],
        videos,
        split=split,
        seed=split_seed,
        encoder=encoder,
        device=device,
        cache=cache,
    )
    results = []
    for one in bundles:
        print(f"measuring {one.path}", file=sys.stderr)
        results.append(measure_clips(one, clips, seed=seed, num_resamples=resamples))
    part = videos.name if split == "all" else f"{videos.name}, part {split} (split {split_seed})"
    write_clip_report(
        out, origin=part, clips=clips, results=results, seed=seed, num_resamples=resamples
    )
    print(out / "report.md")
