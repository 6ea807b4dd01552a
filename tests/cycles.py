"""A machine that goes through the same steps again and again, as features: known what is normal.

Each step shows its own pattern for four frames or so, under noise. Wrong order and wrong speed show
nothing but frames that are normal each for itself; only an unseen pattern is strange at a glance.
"""

from __future__ import annotations

import numpy as np

FPS = 10.0
FEATURE_DIM = 16
NUM_STEPS = 6
STEP_FRAMES = 4
NOISE = 0.35
KINDS = ("order", "speed", "unseen")
ANOMALY_FRAMES = 48

_PATTERNS = np.random.default_rng(77).normal(size=(NUM_STEPS + 1, FEATURE_DIM))
"""The last one is never seen in normal cycles."""


def normal_cycles(seconds: float, *, seed: int) -> np.ndarray:
    """Features float16 (T, D) of undisturbed work."""
    random = np.random.default_rng(seed)
    return _show(_steps(round(seconds * FPS), random, step=0), random)


def disturbed_cycles(
    num_anomalies: int, *, seed: int, kinds: tuple[str, ...] = KINDS
) -> tuple[np.ndarray, np.ndarray]:
    """Work with anomalies of each kind in turn, far apart.

    Returns:
        Features float16 (T, D), and for each frame (T,) which kind of anomaly it belongs to: an
        index of `kinds`, -1 for none.
    """
    random = np.random.default_rng(seed)
    steps: list[int] = _steps(100, random, step=0)
    truth = [-1] * len(steps)
    for number in range(num_anomalies):
        kind = kinds[number % len(kinds)]
        strange = _STRANGE[kind](random)
        after = _steps(int(random.integers(150, 250)), random, step=int(random.integers(NUM_STEPS)))
        steps += [*strange, *after]
        truth += [number % len(kinds)] * len(strange) + [-1] * len(after)
    return _show(steps, random), np.array(truth)


def _steps(frames: int, random: np.random.Generator, *, step: int) -> list[int]:
    steps: list[int] = []
    while len(steps) < frames:
        steps += [step] * (STEP_FRAMES + int(random.integers(-1, 2)))
        step = (step + 1) % NUM_STEPS
    return steps[:frames]


def _wrong_order(random: np.random.Generator) -> list[int]:
    first = int(random.integers(NUM_STEPS))
    backwards = (first - np.arange(ANOMALY_FRAMES // STEP_FRAMES)) % NUM_STEPS
    return [int(step) for step in np.repeat(backwards, STEP_FRAMES)]


def _wrong_speed(random: np.random.Generator) -> list[int]:
    """One frame of each step."""
    first = int(random.integers(NUM_STEPS))
    return [int(step) for step in (first + np.arange(ANOMALY_FRAMES)) % NUM_STEPS]


def _unseen(random: np.random.Generator) -> list[int]:
    return [NUM_STEPS] * ANOMALY_FRAMES


_STRANGE = {"order": _wrong_order, "speed": _wrong_speed, "unseen": _unseen}


def _show(steps: list[int], random: np.random.Generator) -> np.ndarray:
    noise = NOISE * random.normal(size=(len(steps), FEATURE_DIM))
    return (_PATTERNS[steps] + noise).astype(np.float16)


def roc_auc(scores_N: np.ndarray, strange_N: np.ndarray) -> float:
    """Probability that a strange frame scores higher than a normal one (Mann and Whitney, 1947)."""
    rank_N = scores_N.argsort().argsort() + 1.0
    num = int(strange_N.sum())
    return float((rank_N[strange_N].sum() - num * (num + 1) / 2) / (num * (len(rank_N) - num)))


def mahalanobis(train_ND: np.ndarray, features_TD: np.ndarray) -> np.ndarray:
    """The memoryless baseline: half the squared Mahalanobis distance, per dimension."""
    train_ND = train_ND.astype(np.float64)
    inverse = np.linalg.inv(np.cov(train_ND.T))
    apart = features_TD.astype(np.float64) - train_ND.mean(axis=0)
    return np.asarray(0.5 * ((apart @ inverse) * apart).mean(axis=1))
