"""What the files of a bundle say: the model's configuration and the decoder's."""

from __future__ import annotations

from typing import Literal

import msgspec

from streamer.core.event import GapPolicy
from streamer.models.anomaly import AnomalyConfig
from streamer.models.phase_filter import PhaseFilterConfig

FORMAT_VERSION = 1
"""Of bundles."""
Architecture = Literal["lstm", "lstm_peephole", "lstm_coupled", "gru"]
"""The recurrent cells. Each is described where it is computed: `streamer.models.temporal.cells`."""
NUM_GATES: dict[Architecture, int] = {
    "lstm": 4,
    "lstm_peephole": 4,
    "lstm_coupled": 3,
    "gru": 3,
}
"""Rows of a cell's weight matrices, in hidden widths."""


Head = Literal["frames", "sequence", "ctc", "regression", "caption"]
"""What stands on the recurrent layers: classes of each frame, a class of the clip, phases known
only in order, values, a caption. See `streamer.models.temporal.heads`."""
Pooling = Literal["none", "last", "mean", "attention"]
"""How frames become one vector per clip; `none`: outputs are per frame."""


_LABELS: dict[Head, tuple[str, ...]] = {
    "frames": ("phases", "actions"),
    "sequence": ("phases",),
    "ctc": ("phases",),
    "regression": ("targets",),
    "caption": ("targets",),
}


class GapConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a gap in the video does to the recurrent state. Another epoch always resets it.

    Attributes:
        hold_seconds: After a gap up to this long the state is kept as it is.
        policy: What a longer one does.
        half_life_seconds: With `decay`: the state fades to a half in this time.
        state_ttl_seconds: After so long the state is reset, whatever the policy, even if no frame
            is missing.
    """

    hold_seconds: float
    policy: GapPolicy = GapPolicy.RESET
    half_life_seconds: float = 2.0
    state_ttl_seconds: float = 60.0

    def __post_init__(self) -> None:
        if self.hold_seconds < 0:
            raise ValueError(f"hold_seconds: expected at least 0, found {self.hold_seconds}")
        for name in ("half_life_seconds", "state_ttl_seconds"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: expected above 0, found {getattr(self, name)}")

    def policy_after(self, seconds: float) -> GapPolicy:
        """What to do after so many seconds without a frame."""
        if seconds > self.state_ttl_seconds:
            return GapPolicy.RESET
        return GapPolicy.HOLD if seconds <= self.hold_seconds else self.policy


class ModelConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`config.json`: what the model is.

    Attributes:
        name: For people.
        architecture: Which recurrent cell.
        feature_dim: D.
        projection_dim: P, width of the first recurrent layer's input.
        hidden_dim: H, of each direction.
        num_layers: L.
        phases: Labels of which one holds at a time, in the order of the outputs; with the head
            `sequence`, one in a whole clip.
        actions: Labels of which any number hold; their outputs follow.
        analysis_fps: Frames per second it was trained with.
        encoder: Name of the encoder it was trained with.
        encoder_id: Digest of that encoder and its preprocessing.
        gap: See `GapConfig`.
        layer_norm: Whether the cells normalise their gates and what they put out.
        directions: 2: each layer also walks backwards, from frames that are still to come.
        lookahead_frames: How many frames to come the backward direction sees: so much later the
            outputs for a frame are known. With 2 directions, 0 means all of them: such a model
            reads whole recordings only.
        precision: Of the weights in `model.onnx`. An `int8` model serves one row per batch: what
            its steps are rounded by depends on all rows.
        anomaly_dim: K, how many components of the next frame's features the anomaly head predicts;
            0: there is none. With one, the last output is the score of the frame.
        anticipation_frames: F, how many frames ahead an anticipation head guesses the same
            components; 0: there is none. It has no part in serving.
        head: What stands on the recurrent layers.
        pooling: How frames become one vector per clip, for `sequence` and `regression`.
        targets: Names of what is neither phase nor action: the values of a regression, or the
            words of captions.
        format_version: Of the bundle.
    """

    name: str
    architecture: Architecture
    feature_dim: int
    projection_dim: int
    hidden_dim: int
    num_layers: int
    phases: tuple[str, ...]
    actions: tuple[str, ...]
    analysis_fps: float
    encoder: str
    encoder_id: str
    gap: GapConfig
    layer_norm: bool = False
    directions: Literal[1, 2] = 1
    lookahead_frames: int = 0
    precision: Literal["float32", "int8"] = "float32"
    anomaly_dim: int = 0
    anticipation_frames: int = 0
    head: Head = "frames"
    pooling: Pooling = "none"
    targets: tuple[str, ...] = ()
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        if self.format_version != FORMAT_VERSION:
            raise ValueError(
                f"format_version: expected {FORMAT_VERSION}, found {self.format_version}; "
                f"use the version of streamer that made it, or train it again"
            )
        for name in ("feature_dim", "projection_dim", "hidden_dim", "num_layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, found {getattr(self, name)}")
        if self.lookahead_frames < 0 or (self.lookahead_frames and self.directions == 1):
            raise ValueError(
                f"lookahead_frames: expected 0 with one direction, at least 0 with two, found "
                f"{self.lookahead_frames} with {self.directions}"
            )
        if self.analysis_fps <= 0:
            raise ValueError(f"analysis_fps: expected a number above 0, found {self.analysis_fps}")
        self._check_anomaly()
        self._check_head()
        labels = (*self.phases, *self.actions, *self.targets)
        if not (labels or self.anomaly_dim) or not all(labels):
            raise ValueError("expected at least one label or an anomaly head, none of them empty")
        if twice := [label for label in labels if labels.count(label) > 1]:
            raise ValueError(f"labels: expected each once, found {twice[0]!r} more than once")

    def _check_anomaly(self) -> None:
        if self.anomaly_dim and not 2 <= self.anomaly_dim <= self.feature_dim:
            raise ValueError(
                f"anomaly_dim: expected 0 or 2 to feature_dim ({self.feature_dim}), found "
                f"{self.anomaly_dim}"
            )
        if self.anticipation_frames < 0 or (self.anticipation_frames and not self.anomaly_dim):
            raise ValueError(
                f"anticipation_frames: expected at least 0, and 0 without an anomaly head, found "
                f"{self.anticipation_frames}"
            )
        if self.anomaly_dim and self.directions == 2:
            raise ValueError("anomaly_dim: expected 0 with two directions: they see the next frame")
        if self.anomaly_dim and self.head != "frames":
            raise ValueError(f"anomaly_dim: expected 0 with the head {self.head}")

    def _check_head(self) -> None:
        can_pool = self.head in ("sequence", "regression")
        if (self.pooling != "none" and not can_pool) or (
            self.pooling == "none" and self.head == "sequence"
        ):
            raise ValueError(
                f"pooling: expected last, mean or attention with the head sequence, any with "
                f"regression and none with others, found {self.pooling} with {self.head}"
            )
        wanted = _LABELS[self.head]
        for name in ("phases", "actions", "targets"):
            if getattr(self, name) and name not in wanted:
                raise ValueError(
                    f"{name}: expected none with the head {self.head}, whose labels are "
                    f"{' and '.join(wanted)}; found {len(getattr(self, name))}"
                )

    @property
    def num_classes(self) -> int:
        """C, width of the outputs: a CTC has a blank beside its phases, a caption an end."""
        beside = self.head in ("ctc", "caption")
        return len(self.phases) + len(self.actions) + len(self.targets) + beside

    @property
    def num_thresholds(self) -> int:
        """How many classes the decoder's thresholds are for."""
        return self.num_classes if self.head == "frames" else 0

    @property
    def reads_whole_clips(self) -> bool:
        """Whether the head says one thing of a clip, and so nothing of a stream that goes on."""
        return self.head == "caption" or self.pooling != "none"

    @property
    def lookahead_seconds(self) -> float:
        """How much video the outputs for a frame wait for."""
        return self.lookahead_frames / self.analysis_fps

    @property
    def num_outputs(self) -> int:
        """Columns of a step's outputs: the classes', then an anomaly head's score."""
        return self.num_classes + (1 if self.anomaly_dim else 0)

    @property
    def cell_family(self) -> str:
        """`lstm` or `gru`: what the names of the recurrent weights begin with."""
        return self.architecture.partition("_")[0]


class DecoderConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`decoder.json`: how outputs become events. Per class: phases, then actions.

    Attributes:
        phase_temperature: Divides the phases' logits, so that probabilities are calibrated.
        action_temperature: The same for the actions'.
        smoothing_seconds: Time constant of the exponential smoothing; 0: none.
        enter_C: Smoothed probability at which a segment begins.
        exit_C: Smoothed probability below which it ends.
        min_on_seconds_C: A segment that did not last so long is retracted.
        min_off_seconds_C: A segment ends once it was below `exit_C` for so long.
        phase_filter: Decides the phases, if there is one: of the thresholds above it keeps
            `enter_C`, at which a phase is announced. Without one they decide.
        anomaly: How scores become alarms, if the model has an anomaly head.
    """

    phase_temperature: float
    action_temperature: float
    smoothing_seconds: float
    enter_C: tuple[float, ...]
    exit_C: tuple[float, ...]
    min_on_seconds_C: tuple[float, ...]
    min_off_seconds_C: tuple[float, ...]
    phase_filter: PhaseFilterConfig | None = None
    anomaly: AnomalyConfig | None = None

    def __post_init__(self) -> None:
        if min(self.phase_temperature, self.action_temperature) <= 0:
            raise ValueError("expected temperatures above 0")
        durations = (self.smoothing_seconds, *self.min_on_seconds_C, *self.min_off_seconds_C)
        if min(durations) < 0:
            raise ValueError(f"expected seconds of at least 0, found {min(durations)}")
        for enter, leave in zip(self.enter_C, self.exit_C, strict=False):
            if not 0 < leave <= enter < 1:
                raise ValueError(
                    f"expected 0 < exit <= enter < 1, found exit {leave} and enter {enter}"
                )
