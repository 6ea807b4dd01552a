"""The models that have made states on a server, and the one that is wanted."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import msgspec

from streamer.transport.connection import redis_errors

if TYPE_CHECKING:
    import redis

    from streamer.transport.keys import Keys


class ModelEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What a model says, for those who come after it.

    Attributes:
        name: For people.
        phases: Its phase labels, in the order of its outputs.
        actions: Its action labels; their outputs follow.
        encoder_id: Of the encoder it reads; empty if nobody wrote it down.
    """

    name: str
    phases: tuple[str, ...]
    actions: tuple[str, ...]
    encoder_id: str = ""


class WantedModel(msgspec.Struct, frozen=True, kw_only=True):
    """What all temporal workers are to run.

    Attributes:
        model_id: Of the bundle, as it was when it was asked for.
        bundle: Name of a shipped one, or a folder: each worker finds it there.
    """

    model_id: str
    bundle: str


CONFIGURED = WantedModel(model_id="", bundle="")
"""Wanted where each worker is to go back to the bundle of its settings."""


class ModelRegistry:
    """The models that have made states here, and the one that is wanted.

    Args:
        client: The connection.
        keys: Of the install.
        configured: What a worker's own settings say, which `CONFIGURED` stands for; None: the
            reader is no worker.
    """

    def __init__(
        self, client: redis.Redis, *, keys: Keys, configured: WantedModel | None = None
    ) -> None:
        self._client = client
        self._configured = configured
        self._key = keys.models
        self._wanted_key = keys.wanted_model

    def put(self, model_id: str, entry: ModelEntry) -> None:
        """Remember a model."""
        with redis_errors("write model"):
            self._client.hset(self._key, model_id, msgspec.json.encode(entry))

    def get(self, model_id: str) -> ModelEntry | None:
        """A model's labels, None if nobody remembers it."""
        with redis_errors("read model"):
            raw: Any = self._client.hget(self._key, model_id)
        try:
            return None if raw is None else msgspec.json.decode(raw, type=ModelEntry)
        except msgspec.MsgspecError:
            return None  # as good as none

    def all(self) -> dict[str, ModelEntry]:
        """Every model that is remembered, by its id."""
        with redis_errors("read models"):
            raw: Any = self._client.hgetall(self._key)
        found = {}
        for model_id, value in raw.items():
            with contextlib.suppress(msgspec.MsgspecError):  # as good as none
                entry = msgspec.json.decode(value, type=ModelEntry)
                found[model_id.decode(errors="replace")] = entry
        return found

    def wanted(self) -> WantedModel | None:
        """The model that is wanted, None if nobody has said.

        A worker then starts with the bundle of its settings, and goes on with what it runs.
        """
        with redis_errors("read wanted model"):
            raw: Any = self._client.get(self._wanted_key)
        try:
            wanted = None if raw is None else msgspec.json.decode(raw, type=WantedModel)
        except msgspec.MsgspecError:
            return None  # as good as none
        return self._configured if wanted == CONFIGURED else wanted

    def want(self, model: WantedModel | None) -> None:
        """Have all temporal workers run a model.

        Args:
            model: Which. `CONFIGURED`: each its own. None: nobody has said.
        """
        with redis_errors("write wanted model"):
            if model is None:
                self._client.delete(self._wanted_key)
            else:
                self._client.set(self._wanted_key, msgspec.json.encode(model))
