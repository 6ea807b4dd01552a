"""What a look ahead costs: frames/s of a step, and bytes of state, by frames ahead.

    python -m benchmarks.lookahead

As wide as the bundle that ships, onnxruntime with one thread, all repetitions in turns: this
machine is shared. Figures are medians; 0 frames ahead is the model of one direction.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import torch

from streamer.core.clock import ClockSource
from streamer.core.state import LookaheadState, WaitingFrame
from streamer.models.bundle import Bundle
from streamer.models.temporal.model import LookaheadModel
from streamer.models.temporal.network import RecurrentNetwork
from streamer.models.temporal.registry import open_online_model
from streamer.runtime.clock import SystemClock
from streamer.stages.temporal import TemporalStage
from streamer.training.graph import make_graph
from streamer.transport.state_codec import encode_state

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamer.models.temporal.model import OnlineModel

AHEAD = (0, 1, 2, 5, 10)
LAYERS = (1, 2)
ROWS = (1, 32)


@dataclass(slots=True)
class Case:
    """One model and batch.

    Attributes:
        layers: L.
        ahead: R; 0: one direction.
        rows: Streams per step.
        state_bytes: Of a stream in full swing, as committed.
        step: Does one step.
        rates: Frames/s of each repetition.
    """

    layers: int
    ahead: int
    rows: int
    state_bytes: int
    step: Callable[[], object]
    rates: list[float] = field(default_factory=list)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--steps", type=int, default=200, help="in each repetition of each case")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        cases = [
            make_case(Path(folder), layers, ahead, rows)
            for layers in LAYERS
            for ahead in AHEAD
            for rows in ROWS
        ]
    for repetition in range(options.repetitions + 1):
        for case in cases:
            begun = time.perf_counter()
            for _ in range(options.steps):
                case.step()
            rate = options.steps * case.rows / (time.perf_counter() - begun)
            if repetition:  # the first one warms up
                case.rates.append(rate)
    report(cases)


def make_case(folder: Path, layers: int, ahead: int, rows: int) -> Case:
    """A model with random weights, and the bytes of a stream's state under it."""
    shipped = Bundle.load("workcell")
    config = msgspec.structs.replace(
        shipped.config, num_layers=layers, directions=2 if ahead else 1, lookahead_frames=ahead
    )
    torch.manual_seed(0)
    (folder / "model.onnx").write_bytes(make_graph(RecurrentNetwork(config).eval()))
    bundle = replace(shipped, config=config, path=folder)
    model = open_online_model(bundle, rows=rows)
    return Case(layers, ahead, rows, _state_bytes(bundle, model), _stepping(model))


def _state_bytes(bundle: Bundle, model: OnlineModel) -> int:
    state = TemporalStage(bundle, model).initial("camera-1", row=0).state
    if isinstance(model, LookaheadModel):
        mark, now_ns = SystemClock().mark(), time.time_ns()
        frame = WaitingFrame(now_ns, now_ns, 12.3, ClockSource.HOST, 0.01, 0.01, 0.01, mark)
        inputs_RP = np.ones((model.lookahead_frames, model.projection_dim), np.float32)
        lookahead = LookaheadState((frame,) * model.lookahead_frames, inputs_RP)
        state = replace(state, lookahead=lookahead)
    return len(encode_state(state))


def _stepping(model: OnlineModel) -> Callable[[], object]:
    random = np.random.default_rng(0)
    features = random.gamma(0.5, 0.5, (model.rows, model.feature_dim)).astype(np.float32)
    state = np.zeros((model.num_layers, model.rows, model.hidden_dim), np.float32)
    if not isinstance(model, LookaheadModel):
        one_way = model
        return lambda: one_way.step(features, state, state)
    both_ways = model
    window = np.ones((model.lookahead_frames, model.rows, model.projection_dim), np.float32)
    mask = np.ones((model.lookahead_frames + 1, model.rows), np.float32)
    return lambda: both_ways.step_window(features, window, mask, state, state)


def report(cases: list[Case]) -> None:
    """Print the table."""
    one, many = ROWS
    print(f"\nOne thread, medians\n\n| layers | frames ahead | µs a step, {one} row |", end="")
    print(f" times one direction | µs a step, {many} rows | times one direction | state, bytes |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    rates = {(c.layers, c.ahead, c.rows): statistics.median(c.rates) for c in cases}
    for case in cases:
        if case.rows != one:
            continue
        cells = []
        for rows in ROWS:
            rate = rates[case.layers, case.ahead, rows]
            plain = rates[case.layers, 0, rows]
            cells += [f"{1e6 * rows / rate:.0f}", f"{plain / rate:.1f}"]
        print(f"| {case.layers} | {case.ahead} | {' | '.join(cells)} | {case.state_bytes:,} |")


if __name__ == "__main__":
    main()
