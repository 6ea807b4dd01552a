"""The recurrent network, in torch: for training, export and GPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from streamer.models.temporal.anomaly import AnomalyHead
from streamer.models.temporal.anticipation import AnticipationHead
from streamer.models.temporal.cells import RecurrentCells, make_cells
from streamer.models.temporal.directions import walk_ahead, walk_whole, walk_window
from streamer.models.temporal.heads.registry import make_head

if TYPE_CHECKING:
    from streamer.models.config import ModelConfig
    from streamer.models.temporal.cells import State


class RecurrentNetwork(nn.Module):
    """Features → normalised → projected → recurrent layers → head.

    With a head of outputs per frame, call it; one that reads whole clips gets `hiddens`, as in
    `read_clips`.

    The recurrent layers are the module `lstm` or `gru`, by the cell's family. With an anomaly head
    there is one more output: how far the features are from what was predicted before they came. An
    anticipation head is no part of the outputs: `streamer.training.foresight` asks it.

    Args:
        config: Which cell, how many and how wide; see `ModelConfig`.
        dropout: Probability with which an input or an output of the recurrent layers is dropped in
            training.
    """

    mean_D: Tensor
    scale_D: Tensor

    def __init__(self, config: ModelConfig, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean_D", torch.zeros(config.feature_dim))
        self.register_buffer("scale_D", torch.ones(config.feature_dim))
        self.projection = nn.Linear(config.feature_dim, config.projection_dim)
        self.norm = nn.LayerNorm(config.projection_dim)
        self.dropout = nn.Dropout(dropout)
        self.add_module(config.cell_family, make_cells(config))
        self.head = make_head(config) if config.num_classes else None
        self.anomaly = (
            AnomalyHead(config.feature_dim, config.hidden_dim, config.anomaly_dim)
            if config.anomaly_dim
            else None
        )
        self.anticipation = (
            AnticipationHead(config.hidden_dim, config.anomaly_dim, config.anticipation_frames)
            if config.anticipation_frames
            else None
        )

    @property
    def cells(self) -> nn.LSTM | nn.GRU | RecurrentCells:
        """The recurrent layers."""
        cells = self.get_submodule(self.config.cell_family)
        assert isinstance(cells, nn.LSTM | nn.GRU | RecurrentCells)
        return cells

    def fit_normalisation(self, features_ND: Tensor) -> None:
        """Take mean and spread of each feature from the training part.

        A feature that hardly varies there keeps its scale: it would only amplify noise.
        """
        std_D = features_ND.std(dim=0)
        self.mean_D.copy_(features_ND.mean(dim=0))
        self.scale_D.copy_(1 / std_D.clamp_min(0.1 * float(std_D.median().clamp_min(1e-6))))
        if self.anomaly is not None:
            self.anomaly.fit_basis((features_ND - self.mean_D) * self.scale_D)

    def initial_state(self, batch_size: int) -> State:
        """Zeros: the state before a stream's first frame, of the forward direction."""
        shape = (self.config.num_layers, batch_size, self.config.hidden_dim)
        zeros_LBH = self.mean_D.new_zeros(shape)
        return zeros_LBH, zeros_LBH.clone()

    def forward(
        self, features_TBD: Tensor, state: State, *, clean_TBD: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """T frames of B streams.

        With two directions, frames after the last of these are not seen: outputs near the end are
        those of a recording that ends there.

        Args:
            features_TBD: float32 (T, B, D).
            state: Before the first frame, (L, B, H) each.
            clean_TBD: What predictions are compared with, where `features_TBD` is disturbed.

        Returns:
            Outputs (T, B, C), one column more with an anomaly head, and the state after the last
            frame.
        """
        normed_TBD = (features_TBD - self.mean_D) * self.scale_D
        hidden_before_BH = state[0][-1]
        hiddens_TBH, state = self._recur(normed_TBD, state, None)
        parts = [] if self.head is None else [self.head(self.dropout(hiddens_TBH))]
        if self.anomaly is not None:
            if clean_TBD is not None:
                normed_TBD = (clean_TBD - self.mean_D) * self.scale_D
            before_TBH = torch.cat((hidden_before_BH[None], hiddens_TBH[:-1]))
            scores_TB = self.anomaly(self.dropout(before_TBH), normed_TBD)
            parts.append(scores_TB[..., None])
        return torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0], state

    def hiddens(
        self, features_TBD: Tensor, state: State, *, mask_TB: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """What the head sees: outputs of the last recurrent layer.

        Args:
            features_TBD: float32 (T, B, D).
            state: Before the first frame, (L, B, H) each.
            mask_TB: float32, 1 for a clip's frames and then 0, where clips end at different times.
                A backward direction then begins at each clip's own end; outputs and states after
                it mean nothing.

        Returns:
            (T, B, directions · H), and the state after the last frame.
        """
        normed_TBD = (features_TBD - self.mean_D) * self.scale_D
        hiddens_TBH, state = self._recur(normed_TBD, state, mask_TB)
        return self.dropout(hiddens_TBH), state

    def look(
        self, features_BD: Tensor, window_RBP: Tensor, mask_SB: Tensor, state: State
    ) -> tuple[Tensor, State, Tensor]:
        """One frame of a network that looks ahead. See `LookaheadModel.step_window`.

        Returns:
            Outputs (B, C) of the frame in slot 0, the state after it, and the projection of the
            frame that has come (B, P).
        """
        cells = self.cells
        assert isinstance(cells, RecurrentCells), "layers that look ahead are a loop"
        assert self.head is not None, "a network without labels has one direction"
        inputs_BP = self._project((features_BD - self.mean_D) * self.scale_D)
        window_SBP = torch.cat((window_RBP, inputs_BP[None]))
        hiddens_BI, state = walk_window(cells, window_SBP, state, mask_SB=mask_SB)
        return self.head(hiddens_BI), state, inputs_BP

    def _project(self, normed: Tensor) -> Tensor:
        return torch.relu(self.norm(self.projection(normed)))

    def _recur(
        self, normed_TBD: Tensor, state: State, mask_TB: Tensor | None
    ) -> tuple[Tensor, State]:
        return self._walk(self.dropout(self._project(normed_TBD)), state, mask_TB)

    def _walk(
        self, inputs_TBP: Tensor, state: State, mask_TB: Tensor | None
    ) -> tuple[Tensor, State]:
        cells, config = self.cells, self.config
        if isinstance(cells, RecurrentCells):
            if config.directions == 1:
                return cells(inputs_TBP, state)  # type: ignore[no-any-return]
            if not config.lookahead_frames:
                return walk_whole(cells, inputs_TBP, state, mask_TB=mask_TB)
            return walk_ahead(
                cells,
                inputs_TBP,
                state,
                lookahead_frames=config.lookahead_frames,
                mask_TB=mask_TB,
            )
        hidden, cell = (self._with_backward(part) for part in state)
        inputs: Tensor | PackedSequence = inputs_TBP
        if mask_TB is not None and config.directions == 2:
            lengths_B = mask_TB.sum(dim=0).long().cpu()
            inputs = pack_padded_sequence(inputs_TBP, lengths_B, enforce_sorted=False)
        if isinstance(cells, nn.GRU):
            outputs, hidden = cells(inputs, hidden)
        else:
            outputs, (hidden, cell) = cells(inputs, (hidden, cell))
        if isinstance(inputs, PackedSequence):
            outputs, _ = pad_packed_sequence(outputs, total_length=len(inputs_TBP))
        # torch alternates the directions.
        return outputs, (hidden[:: config.directions], cell[:: config.directions])

    def _with_backward(self, part_LBH: Tensor) -> Tensor:
        """With zeros for the backward direction, which begins anew at each end."""
        if self.config.directions == 1:
            return part_LBH
        return torch.stack((part_LBH, torch.zeros_like(part_LBH)), dim=1).flatten(0, 1)


def read_clips(
    network: RecurrentNetwork, features_TBD: Tensor, mask_TB: Tensor
) -> tuple[Tensor, Tensor]:
    """What a head with pooling says of B whole clips.

    Args:
        network: Its head is `sequence`, or `regression` with pooling.
        features_TBD: float32, anything after a clip's end.
        mask_TB: float32, 1 for a clip's frames and then 0; at least one frame each.

    Returns:
        Logits or values (B, C), and the weights over time (T, B).
    """
    state = network.initial_state(features_TBD.shape[1])
    outputs_TBI, _ = network.hiddens(features_TBD, state, mask_TB=mask_TB)
    assert network.head is not None, "a network without labels reads no clips"
    outputs_BC, weights_TB = network.head(outputs_TBI, mask_TB)
    return outputs_BC, weights_TB
