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
        start = (hiddens_TBH.flatten(0, 1), cells_TBH.flatten(0, 1))
        both = _walk_on(cells, layer, windows_WTBI.flatten(1, 2), start, mask_WN)
        windows_WTBI = both.reshape(len(both), steps, batch, -1)
    hiddens, forward_cells = zip(*after, strict=True)
    return windows_WTBI[0], (torch.stack(hiddens), torch.stack(forward_cells))


def walk_window(
    cells: RecurrentCells, window_SBI: Tensor, state: State, *, mask_SB: Tensor
) -> tuple[Tensor, State]:
    """The window of one frame: what `walk_ahead` does for its first frame, as serving needs it.

    Args:
        cells: The layers.
        window_SBI: The frame, and those that follow it.
        state: Before that frame, (L, B, H) each.
        mask_SB: float32, 1 for frames that there are and then 0.

    Returns:
        Both directions' hidden of the first frame (B, 2 H), and the forward state after it.
    """
    after = []
    for layer in range(cells.num_layers):
        hidden, cell = state[0][layer], state[1][layer]
        hiddens_1BH, cells_1BH = cells.walk(f"l{layer}", window_SBI[:1], (hidden, cell))
        start = (hiddens_1BH[0], cells_1BH[0])
        after.append(start)
        window_SBI = _walk_on(cells, layer, window_SBI, start, mask_SB)
    hiddens, forward_cells = zip(*after, strict=True)
    return window_SBI[0], (torch.stack(hiddens), torch.stack(forward_cells))


def _walk_on(
    cells: RecurrentCells, layer: int, windows_WNI: Tensor, start: State, mask_WN: Tensor
) -> Tensor:
    """A layer over N windows, whose forward state after the first step is `start`.

    The last layer needs to say only what the first step is like.

    Returns:
        Both directions' hidden of each step, (W, N, 2 H); of the last layer (1, N, 2 H).
    """
    zeros = torch.zeros_like(start[0])
    backward_WNH, _ = cells.walk(
        f"l{layer}_reverse", windows_WNI.flip(0), (zeros, zeros), mask_TB=mask_WN.flip(0)
    )
    if layer == cells.num_layers - 1:
        return torch.cat((start[0], backward_WNH[-1]), dim=-1)[None]
    ahead_VNH, _ = cells.walk(f"l{layer}", windows_WNI[1:], start)
    forward_WNH = torch.cat((start[0][None], ahead_VNH))
    return torch.cat((forward_WNH, backward_WNH.flip(0)), dim=-1)
