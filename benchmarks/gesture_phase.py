"""Phases of gestures from positions of hands, wrists, head and spine, one recording held out.

A folder of `*_raw.csv` with 18 coordinates, a timestamp in milliseconds and the phase in each row,
as the Gesture Phase Segmentation data has them. Positions are taken relative to the spine, in units
of the head's height above it so far; with them go changes over the last frames, and speeds. Two
baselines see the last frame alone: logistic regression on positions, and on all that the network
gets. The number of updates is chosen on the other recordings, each held out in turn.
"""

from __future__ import annotations

import argparse
import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from streamer.models.bundle import GapConfig, ModelConfig
from streamer.models.temporal.network import RecurrentNetwork
from streamer.training.annotations import Labels
from streamer.training.dataset import Dataset, Example
from streamer.training.fit import fit, predict
from streamer.training.recipe import Recipe

PHASES = ("Rest", "Preparation", "Stroke", "Hold", "Retraction")
MISSPELT = {"Preparação": "Preparation"}
NUM_COORDINATES = 18
HEAD, SPINE = slice(6, 9), slice(9, 12)
SPANS = (1, 4, 10)
"""Frames over which a change is taken."""
RECIPE = Recipe(
    num_lanes=8,
    num_steps=96,
    max_updates=240,
    warmup_updates=20,
    learning_rate=4e-3,
    weight_decay=0.05,
    dropout=0.4,
    noise=0.3,
    shift=0.7,
    time_warp=0.2,
    feature_dropout=0.1,
    label_smoothing=0.05,
    class_weights="sqrt",
    ema_decay=0.97,
    check_every=20,
    patience=12,
)


def read(path: Path) -> Example:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    positions = np.array([[float(value) for value in row[:NUM_COORDINATES]] for row in rows])
    names = [MISSPELT.get(row[-1], row[-1]) for row in rows]
    pts_T = np.array([float(row[NUM_COORDINATES]) for row in rows]) / 1000
    spine = np.tile(positions[:, SPINE], NUM_COORDINATES // 3)
    # One recording has other units than the rest: the height of the head above the spine is 1.
    heights_T = np.linalg.norm(positions[:, HEAD] - positions[:, SPINE], axis=1)
    unit_T = np.cumsum(heights_T) / np.arange(1, len(rows) + 1)
    relative = np.delete((positions - spine) / unit_T[:, None], np.r_[SPINE], axis=1)
    changes = [_change(relative, span) for span in SPANS]
    return Example(
        name=path.stem.removesuffix("_raw"),
        compressed=False,
        features_TD=np.concatenate([relative, *changes, *map(_log_speeds, changes)], 1).astype(
            np.float16
        ),
        pts_T=pts_T - pts_T[0],
        phases_T=np.array([PHASES.index(name) for name in names]),
        actions_TA=np.zeros((len(rows), 0), np.float32),
    )


def _change(values_TD: np.ndarray, span: int) -> np.ndarray:
    before = np.concatenate((np.repeat(values_TD[:1], span, axis=0), values_TD[:-span]))
    return (values_TD - before) / span


def _log_speeds(change_TD: np.ndarray) -> np.ndarray:
    """Of each joint: what tells rest from movement in any direction."""
    speeds = np.linalg.norm(change_TD.reshape(len(change_TD), -1, 3), axis=2)
    return np.log(speeds + 1e-3)


def trained(train: list[Example], validation: list[Example], recipe: Recipe):
    torch.manual_seed(recipe.seed)
    config = ModelConfig(
        name="gestures",
        architecture="lstm",
        feature_dim=train[0].features_TD.shape[1],
        projection_dim=48,
        hidden_dim=64,
        num_layers=1,
        phases=PHASES,
        actions=(),
        analysis_fps=30.0,
        encoder="positions",
        encoder_id="positions",
        gap=GapConfig(hold_seconds=1.0),
    )
    network = RecurrentNetwork(config, dropout=recipe.dropout)
    dataset = Dataset(
        origin="",
        labels=Labels(PHASES, ()),
        train=tuple(train),
        validation=tuple(validation),
        test=(),
    )
    return network, fit(network, dataset, recipe, progress=lambda check: None)


def recurrent(held_out: Example, others: list[Example], *, seed: int) -> np.ndarray:
    """What a network says of a recording it has not seen."""
    recipe, updates = replace(RECIPE, seed=seed), []
    for inner in others:
        _, history = trained([e for e in others if e is not inner], [inner], recipe)
        updates.append(history.checks[history.best].update)
    length = max(RECIPE.check_every, int(np.mean(updates)))
    network, _ = trained(
        others, others[:1], replace(recipe, max_updates=length, check_every=length)
    )
    return predict(network, [held_out])[0].argmax(axis=1)


def logistic(held_out: Example, others: list[Example], *, num_features: int) -> np.ndarray:
    """Baseline: the last frame alone."""
    model = make_pipeline(
        StandardScaler(), LogisticRegression(max_iter=2000, class_weight="balanced")
    )
    inputs = np.concatenate([e.features_TD[:, :num_features] for e in others]).astype(float)
    model.fit(inputs, np.concatenate([e.phases_T for e in others]))
    return np.asarray(model.predict(held_out.features_TD[:, :num_features].astype(float)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="folder of the CSV files")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    arguments = parser.parse_args()
    recordings = [read(path) for path in sorted(arguments.data.glob("*_raw.csv"))]
    scores: dict[str, list[list[float]]] = {}
    for held_out in recordings:
        others = [one for one in recordings if one is not held_out]
        positions, everything = NUM_COORDINATES - 3, held_out.features_TD.shape[1]

        def note(name: str, said_T: np.ndarray, truth: Example = held_out) -> None:
            value = 100 * float(f1_score(truth.phases_T, said_T, average="macro"))
            scores.setdefault(name, []).append([value])

        note("logistic, positions", logistic(held_out, others, num_features=positions))
        note("logistic, all features", logistic(held_out, others, num_features=everything))
        for seed in arguments.seeds:
            note(f"LSTM, seed {seed}", recurrent(held_out, others, seed=seed))
        print(f"  {held_out.name}: done", flush=True)
    print(f"\n{'macro F1, %':<26}" + "".join(f"{one.name:>8}" for one in recordings) + "    mean")
    for name, rows in scores.items():
        values = [row[0] for row in rows]
        print(f"{name:<26}" + "".join(f"{v:8.1f}" for v in values) + f"{np.mean(values):8.1f}")


if __name__ == "__main__":
    main()
