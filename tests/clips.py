"""Synthetic clips with a known answer for each head, and small models for them."""

from __future__ import annotations

import msgspec
import numpy as np
import torch

from streamer.models.temporal.network import RecurrentNetwork
from streamer.training.clips import ClipExample
from streamer.training.recipe import Recipe
from tests.networks import make_config

FEATURE_DIM = 8
NUM_PHASES = 4
PHASES = tuple(f"phase {i}" for i in range(NUM_PHASES))
DIRECTIONS = 2 * np.random.default_rng(99).normal(size=(NUM_PHASES + 1, FEATURE_DIM))


def clip_config(**changes):
    sizes = {"feature_dim": FEATURE_DIM, "projection_dim": 16, "hidden_dim": 24, "num_layers": 1}
    labels = {"phases": (), "actions": (), "targets": ()}
    return make_config(**(sizes | labels | changes))


def clip_recipe(**changes):
    small = {
        "num_lanes": 16,
        "max_updates": 150,
        "warmup_updates": 10,
        "learning_rate": 1e-2,
        "dropout": 0.0,
        "noise": 0.1,
        "shift": 0.1,
        "check_every": 50,
    }
    return Recipe(**(small | changes))


def make_model(config, *, seed=0, dropout=0.0):
    torch.manual_seed(seed)
    return RecurrentNetwork(config, dropout=dropout)


def with_head(config, **changes):
    return msgspec.structs.replace(config, **changes)


def phase_track(random, phases, lengths) -> np.ndarray:
    """Features (T, D) of phases in turn, under noise."""
    labels = np.repeat(phases, lengths)
    return (DIRECTIONS[labels] + random.normal(size=(len(labels), FEATURE_DIM))).astype(np.float16)


def draw_phases(random, count) -> tuple[np.ndarray, np.ndarray]:
    """Phases, none twice in a row, and how many frames each lasts: 3 to 14."""
    phases = [int(random.integers(NUM_PHASES))]
    while len(phases) < count:
        phases.append(int((phases[-1] + random.integers(1, NUM_PHASES)) % NUM_PHASES))
    return np.array(phases), random.integers(3, 15, count)


def ordered_example(seed) -> tuple[ClipExample, np.ndarray]:
    """A clip of which only the order of its phases is told, and the truth per frame."""
    random = np.random.default_rng(seed)
    phases, lengths = draw_phases(random, int(random.integers(3, 7)))
    track = phase_track(random, phases, lengths)
    return ClipExample(name=str(seed), views=(track,), target=phases), np.repeat(phases, lengths)


def flash_example(seed, *, length=None) -> tuple[ClipExample, int]:
    """A clip whose class is a short flash somewhere in it, and in which frame that begins."""
    random = np.random.default_rng(seed)
    length = length or int(random.integers(16, 33))
    kind, start = int(random.integers(2)), int(random.integers(2, length - 4))
    track = random.normal(size=(length, FEATURE_DIM))
    track[start : start + 3] += 1.5 * DIRECTIONS[kind]
    target = np.array(kind)
    return ClipExample(name=str(seed), views=(track.astype(np.float16),), target=target), start


def level_example(seed, *, per_frame=False) -> ClipExample:
    """Values to be told: 20 + 5 a and -3 b, where a and b lie in the features, under noise."""
    random = np.random.default_rng(seed)
    length = int(random.integers(10, 25))
    levels_T2 = random.normal(size=(length if per_frame else 1, 2))
    if per_frame:
        levels_T2 = np.cumsum(0.3 * levels_T2, axis=0)
    track = levels_T2 @ DIRECTIONS[:2] + random.normal(size=(length, FEATURE_DIM))
    values = (levels_T2 * [5, -3] + [20, 0]).astype(np.float32)
    target = values if per_frame else values[0]
    return ClipExample(name=str(seed), views=(track.astype(np.float16),), target=target)


WORDS = (*PHASES, "briefly", "long", "then")
BRIEFLY, LONG, THEN = range(NUM_PHASES, NUM_PHASES + 3)


def caption_example(seed) -> tuple[ClipExample, np.ndarray]:
    """Phases in turn and what is said of them: phase, how long, then, phase, how long …

    And for each frame, the number of the phase it belongs to.
    """
    random = np.random.default_rng(seed)
    phases, _ = draw_phases(random, int(random.integers(2, 4)))
    long = random.integers(0, 2, len(phases))
    lengths = np.where(long, random.integers(10, 14, len(phases)), random.integers(3, 6))
    words: list[int] = []
    for phase, lasts in zip(phases, long, strict=True):
        words += [THEN] * bool(words) + [int(phase), LONG if lasts else BRIEFLY]
    track = phase_track(random, phases, lengths)
    example = ClipExample(name=str(seed), views=(track,), target=np.array(words))
    return example, np.repeat(np.arange(len(phases)), lengths)
