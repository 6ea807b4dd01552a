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
    for name, expected, found in (
        ("encoder", encoder_id, config.encoder_id),
        ("phases", labels.phases, config.phases),
        ("actions", labels.actions, config.actions),
    ):
        if expected != found:
            raise ConfigError(
                f"teacher {teacher.path}: {name}: expected {expected}, found {found}; "
                f"take one that was trained on this dataset"
            )
    outputs = predict(load_network(teacher), dataset.train)
    return replace(
        dataset,
        train=tuple(
            replace(example, teacher_TC=logits_TC)
            for example, logits_TC in zip(dataset.train, outputs, strict=True)
        ),
    )
