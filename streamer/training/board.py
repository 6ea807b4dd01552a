"""The course of a training for TensorBoard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from torch.utils.tensorboard.writer import SummaryWriter

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from streamer.training.fit import Check


class Board:
    """Writes event files to a folder. To be entered."""

    def __init__(self, folder: Path) -> None:
        self._writer = SummaryWriter(str(folder))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.close()

    def show(self, check: Check) -> None:
        """Add a look at the validation part."""
        for name, value in (
            ("loss/train", check.train_loss),
            ("loss/validation", check.validation_loss),
            ("accuracy/phase", check.phase_accuracy),
            ("learning_rate", check.learning_rate),
        ):
            self._writer.add_scalar(name, value, check.update)

    def show_losses(self, update: int, train_loss: float, validation_loss: float) -> None:
        """Add a look at the validation part of clips."""
        self._writer.add_scalar("loss/train", train_loss, update)
        self._writer.add_scalar("loss/validation", validation_loss, update)
