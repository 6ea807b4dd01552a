"""One training with several seeds: how much its figures owe to chance, and the best bundle of them.

All share the data, its parts and the recipe; only the first weights, the order and the noise are
others. Which one is kept is decided on the validation part.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from streamer.core.errors import ModelError
from streamer.models.bundle import Bundle
from streamer.models.temporal.torch import load_network
from streamer.training import checkpoint
from streamer.training.clip_tally import tally_clip
from streamer.training.evaluate import decode_clips, score
from streamer.training.export import check_place, write_with_metrics
from streamer.training.fit import predict
from streamer.training.metrics.bootstrap import LEVEL, NUM_RESAMPLES, bootstrap
from streamer.training.run import train_bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from streamer.models.config import ModelConfig
    from streamer.models.encoders.encoder import Encoder
    from streamer.training.clip_tally import ClipTally
    from streamer.training.dataset import Dataset
    from streamer.training.fit import Check
    from streamer.training.foresight import Foresight
    from streamer.training.recipe import Recipe

FINISHED = "finished.json"
NOT_METRICS = ("num_clips", "num_frames", "onsets")
"""Counts of the data: the same with every seed."""
BOOTSTRAP_SEED = 1


class _Finished(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """That a seed's training is over, and what it was of."""

    fingerprint: str
    model_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """All that the trainings share. See `train_bundle`.

    Attributes:
        dataset: To train, validate and test on.
        config: What to train.
        encoder: That made the features.
        recipe: With the first seed.
        teacher: Whose outputs count as targets too, or None.
        graph_PP: Which phase may follow which, or None.
        foresight: What to learn beside the labels, or None.
    """

    dataset: Dataset
    config: ModelConfig
    encoder: Encoder
    recipe: Recipe
    teacher: Bundle | None = None
    graph_PP: np.ndarray | None = None
    foresight: Foresight | None = None

    def train(self, folder: Path, recipe: Recipe, *, progress: Callable[[Check], None]) -> Bundle:
        """The bundle of one recipe. See `train_bundle`."""
        return train_bundle(
            folder,
            self.dataset,
            config=self.config,
            encoder=self.encoder,
            recipe=recipe,
            progress=progress,
            teacher=self.teacher,
            graph_PP=self.graph_PP,
            foresight=self.foresight,
        )

    def fingerprint(self, recipe: Recipe) -> str:
        """Digest of all that decides the bundle and its metrics."""
        digest = hashlib.sha256(checkpoint.fingerprint(self.config, self.dataset, recipe).encode())
        for example in self.dataset.test:
            for array in (example.features_TD, example.phases_T, example.actions_TA):
                digest.update(array.tobytes())
        digest.update(b"" if self.teacher is None else self.teacher.model_id.encode())
        digest.update(b"" if self.graph_PP is None else self.graph_PP.tobytes())
        digest.update(repr(self.foresight).encode())
        return digest.hexdigest()


def train_repeats(
    out: Path,
    job: Job,
    *,
    num_repeats: int,
    progress: Callable[[Check], None],
    begin: Callable[[int, bool], None] = lambda seed, finished: None,
) -> Bundle:
    """Train with each seed, keep the bundle that is best in validation, and say how they spread.

    A run that was interrupted goes on where it was: what is finished is not trained again.

    Args:
        out: Folder of the run. Gets `seeds/N/` of each seed as `train_bundle` makes it, and
            `bundle/` and the pictures of the one that is kept.
        job: What to do.
        num_repeats: How many seeds, from the recipe's on.
        progress: Is told each look at the validation part.
        begin: Is told each seed, and whether it was finished before.

    Raises:
        ConfigError: See `train_bundle`.
    """
    check_place(out / "bundle")
    bundles = []
    for seed in range(job.recipe.seed, job.recipe.seed + num_repeats):
        folder, recipe = out / "seeds" / str(seed), replace(job.recipe, seed=seed)
        bundle = _finished_before(folder, job.fingerprint(recipe))
        begin(seed, bundle is not None)
        if bundle is None:
            bundle = job.train(folder, recipe, progress=progress)
            finished = _Finished(job.fingerprint(recipe), bundle.model_id)
            (folder / FINISHED).write_bytes(msgspec.json.encode(finished))
        bundles.append(bundle)
    losses = [bundle.metrics["validation"]["loss"] for bundle in bundles]
    kept = bundles[int(np.argmin(losses))]
    metrics = {
        **kept.metrics,
        "repeats": {
            "seeds": [bundle.metrics["seed"] for bundle in bundles],
            "kept": kept.metrics["seed"],
            "validation_losses": losses,
            **spread([_tally(bundle, job.dataset) for bundle in bundles], job.dataset),
        },
    }
    for picture in kept.path.parent.glob("*.png"):
        shutil.copyfile(picture, out / picture.name)
    return write_with_metrics(out / "bundle", kept, metrics)


def spread(tallies: Sequence[Sequence[ClipTally]], dataset: Dataset) -> dict[str, Any]:
    """Mean, standard deviation and interval of each metric of the test part, for `metrics.json`.

    The interval is of the mean over seeds, by the bootstrap over videos: the seeds are taken as
    they are, the videos as a sample. None where a seed has nothing to measure.

    Args:
        tallies: Of each seed, of each clip of the test part.
        dataset: Whose test part it is.
    """
    num_videos = len(dataset.test)

    def means(weights_V: np.ndarray) -> dict[str, float]:
        chosen = np.repeat(np.arange(num_videos), weights_V.astype(int)).tolist()
        each = [
            flat(score([clips[index] for index in chosen], labels=dataset.labels))
            for clips in tallies
        ]
        return {name: float(np.mean([one[name] for one in each])) for name in each[0]}

    each = [flat(score(clips, labels=dataset.labels)) for clips in tallies]
    intervals = bootstrap(means, num_videos=num_videos, seed=BOOTSTRAP_SEED)
    return {
        "num_videos": num_videos,
        "level": LEVEL,
        "num_resamples": NUM_RESAMPLES if num_videos > 1 else 0,
        "metrics": {
            name: {
                "mean": _number(float(np.mean([one[name] for one in each]))),
                "standard_deviation": _number(float(np.std([one[name] for one in each], ddof=1))),
                "interval": [_number(bound) for bound in intervals.get(name, ())] or None,
                "each": [_number(one[name]) for one in each],
            }
            for name in each[0]
        },
    }


def flat(metrics: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Metrics by names such as `phases.edit`; NaN for None."""
    found: dict[str, float] = {}
    for name, value in metrics.items():
        if name in NOT_METRICS:
            continue
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = float("nan") if value is None else float(value)
    return found


def _finished_before(folder: Path, fingerprint: str) -> Bundle | None:
    """The bundle of a seed; None where there is none, or another, or one damaged since."""
    try:
        known = msgspec.json.decode((folder / FINISHED).read_bytes(), type=_Finished)
        if known.fingerprint != fingerprint:
            return None
        bundle = Bundle.load(folder / "bundle")
    except (FileNotFoundError, msgspec.MsgspecError, ModelError):
        return None
    return bundle if bundle.model_id == known.model_id else None


def _tally(bundle: Bundle, dataset: Dataset) -> list[ClipTally]:
    logits = predict(load_network(bundle), dataset.test)
    decoded = decode_clips(
        dataset.test,
        logits,
        labels=dataset.labels,
        decoder=bundle.decoder,
        analysis_fps=bundle.config.analysis_fps,
        lookahead_frames=bundle.config.lookahead_frames,
    )
    triples = zip(dataset.test, logits, decoded, strict=True)
    return [tally_clip(*triple, labels=dataset.labels) for triple in triples]


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 4)
