"""How far it is, on stderr: bars where that is a terminal, and what to do if it is interrupted."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from streamer.training.dataset import Progress as ClipProgress

NAME_WIDTH = 40


@contextmanager
def clip_progress() -> Iterator[Callable[[ClipProgress], None]]:
    """A bar over clips, with the name of the one at work and how much of it is done."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[done]}"),
        TimeElapsedColumn(),
    )
    disable = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=disable) as bar:
        task = bar.add_task("", total=None, done="")

        def show(progress: ClipProgress) -> None:
            minutes, seconds = divmod(round(progress.seconds), 60)
            bar.update(
                task,
                description=progress.name[-NAME_WIDTH:],
                completed=progress.index,
                total=progress.total,
                done=f"{minutes}:{seconds:02d}" if progress.seconds else "",
            )

        yield show


@contextmanager
def says_how_to_go_on(out: Path) -> Iterator[None]:
    """If a training in this folder is interrupted, a line that says so."""
    try:
        yield
    except KeyboardInterrupt:
        print(f"interrupted; the same command goes on from what is kept in {out}", file=sys.stderr)
        raise
