"""Which phase may follow which: from a file of the user, or as seen in training.

The file is a CSV table with the heading `from,to`, a row per transition that is allowed.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from streamer.core.errors import ConfigError
from streamer.training.metrics import stretches

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from streamer.training.dataset import Example
    from streamer.training.metrics import Stretch

HEADING = ["from", "to"]


@dataclass(frozen=True, slots=True)
class Edge:
    """A transition that is allowed, and where the file says so."""

    line: int
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class PhaseGraph:
    """The transitions of a file."""

    path: Path
    edges: tuple[Edge, ...]

    def matrix(self, phases: Sequence[str], examples: Iterable[Example]) -> np.ndarray:
        """Per phase which may follow, bool (P, P).

        Args:
            phases: Of the dataset.
            examples: Labelled clips: they must follow the graph, and a phase that nothing leads to
                must be one that some clip begins with.

        Raises:
            ConfigError: A row names another phase, a phase can't be reached, or a clip takes a
                transition that is not allowed.
        """
        for edge in self.edges:
            for label in (edge.before, edge.after):
                if label not in phases:
                    raise ConfigError(
                        f"{self.path}, line {edge.line}: expected one of the phases "
                        f"{', '.join(phases) or '(there are none)'}, found {label!r}; correct the "
                        "row, or remove it"
                    )
        graph_PP = np.zeros((len(phases), len(phases)), bool)
        for edge in self.edges:
            graph_PP[phases.index(edge.before), phases.index(edge.after)] = True
        known = [(example.name, _runs(example)) for example in examples]
        self._check_clips(graph_PP, phases, known)
        self._check_reach(graph_PP, phases, {runs[0].label for _, runs in known if runs})
        return graph_PP

    def _check_clips(
        self,
        graph_PP: np.ndarray,
        phases: Sequence[str],
        known: Sequence[tuple[str, list[Stretch]]],
    ) -> None:
        for name, runs in known:
            for run, following in _transitions(runs):
                if not graph_PP[run.label, following.label]:
                    before, after = phases[run.label], phases[following.label]
                    raise ConfigError(
                        f"{self.path}: expected a row {before},{after}, found none, though "
                        f"{after!r} follows {before!r} in {name} at {following.start_seconds:g} s; "
                        "add it, or correct the labels"
                    )

    def _check_reach(self, graph_PP: np.ndarray, phases: Sequence[str], begin: set[int]) -> None:
        reached, new = set(begin), set(begin)
        while new:
            new = {int(p) for phase in new for p in np.flatnonzero(graph_PP[phase])} - reached
            reached |= new
        for index, label in enumerate(phases):
            if index not in reached:
                line = next((edge.line for edge in self.edges if edge.before == label), 0)
                starts = ", ".join(phases[phase] for phase in sorted(begin))
                raise ConfigError(
                    f"{self.path}{f', line {line}' if line else ''}: expected a way to {label!r} "
                    f"from the phases that videos begin with ({starts}), found none; add a row "
                    f"PHASE,{label}"
                )


def read_phase_graph(path: Path) -> PhaseGraph:
    """The transitions of a file. Labels are compared later: `PhaseGraph.matrix`.

    Raises:
        ConfigError: It can't be read, or a row is no transition.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, skipinitialspace=True, strict=True)
            heading = [cell.strip() for cell in next(reader, [])]
            if heading != HEADING:
                raise ConfigError(
                    f"{path}: expected the heading from,to, found {','.join(heading) or 'nothing'}"
                )
            rows = [(reader.line_num, cells) for cells in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: can't read the transitions ({error})") from error
    edges = [_edge(path, line, cells) for line, cells in rows if any(map(str.strip, cells))]
    if not edges:
        raise ConfigError(f"{path}: expected a row per transition that is allowed, found none")
    return PhaseGraph(path, tuple(edges))


def _edge(path: Path, line: int, cells: Sequence[str]) -> Edge:
    labels = [" ".join(cell.split()) for cell in cells]
    if len(labels) != 2 or not all(labels):
        raise ConfigError(
            f"{path}, line {line}: expected two phases, from and to, found {','.join(cells)!r}"
        )
    if labels[0] == labels[1]:
        raise ConfigError(
            f"{path}, line {line}: expected two different phases, found {labels[0]!r} twice; a "
            "phase lasts as long as it does without a row"
        )
    return Edge(line, *labels)


def observed_transitions(examples: Iterable[Example], *, num_phases: int) -> np.ndarray:
    """The transitions that labelled clips take, bool (P, P)."""
    graph_PP = np.zeros((num_phases, num_phases), bool)
    for example in examples:
        for run, following in _transitions(_runs(example)):
            graph_PP[run.label, following.label] = True
    return graph_PP


def _runs(example: Example) -> list[Stretch]:
    return stretches(example.phases_T, example.pts_T)


def _transitions(runs: Sequence[Stretch]) -> Iterator[tuple[Stretch, Stretch]]:
    """Without those over frames whose phase nobody knows."""
    for run, following in pairwise(runs):
        if run.end_seconds == following.start_seconds:
            yield run, following
