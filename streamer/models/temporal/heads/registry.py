"""From a configuration to its head."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from streamer.models.temporal.heads.captioner import Captioner
from streamer.models.temporal.heads.pooling import SequenceHead
from streamer.models.temporal.heads.regression import RegressionHead

if TYPE_CHECKING:
    from streamer.models.config import ModelConfig


def make_head(config: ModelConfig) -> nn.Module:
    """The head on top of the recurrent layers, with random weights."""
    input_dim = config.directions * config.hidden_dim
    if config.head == "sequence":
        return SequenceHead(config.pooling, input_dim, config.num_classes)
    if config.head == "regression":
        return RegressionHead(config.pooling, input_dim, config.num_classes)
    if config.head == "caption":
        return Captioner(input_dim, config.hidden_dim, len(config.targets))
    return nn.Linear(input_dim, config.num_classes)
