"""Layers in two directions: over a whole recording, or with a bounded look ahead.

Whole recordings: Schuster and Paliwal (1997). Bounded: the latency-controlled layers of Zhang et
al. (2016), "Highway long short-term memory RNNs for distant speech recognition", section 4, with
chunks of one frame. For each frame t all layers walk over the window t … t + R: forwards from the
state that t - 1 left, backwards from zeros at the window's end. What follows t in the window is
computed for t's sake and forgotten; only the forward state after t itself is carried on. So the
outputs for t depend on the past and on R frames to come, however the frames arrive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from streamer.models.temporal.cells import RecurrentCells, State


def walk_whole(
    cells: RecurrentCells, inputs_TBI: Tensor, state: State, *, mask_TB: Tensor | None = None
) -> tuple[Tensor, State]:
    """T steps forwards from `state` and backwards from zeros, as `torch.nn.LSTM` does it.

    Where a row ends before the others, `mask_TB` is 0, and its backward walk begins there.

    Returns:
        Both directions' hidden after each step (T, B, 2 H), and the forward state after the last,
        (L, B, H) each.
    """
    outputs, after = inputs_TBI, []
    for layer in range(cells.num_layers):
        hidden, cell = state[0][layer], state[1][layer]
        forward, forward_cells = cells.walk(f"l{layer}", outputs, (hidden, cell))
        zeros = torch.zeros_like(hidden)
        backward, _ = cells.walk(
            f"l{layer}_reverse",
            outputs.flip(0),
            (zeros, zeros),
            mask_TB=None if mask_TB is None else mask_TB.flip(0),
        )
        outputs = torch.cat((forward, backward.flip(0)), dim=-1)
        after.append((forward[-1], forward_cells[-1]))
    hiddens, forward_cells_L = zip(*after, strict=True)
    return outputs, (torch.stack(hiddens), torch.stack(forward_cells_L))


def walk_ahead(
    cells: RecurrentCells,
    inputs_TBI: Tensor,
    state: State,
    *,
    lookahead_frames: int,
    mask_TB: Tensor | None = None,
) -> tuple[Tensor, State]:
    """T steps, the backward direction from at most `lookahead_frames` steps ahead.

    The last frames see fewer: those that there are. Where a row ends before the others, `mask_TB`
    is 0.

    Returns:
        As `walk_whole`.
    """
    steps, batch, _ = inputs_TBI.shape
    width = lookahead_frames + 1
    # Window w of frame t, step j: frame t + j. W windows' steps, T frames, B rows.
    padded = functional.pad(inputs_TBI, (0, 0, 0, 0, 0, lookahead_frames))
    windows_WTBI = torch.stack([padded[j : j + steps] for j in range(width)])
    there_TB = inputs_TBI.new_ones(steps, batch) if mask_TB is None else mask_TB
    later_TB = functional.pad(there_TB, (0, 0, 0, lookahead_frames))
    mask_WN = torch.stack([later_TB[j : j + steps] for j in range(width)]).flatten(1)
    after = []
    for layer in range(cells.num_layers):
        hidden, cell = state[0][layer], state[1][layer]
        hiddens_TBH, cells_TBH = cells.walk(f"l{layer}", windows_WTBI[0], (hidden, cell))
        after.append((hiddens_TBH[-1], cells_TBH[-1]))
        windows_WNI = windows_WTBI.flatten(1, 2)
        start = (hiddens_TBH.flatten(0, 1), cells_TBH.flatten(0, 1))
        ahead_VNH, _ = cells.walk(f"l{layer}", windows_WNI[1:], start)
        forward_WNH = torch.cat((start[0][None], ahead_VNH))
        zeros = torch.zeros_like(start[0])
        backward_WNH, _ = cells.walk(
            f"l{layer}_reverse", windows_WNI.flip(0), (zeros, zeros), mask_TB=mask_WN.flip(0)
        )
        both = torch.cat((forward_WNH, backward_WNH.flip(0)), dim=-1)
        windows_WTBI = both.reshape(width, steps, batch, -1)
    hiddens, forward_cells = zip(*after, strict=True)
    return windows_WTBI[0], (torch.stack(hiddens), torch.stack(forward_cells))
