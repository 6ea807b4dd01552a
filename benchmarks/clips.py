"""A class per clip on real surveillance video: fight or none, by every pooling and direction.

    python -m benchmarks.clips --data FOLDER --features CACHE

`FOLDER` has `clips.csv` (video,label,source_group) and `videos/`. Test folds share no recording
with what was trained on (source_group), and none of them decides anything: sizes and recipe were
fixed beforehand, training stops by the loss on recordings set aside from the training folds, and
the last row takes, for each fold, the variant with the lowest such loss. One network at a time,
seeds are not averaged; both mirror images are, in training by chance and in the test by their mean.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import Counter
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from benchmarks.clip_features import clip_features
from streamer.models.config import GapConfig, ModelConfig
from streamer.models.encoders.registry import DEFAULT_NAME, open_encoder
from streamer.models.temporal.network import RecurrentNetwork
from streamer.runtime.clock import SystemClock
from streamer.training.clip_fit import fit_clips
from streamer.training.clip_predict import predict_clips
from streamer.training.clips import ClipExample
from streamer.training.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from streamer.models.encoders.encoder import Encoder

ANALYSIS_FPS = 10.0
NUM_FOLDS = 5
VALIDATION_PART = 4
"""One part in so many of the training folds' recordings is set aside to stop by."""
FEATURES: Mapping[str, tuple[int, ...]] = {"pictures": (0,), "differences": (1,), "both": (0, 1)}
POOLINGS = ("last", "mean", "attention")
RECIPE = {
    "num_lanes": 32,
    "max_updates": 150,
    "warmup_updates": 10,
    "learning_rate": 2e-3,
    "weight_decay": 0.05,
    "dropout": 0.5,
    "noise": 0.0,
    "shift": 1.0,
    "feature_dropout": 0.2,
    "label_smoothing": 0.1,
    "ema_decay": 0.9,
    "check_every": 10,
    "patience": 5,
}


@dataclass(frozen=True, slots=True)
class Variant:
    """A row of the table."""

    features: str
    directions: int
    pooling: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one training: right or wrong for each clip of the fold, and the loss it stopped at."""

    right_N: np.ndarray
    validation_loss: float


@dataclass(frozen=True, slots=True)
class Video:
    """A clip: views of (T, 2, D), its class, and the recording it was cut from."""

    name: str
    views: tuple[np.ndarray, ...]
    label: int
    group: str

    def example(self, features: str) -> ClipExample:
        """With one of `FEATURES`."""
        picked = [view[:, FEATURES[features]].reshape(len(view), -1) for view in self.views]
        return ClipExample(name=self.name, views=tuple(picked), target=np.array(self.label))


def read_videos(data: Path, cache: Path, encoder: Encoder) -> tuple[list[Video], tuple[str, ...]]:
    """All clips, and the names of their classes."""
    with (data / "clips.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    labels = tuple(sorted({row["label"] for row in rows}))
    clock, videos = SystemClock(), []
    for row in rows:
        views = tuple(
            clip_features(
                data / "videos" / row["video"],
                view=view,
                encoder=encoder,
                analysis_fps=ANALYSIS_FPS,
                cache=cache,
                clock=clock,
            )[:, 0]
            for view in ("whole", "mirrored")
        )
        label = labels.index(row["label"])
        videos.append(Video(row["video"], views, label, row["source_group"]))
    return videos, labels


def split_groups(videos: Sequence[Video], num_parts: int) -> list[list[int]]:
    """Numbers of the videos of each part: no group in two, classes as even as that allows.

    The largest groups are dealt first, each to the part where it leaves the classes most even.
    """
    by_group: dict[str, list[int]] = {}
    for number, video in enumerate(videos):
        by_group.setdefault(video.group, []).append(number)
    num_labels = 1 + max(video.label for video in videos)
    counts, parts = np.zeros((num_parts, num_labels)), [[] for _ in range(num_parts)]  # type: ignore[var-annotated]
    for numbers in sorted(by_group.values(), key=lambda group: (-len(group), group)):
        added = np.bincount([videos[i].label for i in numbers], minlength=num_labels)
        part = min(range(num_parts), key=lambda p: float(((counts[p] + added) ** 2).sum()))
        counts[part] += added
        parts[part] += numbers
    return parts


def train_and_test(
    variant: Variant,
    parts: tuple[Sequence[Video], Sequence[Video], Sequence[Video]],
    labels: tuple[str, ...],
    encoder: Encoder,
    *,
    seed: int,
) -> Outcome:
    """Learn from the first part, stop by the second, test on the third."""
    train, validation, test = ([v.example(variant.features) for v in part] for part in parts)
    config = ModelConfig(
        name="clips",
        architecture="lstm",
        feature_dim=train[0].views[0].shape[1],
        projection_dim=64,
        hidden_dim=64,
        num_layers=1,
        phases=labels,
        actions=(),
        analysis_fps=ANALYSIS_FPS,
        encoder=encoder.name,
        encoder_id=encoder.encoder_id,
        gap=GapConfig(hold_seconds=1.0),
        directions=variant.directions,  # type: ignore[arg-type]
        head="sequence",
        pooling=variant.pooling,  # type: ignore[arg-type]
    )
    recipe = Recipe(seed=seed, **RECIPE)  # type: ignore[arg-type]
    torch.manual_seed(seed)
    model = RecurrentNetwork(config, dropout=recipe.dropout)
    looks = fit_clips(model, train, validation, recipe)
    probabilities_NC, _ = predict_clips(model, test)
    classes_N = np.array([int(example.target) for example in test])
    return Outcome(
        probabilities_NC.argmax(axis=1) == classes_N, min(look.validation_loss for look in looks)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--features", type=Path, default=Path("runs/clip-features"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", choices=FEATURES, help="these features; default: all in turn")
    parser.add_argument("--json", type=Path, help="write the accuracies here")
    arguments = parser.parse_args()
    encoder = open_encoder(DEFAULT_NAME)
    videos, labels = read_videos(arguments.data, arguments.features, encoder)
    chosen_features = [arguments.only] if arguments.only else list(FEATURES)
    variants = [Variant(*choice) for choice in product(chosen_features, (1, 2), POOLINGS)]
    folds = split_groups(videos, NUM_FOLDS)
    seeds = range(1, arguments.seeds + 1)
    outcomes: dict[tuple[Variant, int, int], Outcome] = {}
    print(f"{len(videos)} clips of {len({v.group for v in videos})} recordings, {labels}")
    print(f"most frequent class of the training folds: {_most_frequent(videos, folds):.3f}")
    print("| features | directions | pooling | accuracy | spread over seeds | of each seed |")
    print("|---|---:|---|---:|---:|---|")
    for variant in variants:
        for number, fold in enumerate(folds):
            rest = [video for i, video in enumerate(videos) if i not in fold]
            aside = split_groups(rest, VALIDATION_PART)[0]
            parts = (
                [video for i, video in enumerate(rest) if i not in aside],
                [rest[i] for i in aside],
                [videos[i] for i in fold],
            )
            for seed in seeds:
                outcomes[variant, number, seed] = train_and_test(
                    variant, parts, labels, encoder, seed=seed
                )
        _print_row(
            f"{variant.features} | {variant.directions} | {variant.pooling}",
            [[outcomes[variant, n, seed] for n in range(NUM_FOLDS)] for seed in seeds],
        )
        if arguments.json:
            rows = [
                [v.features, v.directions, v.pooling, n, s, o.right_N.tolist(), o.validation_loss]
                for (v, n, s), o in outcomes.items()
            ]
            arguments.json.write_text(json.dumps(rows))
    chosen = [
        min(variants, key=lambda v: np.mean([outcomes[v, n, s].validation_loss for s in seeds]))
        for n in range(NUM_FOLDS)
    ]
    _print_row(
        "chosen in each fold | by inner | validation",
        [[outcomes[chosen[n], n, seed] for n in range(NUM_FOLDS)] for seed in seeds],
    )
    print("chosen:", *(f"{v.features}/{v.directions}/{v.pooling}" for v in chosen))


def _print_row(name: str, by_seed: Sequence[Sequence[Outcome]]) -> None:
    """Accuracy over all clips, each tested once per seed."""
    scores = [float(np.concatenate([o.right_N for o in folds]).mean()) for folds in by_seed]
    each = " ".join(f"{score:.3f}" for score in scores)
    print(f"| {name} | {np.mean(scores):.3f} | {np.std(scores):.3f} | {each} |", flush=True)


def _most_frequent(videos: Sequence[Video], folds: Sequence[Sequence[int]]) -> float:
    right = 0
    for fold in folds:
        rest = Counter(video.label for i, video in enumerate(videos) if i not in fold)
        right += sum(videos[i].label == rest.most_common(1)[0][0] for i in fold)
    return right / len(videos)


if __name__ == "__main__":
    main()
