"""A bundle, opened and warmed up: what a temporal worker serves, and how it gets another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from streamer.core.errors import ModelError
from streamer.models.bundle import Bundle
from streamer.models.replacement import check_replacement
from streamer.models.temporal.registry import open_online_model
from streamer.models.temporal.walk import walk
from streamer.stages.drift import DriftReference
from streamer.stages.drift_watch import DriftWatch
from streamer.stages.temporal import TemporalStage
from streamer.transport.model_registry import ModelEntry

if TYPE_CHECKING:
    from streamer.core.config import TemporalSettings
    from streamer.models.config import ModelConfig
    from streamer.models.temporal.model import OnlineModel
    from streamer.transport.model_registry import WantedModel

WARM_UP_STEPS = 3
"""The first calls allocate."""


@dataclass(frozen=True, slots=True)
class ServedModel:
    """Ready to step. Close it when another has taken over."""

    bundle: Bundle
    model: OnlineModel
    stage: TemporalStage
    drift: DriftWatch

    @classmethod
    def open(cls, bundle: Bundle, settings: TemporalSettings) -> Self:
        """Open a bundle's model and let it step.

        Raises:
            ModelError: It can't be served here.
        """
        model = open_online_model(bundle, rows=settings.rows, backend=settings.backend)
        try:
            _warm_up(model, where=str(bundle.path))
            drift = DriftWatch(DriftReference.of(bundle))
        except ModelError:
            model.close()
            raise
        return cls(bundle, model, TemporalStage(bundle, model, watch=drift), drift)

    @classmethod
    def open_wanted(
        cls, wanted: WantedModel, settings: TemporalSettings, *, running: ModelConfig
    ) -> Self:
        """Open the model that is wanted, to take the place of one that runs.

        Raises:
            ModelError: It is not there, not the one that was wanted, or does not fit.
        """
        bundle = Bundle.load(wanted.bundle)
        if bundle.model_id != wanted.model_id:
            raise ModelError(
                f"bundle {wanted.bundle}: expected {wanted.model_id}, as it was when it was asked "
                f"for, found {bundle.model_id}; ask for it again with `streamer models use`"
            )
        check_replacement(running, bundle.config)
        return cls.open(bundle, settings)

    @property
    def model_id(self) -> str:
        """Of the bundle."""
        return self.bundle.model_id

    @property
    def entry(self) -> ModelEntry:
        """What those who come after it must know."""
        config = self.bundle.config
        return ModelEntry(
            name=config.name,
            phases=config.phases,
            actions=config.actions,
            encoder_id=config.encoder_id,
        )

    def close(self) -> None:
        """Free the model's memory. Idempotent."""
        self.model.close()


def _warm_up(model: OnlineModel, *, where: str) -> None:
    zeros_TBD = np.zeros((WARM_UP_STEPS, model.rows, model.feature_dim), np.float32)
    if not all(np.isfinite(array).all() for array in walk(model, zeros_TBD)):
        raise ModelError(
            f"{where}: expected finite outputs for features of zeros, found infinity or NaN; "
            "the weights are unusable: train or export it again"
        )
