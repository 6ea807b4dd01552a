"""Progress bars on stderr; nothing where stderr is no terminal."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
