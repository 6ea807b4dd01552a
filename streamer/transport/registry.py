"""What all workers share: the install's record, the desired sources, the models."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from streamer.core.errors import ConfigError, TransportError
from streamer.transport.connection import call, redis_errors
from streamer.transport.keys import Keys

if TYPE_CHECKING:
    import redis


class StreamEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A desired source.

    Attributes:
        slot: A small number of its own, by which encoder workers share the streams evenly, and
            which decides the stream's row in the temporal model's batches.
        source: JSON of the source, without credentials.
        run: Whether a `streamer run` wants it, for as long as it lives.
        removed: Nobody wants it any more, but its end has not been said yet: some ingest worker
            will, and discard the entry.
    """

    slot: int
    source: msgspec.Raw
    run: bool = False
    removed: bool = False


FORMAT = 1
"""Of the keys and what they hold."""


class InstallRecord(NamedTuple):
    """What all who use a server must agree on. The first worker writes it, for good.

    Attributes:
        partitions: P.
        format: See `FORMAT`.
    """

    partitions: int
    format: int


def read_install(client: redis.Redis) -> InstallRecord | None:
    """The record, None before the first worker. Needs only read access.

    Raises:
        TransportError: It is unreadable.
    """
    key = Keys().install
    with redis_errors("read install"):
        raw: Any = client.hmget(key, *InstallRecord._fields)
    if None in raw:
        return None
    try:
        record = InstallRecord(*(int(value) for value in raw))
    except ValueError:
        record = InstallRecord(0, 0)
    if record.partitions < 1:
        raise TransportError(f"{key}: expected numbers of ours, found {raw}", retryable=False)
    return record


def agree(client: redis.Redis, *, keys: Keys) -> None:
    """Check the record, or write it if there is none.

    Raises:
        ConfigError: Others use this server with another P, or in another format.
    """
    wanted = InstallRecord(keys.num_partitions, FORMAT)
    found = read_install(client)
    if found is None:
        # The first one wins, field by field, so two who begin at once read the same.
        with redis_errors("write install"):
            for name, value in wanted._asdict().items():
                client.hsetnx(keys.install, name, str(value))
        found = read_install(client) or wanted
    if found.format != wanted.format:
        raise ConfigError(
            f"{keys.install}: expected data in format {wanted.format}, found format "
            f"{found.format}; use the version of streamer that wrote it, or another server"
        )
    if found.partitions != wanted.partitions:
        raise ConfigError(
            f"redis.partitions: this server was set up with {found.partitions}, this worker "
            f"is configured with {wanted.partitions}; set redis.partitions="
            f"{found.partitions}, or use another server: it can't be changed"
        )


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


class StreamRegistry:
    """Reads and writes the hash of desired sources."""

    def __init__(self, client: redis.Redis, *, keys: Keys) -> None:
        self._client = client
        self._key = keys.streams
        self._finished_key = keys.finished
        self._told: dict[str, bytes] = {}

    def read(self) -> tuple[dict[str, StreamEntry], dict[str, str]]:
        """All sources by stream id, removed ones too; and what is wrong with entries of others.

        A worker looks every second: what is wrong is told once.
        """
        with redis_errors("read streams"):
            raw: Any = self._client.hgetall(self._key)
        entries, unreadable = {}, {}
        for name, value in raw.items():
            stream_id = name.decode(errors="replace")
            try:
                entries[stream_id] = msgspec.json.decode(value, type=StreamEntry)
            except msgspec.MsgspecError as error:
                if self._told.get(stream_id) != value:
                    unreadable[stream_id] = f"{self._key}: unreadable entry {stream_id} ({error})"
                self._told[stream_id] = value
        return entries, unreadable

    def entries(self) -> dict[str, StreamEntry]:
        """All desired sources by stream id.

        Raises:
            TransportError: An entry is not one of ours.
        """
        return {s: entry for s, entry in self._all().items() if not entry.removed}

    def finished(self) -> dict[str, bytes]:
        """By stream, the source that was read to its end: a file is read once."""
        with redis_errors("read finished streams"):
            raw: Any = self._client.hgetall(self._finished_key)
        return {name.decode(errors="replace"): source for name, source in raw.items()}

    def finish(self, stream_id: str, source: bytes) -> None:
        """A source was read to its end. Wanting it again has it read again."""
        with redis_errors("write finished stream"):
            self._client.hset(self._finished_key, stream_id, source)

    def put(self, stream_id: str, source: bytes, *, run: bool = False) -> None:
        """Want a source; one of that name is replaced and keeps its slot."""
        entries = self._all()
        taken = {entry.slot for entry in entries.values()}
        known = entries.get(stream_id)
        slot = known.slot if known else next(n for n in range(len(taken) + 1) if n not in taken)
        entry = StreamEntry(slot=slot, source=msgspec.Raw(source), run=run)
        with redis_errors("write stream"):
            self._client.hset(self._key, stream_id, msgspec.json.encode(entry))
            self._client.hdel(self._finished_key, stream_id)

    def remove(self, stream_id: str) -> None:
        """No longer want a source. An ingest worker stops its camera and says its end."""
        entry = self._all().get(stream_id)
        if entry is None or stream_id in self.finished():
            self.forget(stream_id)
            return
        removed = msgspec.structs.replace(entry, removed=True)
        with redis_errors("remove stream"):
            self._client.hset(self._key, stream_id, msgspec.json.encode(removed))

    def discard(self, stream_id: str, entry: StreamEntry) -> None:
        """The end of a removed stream has been said. One that is wanted again stays."""
        call(self._client, "discard", [self._key], stream_id, msgspec.json.encode(entry))

    def forget(self, stream_id: str) -> None:
        """Nothing is to be known of a source any more, and nothing said."""
        with redis_errors("remove stream"):
            self._client.hdel(self._key, stream_id)
            self._client.hdel(self._finished_key, stream_id)

    def _all(self) -> dict[str, StreamEntry]:
        self._told.clear()
        entries, unreadable = self.read()
        if unreadable:
            raise TransportError("; ".join(unreadable.values()), retryable=False)
        return entries
