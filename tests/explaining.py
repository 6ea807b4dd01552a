"""Features in which one group carries the label, and bundles of models of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from streamer.core.preprocess import Preprocess
from streamer.models.bundle import Bundle, DecoderConfig
from streamer.training.dataset import Example
from streamer.training.export import write_bundle
from streamer.training.feature_file import FeatureSet
from tests.networks import make_config

if TYPE_CHECKING:
    from pathlib import Path

    from streamer.models.temporal.network import RecurrentNetwork

PHASES = ("idle", "work", "rest")
ACTIONS = ("lamp",)
FEATURE_DIM = 12
PHASE_COLUMNS = slice(4, 8)
ACTION_COLUMNS = slice(8, 12)
SET = FeatureSet(name="told", feature_dim=FEATURE_DIM, fps=10.0)
_CODES = np.array([[2, -2, 0, 1], [-2, 1, 2, 0], [0, 2, -2, -1]])


def told_example(seed: int, *, num_frames: int = 120) -> Example:
    """Columns 4 to 7 tell the phase, 8 to 11 whether the lamp is lit; 0 to 3 are noise."""
    random = np.random.default_rng(seed)
    lengths = random.integers(8, 20, num_frames)
    turns = (np.arange(num_frames) + random.integers(3)) % 3
    phases_T = np.repeat(turns, lengths)[:num_frames]
    actions_T = np.repeat(np.arange(num_frames) % 2, random.integers(5, 25, num_frames))
    actions_T = actions_T[:num_frames]
    features_TD = random.normal(scale=0.3, size=(num_frames, FEATURE_DIM))
    features_TD[:, PHASE_COLUMNS] += _CODES[phases_T]
    features_TD[:, ACTION_COLUMNS] += 2 * actions_T[:, None] - 1
    return Example(
        name=f"{seed}.npy",
        compressed=False,
        features_TD=features_TD.astype(np.float16),
        pts_T=np.arange(num_frames) / SET.fps,
        phases_T=phases_T.astype(np.int64),
        actions_TA=actions_T[:, None].astype(np.float32),
    )


def told_config(**changes):
    labels = {"phases": PHASES, "actions": ACTIONS, "targets": (), "name": "told"}
    sizes = {"feature_dim": FEATURE_DIM, "hidden_dim": 16, "num_layers": 1, "analysis_fps": 10.0}
    encoder = {"encoder": "external:told", "encoder_id": SET.encoder_id}
    return make_config(**(labels | sizes | encoder | changes))


def told_bundle(folder: Path, network: RecurrentNetwork) -> Bundle:
    """On disk, with thresholds in the middle."""
    config = network.config
    count = config.num_thresholds
    decoder = DecoderConfig(
        phase_temperature=1.0,
        action_temperature=1.0,
        smoothing_seconds=0.0,
        enter_C=(0.6,) * count,
        exit_C=(0.4,) * count,
        min_on_seconds_C=(0.0,) * count,
        min_off_seconds_C=(0.0,) * count,
    )
    metrics = msgspec.json.decode(msgspec.json.encode(Bundle.load("workcell").metrics))
    return write_bundle(
        folder,
        model=network,
        config=config,
        preprocess=Preprocess(),
        decoder=decoder,
        metrics=metrics,
    )


def write_videos(folder: Path, examples: list[Example]) -> Path:
    """The examples as feature files with a table of what is true in them."""
    rows = ["video,start,end,label,kind"]
    for example in examples:
        np.save(folder / example.name, example.features_TD.T)
        ends = [*example.pts_T[1:], example.pts_T[-1] + 1 / SET.fps]
        for t, (start, end) in enumerate(zip(example.pts_T, ends, strict=True)):
            rows.append(f"{example.name},{start},{end},{PHASES[example.phases_T[t]]},phase")
            if example.actions_TA[t, 0]:
                rows.append(f"{example.name},{start},{end},lamp,action")
    (folder / "told.csv").write_text("\n".join(rows) + "\n")
    (folder / "told.features.json").write_bytes(msgspec.json.encode(SET))
    return folder / "told.csv"
