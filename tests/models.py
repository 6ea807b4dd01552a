"""A temporal model small enough to reason about, and a bundle around it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from streamer.models.config import GapConfig

PHASES = ("idle", "work", "rest")
ACTIONS = ("lamp", "door")


class LeakyModel:
    """Outputs follow the features slowly: hidden = (hidden + 3 features) / 4, logits = 8 hidden.

    A real recurrence, exact in what it depends on: its own row, nothing else.
    """

    num_layers = 1
    hidden_dim = 5
    feature_dim = 5
    num_classes = 5

    def __init__(self, rows: int = 4) -> None:
        self.rows = rows
        self.calls: list[np.ndarray] = []

    def step(self, features_BD, hidden_LBH, cell_LBH):
        assert features_BD.shape == (self.rows, self.feature_dim)
        hidden = (hidden_LBH + 3 * features_BD[None]) / 4
        cell = cell_LBH + 1
        self.calls.append(features_BD.copy())
        return 8 * hidden[0], hidden, cell

    def close(self) -> None:
        pass


class AheadModel:
    """As `LeakyModel`, and each frame also hears those ahead: half of each one more frame away.

    logits = 8 hidden + Σ 8 features · 2^-k, k frames ahead. The projection is 2 features.
    """

    num_layers = 1
    hidden_dim = 5
    feature_dim = 5
    num_classes = 5
    projection_dim = 5

    def __init__(self, rows: int = 4, lookahead_frames: int = 3) -> None:
        self.rows, self.lookahead_frames = rows, lookahead_frames
        self.masks: list[np.ndarray] = []

    def step_window(self, features_BD, window_RBP, mask_SB, hidden_LBH, cell_LBH):
        assert window_RBP.shape == (self.lookahead_frames, self.rows, self.projection_dim)
        inputs_BP = 2 * features_BD
        slots_SBP = np.concatenate((window_RBP, inputs_BP[None]))
        hidden = (hidden_LBH + 3 * slots_SBP[:1] / 2) / 4
        weights_SB = (
            mask_SB * np.float32(0.5) ** np.arange(len(slots_SBP), dtype=np.float32)[:, None]
        )
        ahead_BP = (slots_SBP[1:] * weights_SB[1:, :, None]).sum(axis=0)
        self.masks.append(mask_SB.copy())
        return 8 * hidden[0] + 4 * ahead_BP, hidden, cell_LBH + 1, inputs_BP

    def close(self) -> None:
        pass


def decoder_config(**changes):
    fields = {
        "phase_temperature": 1.0,
        "action_temperature": 1.0,
        "smoothing_seconds": 0.0,
        "enter_C": (0.6,) * 5,
        "exit_C": (0.4,) * 5,
        "min_on_seconds_C": (0.3,) * 5,
        "min_off_seconds_C": (0.3,) * 5,
        "phase_filter": None,
        "anomaly": None,
    }
    return SimpleNamespace(**(fields | changes))


def bundle(*, model_id="sha256:model", gap=None, lookahead_frames=0, **decoder):
    return SimpleNamespace(
        model_id=model_id,
        config=SimpleNamespace(
            name="test",
            phases=PHASES,
            actions=ACTIONS,
            analysis_fps=10.0,
            encoder="test",
            encoder_id="sha256:encoder",
            feature_dim=5,
            num_classes=5,
            head="frames",
            gap=gap or GapConfig(hold_seconds=1.0),
            lookahead_frames=lookahead_frames,
            lookahead_seconds=lookahead_frames / 10.0,
        ),
        decoder=decoder_config(**decoder),
    )


def features_of(phase: int, *actions: int) -> np.ndarray:
    """Features that make the model say this phase and these actions (0 lamp, 1 door)."""
    row = np.zeros(5)
    row[phase] = 1.0
    row[3:] = -0.5
    for action in actions:
        row[3 + action] = 0.5
    return row
