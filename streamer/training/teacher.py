"""Distillation: another model's outputs as targets beside the labels."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from streamer.core.errors import ConfigError
from streamer.models.temporal.torch import load_network
from streamer.training.fit import predict

if TYPE_CHECKING:
    from streamer.models.bundle import Bundle
    from streamer.training.dataset import Dataset


def check_teacher_encoder(teacher: Bundle, *, encoder_id: str) -> None:
    """Raise ConfigError if it reads features of another encoder."""
    _check(teacher, "encoder", encoder_id, teacher.config.encoder_id)


def taught(dataset: Dataset, teacher: Bundle, *, encoder_id: str) -> Dataset:
    """The dataset with the teacher's outputs on its training part.

    The teacher may see each clip as a whole: one of two directions teaches one of one what it
    could not know yet.

    Args:
        dataset: To train on.
        teacher: Trained on features of the same encoder, with the same labels in the same order.
        encoder_id: Of the features.

    Raises:
        ConfigError: The teacher speaks of other labels or features.
        ModelError: Its weights do not fit its configuration.
    """
    config, labels = teacher.config, dataset.labels
    check_teacher_encoder(teacher, encoder_id=encoder_id)
    _check(teacher, "phases", labels.phases, config.phases)
    _check(teacher, "actions", labels.actions, config.actions)
    outputs = predict(load_network(teacher), dataset.train)
    return replace(
        dataset,
        train=tuple(
            replace(example, teacher_TC=logits_TC)
            for example, logits_TC in zip(dataset.train, outputs, strict=True)
        ),
    )


def _check(teacher: Bundle, name: str, expected: object, found: object) -> None:
    if expected != found:
        raise ConfigError(
            f"teacher {teacher.path}: {name}: expected {expected}, found {found}; "
            f"take one that was trained on this dataset"
        )
