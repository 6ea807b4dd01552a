"""`/v1/models`: the models that are known, and the one that is wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter
from pydantic import BaseModel

from streamer.transport.model_registry import ModelRegistry
from workers.gateway.auth import Scope, require

if TYPE_CHECKING:
    from workers.gateway.context import Context


class ModelInfo(BaseModel):
    """A model that has watched a stream here."""

    id: str
    name: str
    phases: list[str]
    actions: list[str]
    encoder_id: str


class WantedInfo(BaseModel):
    """What all temporal workers are to run."""

    id: str
    bundle: str


class ModelList(BaseModel):
    """All of them. `wanted` is null where each worker runs what its settings say."""

    models: list[ModelInfo]
    wanted: WantedInfo | None


def models_router(context: Context) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["models"])

    @router.get("/v1/models", dependencies=[require(Scope.EVENTS_READ)])
    def models() -> ModelList:
        """The models known here, and the one that is wanted."""
        registry = ModelRegistry(context.client, keys=context.keys)
        wanted = registry.wanted()
        return ModelList(
            models=[
                ModelInfo(
                    id=model_id,
                    name=entry.name,
                    phases=list(entry.phases),
                    actions=list(entry.actions),
                    encoder_id=entry.encoder_id,
                )
                for model_id, entry in sorted(registry.all().items())
            ],
            wanted=None if wanted is None else WantedInfo(id=wanted.model_id, bundle=wanted.bundle),
        )

    return router
