"""What batching the temporal model gives: frames/s of 32 streams a batch against one stream.

    python -m benchmarks.temporal_batch

For each cell, as wide as the bundle that ships: onnxruntime's session alone, and `TemporalModel`
around it, both with one thread. Repetitions of all cases take turns, because this machine is
shared; the figures are medians, and a ratio compares medians of the same turns.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import msgspec
import numpy as np
import torch

from streamer.models.bundle import Bundle
from streamer.models.config import Architecture
from streamer.models.temporal.network import RecurrentNetwork
from streamer.models.temporal.onnx import INPUTS, OUTPUTS, OnnxTemporalModel
from streamer.training.graph import make_graph

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH = 32
TARGET = 20.0


@dataclass(slots=True)
class Case:
    """One way to step one cell.

    Attributes:
        cell: Which.
        layer_norm: Whether it normalises.
        rows: Streams per step.
        bare: Onnxruntime's session alone.
        step: Does it once.
        rates: Frames/s of each repetition.
    """

    cell: str
    layer_norm: bool
    rows: int
    bare: bool
    step: Callable[[], object]
    rates: list[float] = field(default_factory=list)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--steps", type=int, default=400, help="in each repetition of each case")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cases = [
            case
            for cell in get_args(Architecture)
            for layer_norm in (False, True)
            for case in make_cases(Path(folder), cell, layer_norm=layer_norm)
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


def make_cases(folder: Path, cell: Architecture, *, layer_norm: bool) -> list[Case]:
    """One and 32 rows, bare and not, of one cell."""
    shipped = Bundle.load("workcell")
    config = msgspec.structs.replace(shipped.config, architecture=cell, layer_norm=layer_norm)
    torch.manual_seed(0)
    (folder / "model.onnx").write_bytes(make_graph(RecurrentNetwork(config).eval()))
    bundle = replace(shipped, config=config, path=folder)
    cases = []
    for rows in (1, BATCH):
        model = OnnxTemporalModel(bundle, rows=rows)
        random = np.random.default_rng(0)
        features = random.gamma(0.5, 0.5, (rows, config.feature_dim)).astype(np.float32)
        state = np.zeros((config.num_layers, rows, config.hidden_dim), np.float32)
        arrays = (features, state, state.copy())
        cases.append(Case(cell, layer_norm, rows, True, _bare(model, arrays)))
        cases.append(Case(cell, layer_norm, rows, False, _whole(model, arrays)))
    return cases


def _bare(
    model: OnnxTemporalModel, arrays: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> Callable[[], object]:
    session, inputs = model._session, dict(zip(INPUTS, arrays, strict=True))
    return lambda: session.run(OUTPUTS, inputs)


def _whole(
    model: OnnxTemporalModel, arrays: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> Callable[[], object]:
    return lambda: model.step(*arrays)


def report(cases: list[Case]) -> None:
    """Print the table."""
    print(f"\nFrames/s, one thread, medians; target {TARGET:g} x")
    print(
        f"\n| Cell | onnxruntime, 1 | onnxruntime, {BATCH} | ratio "
        f"| TemporalModel, 1 | TemporalModel, {BATCH} | ratio |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|")
    names = dict.fromkeys((case.cell, case.layer_norm) for case in cases)
    for name in names:
        columns = []
        for bare in (True, False):
            one, many = (
                statistics.median(case.rates)
                for rows in (1, BATCH)
                for case in cases
                if (case.cell, case.layer_norm) == name and (case.rows, case.bare) == (rows, bare)
            )
            columns += [f"{one:,.0f}", f"{many:,.0f}", f"{many / one:.1f}"]
        print(f"| {name[0]}{', LayerNorm' * name[1]} | {' | '.join(columns)} |")


if __name__ == "__main__":
    main()
