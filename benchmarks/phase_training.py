"""Training on real phases: per-frame scores of somebody else's network as features.

The file is that of `benchmarks.decoder`. One split is held out at a time. Everything is chosen on
the others: folds of them give outputs that no network has seen the labels of, these fit the decoder
and say how long to train; then one network learns from all of them. Seeds are measured one by one,
and their mean and spread are shown: nothing is averaged before it is decoded.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import torch

from benchmarks.decoder import MAX_LAG_FRAMES, OVERLAPS, Video, measure, plain_decoder, read
from streamer.models.bundle import DecoderConfig, GapConfig, ModelConfig
from streamer.models.temporal.network import RecurrentNetwork
from streamer.training.annotations import Labels
from streamer.training.chain import fit_chain
from streamer.training.dataset import Dataset, Example
from streamer.training.delay import lagged_labels
from streamer.training.filter_search import search_filter
from streamer.training.fit import History, fit, predict
from streamer.training.recipe import Recipe
from streamer.training.tuning import fit_temperatures

NUM_FOLDS = 4
LOWEST_LOG = -8.0
"""Of a score: below, differences mean nothing."""
RECIPE = Recipe(
    num_lanes=8,
    num_steps=64,
    max_updates=400,
    warmup_updates=20,
    learning_rate=5e-3,
    weight_decay=0.05,
    dropout=0.4,
    noise=0.3,
    shift=0.3,
    time_warp=0.2,
    feature_dropout=0.05,
    label_smoothing=0.05,
    temporal_smoothing=0.15,
    ema_decay=0.98,
    check_every=20,
    patience=20,
)


def as_example(video: Video) -> Example:
    """With its scores as features."""
    logs_TP = np.maximum(video.logits_TP, LOWEST_LOG)
    features_TD = np.concatenate((logs_TP, np.exp(video.logits_TP)), axis=1)
    return replace(video.example, features_TD=features_TD.astype(np.float16))


def make_network(examples: list[Example], *, num_phases: int, fps: float, seed: int, cell: str):
    torch.manual_seed(seed)
    config = ModelConfig(
        name="phases",
        architecture=cell,
        feature_dim=examples[0].features_TD.shape[1],
        projection_dim=32,
        hidden_dim=48,
        num_layers=1,
        phases=tuple(map(str, range(num_phases))),
        actions=(),
        analysis_fps=fps,
        encoder="given",
        encoder_id="given",
        gap=GapConfig(hold_seconds=1.0),
    )
    return RecurrentNetwork(config, dropout=RECIPE.dropout)


def trained(
    train: list[Example],
    validation: list[Example],
    recipe: Recipe,
    *,
    num_phases: int,
    fps: float,
    cell: str,
) -> tuple[RecurrentNetwork, History]:
    network = make_network(train, num_phases=num_phases, fps=fps, seed=recipe.seed, cell=cell)
    dataset = Dataset(
        origin="",
        labels=Labels(network.config.phases, ()),
        train=tuple(train),
        validation=tuple(validation),
        test=(),
    )
    return network, fit(network, dataset, recipe, progress=lambda check: None)


def held_out_scores(
    held_out: list[Video], others: list[Video], *, seed: int, cell: str
) -> dict[str, list[list[float]]]:
    """Scores of each held-out video: of the outputs as they are, and confirmed at each lag."""
    fps = float(1 / (others[0].example.pts_T[1] - others[0].example.pts_T[0]))
    common = {"num_phases": others[0].logits_TP.shape[1], "fps": fps, "cell": cell}
    recipe = replace(RECIPE, seed=seed)
    order = np.random.default_rng(seed).permutation(len(others))
    unseen: list[np.ndarray] = [np.empty(0)] * len(others)
    updates = []
    for fold in range(NUM_FOLDS):
        inside = set(order[fold::NUM_FOLDS].tolist())
        validation = [as_example(others[k]) for k in sorted(inside)]
        train = [as_example(v) for k, v in enumerate(others) if k not in inside]
        network, history = trained(train, validation, recipe, **common)
        updates.append(history.checks[history.best].update)
        for k, logits in zip(sorted(inside), predict(network, validation), strict=True):
            unseen[k] = logits
    length = max(20, int(np.mean(updates)))
    everything = [as_example(v) for v in others]
    network, _ = trained(
        everything,
        everything[:1],
        replace(recipe, max_updates=length, check_every=length),
        **common,
    )
    decoder = fitted_decoder(others, unseen, fps=fps)
    outputs = predict(network, [as_example(v) for v in held_out])
    scores: dict[str, list[list[float]]] = {}
    for video, logits_TP in zip(held_out, outputs, strict=True):
        scores.setdefault("outputs", []).append(measure(video.example, logits_TP.argmax(axis=1)))
        labels_LT = lagged_labels(
            decoder,
            logits_TP,
            video.example.pts_T,
            num_phases=common["num_phases"],
            analysis_fps=fps,
        )
        for lag, labels_T in enumerate(labels_LT):
            scores.setdefault(f"lag {lag}", []).append(measure(video.example, labels_T))
    print(f"  seed {seed}, {held_out[0].split}: {length} updates of {updates}", flush=True)
    return scores


def fitted_decoder(videos: list[Video], logits: list[np.ndarray], *, fps: float) -> DecoderConfig:
    """On outputs of networks that had not seen the video."""
    examples, num_phases = [v.example for v in videos], logits[0].shape[1]
    temperature, _ = fit_temperatures(examples, logits, num_phases=num_phases)
    plain = plain_decoder(num_phases, temperature=temperature)
    chain = fit_chain(examples, num_phases=num_phases)
    found, _ = search_filter(
        chain, plain, examples, logits, analysis_fps=fps, max_lag_frames=MAX_LAG_FRAMES
    )
    lagged = msgspec.structs.replace(found, lag_frames=MAX_LAG_FRAMES)
    return msgspec.structs.replace(plain, phase_filter=lagged)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="the .npz")
    parser.add_argument("--fps", type=float, default=1.0, help="of its frames")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--cell", default="lstm")
    arguments = parser.parse_args()
    videos, began = read(arguments.data, fps=arguments.fps), time.process_time()
    splits = sorted({video.split for video in videos})
    means: dict[str, list[np.ndarray]] = {}
    for seed in arguments.seeds:
        overall: dict[str, list[list[float]]] = {}
        for split in splits:
            held_out = [video for video in videos if video.split == split]
            others = [video for video in videos if video.split != split]
            for name, scores in held_out_scores(
                held_out, others, seed=seed, cell=arguments.cell
            ).items():
                overall.setdefault(name, []).extend(scores)
        for name, scores in overall.items():
            means.setdefault(name, []).append(np.mean(scores, axis=0))
    columns = ("Acc", "Edit", *(f"F1@{round(100 * overlap)}" for overlap in OVERLAPS))
    print(f"\n{len(videos)} videos, {arguments.cell}, seeds {arguments.seeds}: mean ± spread")
    print(f"{'':<10}" + "".join(f"{name:>14}" for name in columns))
    for name, rows in means.items():
        mean, spread = np.mean(rows, axis=0), np.std(rows, axis=0)
        print(
            f"{name:<10}"
            + "".join(f"{m:8.1f} ± {s:3.1f}" for m, s in zip(mean, spread, strict=True))
        )
    minutes = (time.process_time() - began) / 60 / len(arguments.seeds)
    print(f"CPU minutes per seed, {len(splits) * (NUM_FOLDS + 1)} trainings: {minutes:.1f}")


if __name__ == "__main__":
    main()
