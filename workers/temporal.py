"""The temporal worker: folds features into per-camera state, commits state and events together."""

from __future__ import annotations

import contextlib
import secrets
import sys
import time
from math import nan
from typing import TYPE_CHECKING

from streamer.core.errors import TransportError
from streamer.models.bundle import Bundle
from streamer.runtime.clock import SystemClock
from streamer.runtime.measuring import Measuring
from streamer.runtime.pump import Pump, PumpOptions
from streamer.runtime.shadow import ShadowLoader
from streamer.runtime.shares import Shares
from streamer.state.redis import RedisCheckpointStore, Retention
from streamer.telemetry.records.every import InputRefused, LeasesChanged
from streamer.telemetry.records.model import DriftMeasured, ModelServed
from streamer.telemetry.records.temporal import InputLag
from streamer.transport.access import RedisAccess
from streamer.transport.backlog import InputBacklog
from streamer.transport.connection import Threads, connect, reconnect
from streamer.transport.install import agree
from streamer.transport.keys import Keys
from streamer.transport.lease import RedisRoster, partition_leases
from streamer.transport.model_registry import ModelRegistry, WantedModel
from streamer.transport.permissions import Role
from streamer.transport.redis import RedisInputReader
from streamer.transport.registry import StreamRegistry
from workers.main import main
from workers.served_model import ServedModel

if TYPE_CHECKING:
    from streamer.core.config import Settings
    from streamer.telemetry.observer import Observer

ASSIGN_SECONDS = 1.0
"""How often the worker looks which streams there are."""

LINGER_SECONDS = 10.0
"""How long it still looks after one that was removed."""

HAND_OVER_SECONDS = 0.3
"""With others there to take over, a stop drains no longer than this."""


class TemporalService:
    """Shares the partitions with others of its kind; reads, steps and commits their streams."""

    port = None

    def __init__(self, settings: Settings, observer: Observer) -> None:
        self._settings = settings
        self._observer = observer
        self._keys = Keys(settings.redis.partitions)
        self._owner = secrets.token_hex(16)
        self._bundle = Bundle.load(settings.bundle)
        self._shadow = ShadowLoader(self._open, observer)
        self._wanted: WantedModel | None = None
        self._wanted_until: dict[str, float] = {}
        self._slots: dict[str, int] = {}
        self._assigned_at = -ASSIGN_SECONDS
        backlog = InputBacklog(keys=self._keys, clock=SystemClock())
        self._measuring = Measuring(
            lambda: connect(settings.redis.url, access=RedisAccess.of(settings.redis)),
            lambda client: [backlog.measure(client, self._streams)],
            unknown=InputLag(nan, nan, nan),
            observer=observer,
        )
        self._streams: tuple[str, ...] = ()

    @property
    def remark(self) -> str:
        """Why the model that is wanted does not run, if it can't."""
        return self._shadow.remark or self._measuring.remark

    def start(self) -> None:
        """Load the model, connect, take what is free."""
        temporal, redis = self._settings.temporal, self._settings.redis
        self._served = ServedModel.open(self._bundle, temporal)
        self._client = connect(
            redis.url, access=RedisAccess.of(redis), threads=Threads.ONE, role=Role.TEMPORAL
        )
        agree(self._client, keys=self._keys)
        self._registry = StreamRegistry(self._client, keys=self._keys)
        configured = WantedModel(model_id=self._bundle.model_id, bundle=self._settings.bundle)
        self._models = ModelRegistry(self._client, keys=self._keys, configured=configured)
        self._begin_with_wanted()
        retention = Retention(
            max_events=redis.max_events,
            event_seconds=redis.event_seconds,
            max_dead_letters=redis.max_dead_letters,
            replay_seconds=redis.replay_seconds,
        )
        self._pump = Pump(
            stage=self._served.stage,
            reader=RedisInputReader(self._client, keys=self._keys),
            store=RedisCheckpointStore(self._client, keys=self._keys, retention=retention),
            models=self._models,
            clock=SystemClock(),
            observer=self._observer,
            options=PumpOptions(
                owner=self._owner,
                max_attempts=temporal.max_attempts,
                replay_seconds=redis.replay_seconds,
            ),
        )
        self._shares = Shares(
            RedisRoster(self._client, keys=self._keys, role="temporal"),
            partition_leases(self._client, keys=self._keys),
            member=self._owner,
            ttl_seconds=temporal.lease_seconds,
        )
        self._share()
        self._measuring.start()

    def turn(self, *, timeout_seconds: float) -> None:
        """Renew the leases; fold in what has come; commit."""
        self._cut_over()
        self._share()
        if not self._pump.turn(timeout_seconds=timeout_seconds) and not self._pump.streams:
            time.sleep(timeout_seconds)
        if self._pump.fenced:
            self._doubt()

    def recover(self) -> None:
        """Drop what is in memory: the store knows better."""
        self._doubt()
        reconnect(self._client)

    def drain(self, *, deadline_seconds: float) -> None:
        """Fold in what is already in the log, so that a short run ends complete."""
        if not self._shares.alone:
            deadline_seconds = min(deadline_seconds, HAND_OVER_SECONDS)
        deadline = time.monotonic() + deadline_seconds
        while time.monotonic() < deadline and self._pump.streams:
            self._share()
            if not self._pump.turn(timeout_seconds=0.001):
                return

    def close(self) -> None:
        """Give the leases back, free the model and the connection."""
        self._measuring.close()
        if hasattr(self, "_shares"):
            with contextlib.suppress(TransportError):  # then they expire
                self._shares.leave()
        if hasattr(self, "_client"):
            self._client.close()
        self._shadow.close()
        if hasattr(self, "_served"):
            self._served.close()

    def _open(self, wanted: WantedModel) -> ServedModel:
        """Called in the shadow loader's thread, which ends before `_served` is another."""
        running = self._served.bundle.config
        return ServedModel.open_wanted(wanted, self._settings.temporal, running=running)

    def _begin_with_wanted(self) -> None:
        """Run what is wanted from the start, or else what the settings say."""
        self._wanted = self._models.wanted()
        self._shadow.look(self._wanted, running=self._served.model_id)
        self._shadow.wait()
        configured = self._served
        self._serve(self._shadow.take(self._wanted) or configured)
        if self._served is not configured:
            configured.close()

    def _cut_over(self) -> None:
        """Between two turns everything is committed: the wanted model takes over, if it is there.

        The other one goes on until here; so no stream waits for longer than a turn.
        """
        served = self._shadow.take(self._wanted)
        if served is not None:
            before = self._served
            self._serve(served)
            self._pump.use(served.stage)
            before.close()
            self._assign()

    def _serve(self, served: ServedModel) -> None:
        # Before it makes a state: who comes after it must know its labels.
        try:
            self._models.put(served.model_id, served.entry)
        except TransportError:
            if served is not self._served:
                served.close()  # it will be loaded again
            raise
        self._served = served
        config = served.bundle.config
        self._observer.observe(ModelServed(served.model_id, config.name, tuple(config.actions)))

    def _doubt(self) -> None:
        self._pump.clear()
        self._pump.fenced = False
        self._shares.doubt()
        self._assigned_at = -ASSIGN_SECONDS

    def _share(self) -> None:
        """Hold the leases. They are renewed here, in the work loop: a hung model loses them."""
        changes, surplus = self._shares.turn(range(self._keys.num_partitions))
        if changes.lost:
            self._pump.drop([s for s in self._pump.streams if self._in(s, changes.lost)])
        if surplus:
            # Between two turns everything is committed: a boundary.
            self._pump.drop([s for s in self._pump.streams if self._in(s, surplus)])
            self._shares.release(surplus)
        lost = len(changes.lost) + len(surplus)
        if changes.gained or lost:
            held = len(self._shares.held)
            self._observer.observe(LeasesChanged("partitions", len(changes.gained), lost, held))
        if changes.gained or time.monotonic() - self._assigned_at > ASSIGN_SECONDS:
            self._assign()

    def _assign(self) -> None:
        now = self._assigned_at = time.monotonic()
        agree(self._client, keys=self._keys)  # again, should the server have lost it
        self._wanted = self._models.wanted()
        self._shadow.look(self._wanted, running=self._served.model_id)
        self._tell_drift()
        desired, unreadable = self._registry.read()
        for stream_id, why in unreadable.items():
            self._observer.observe(InputRefused(stream_id, "registry", why))
        # The last features of a removed stream, and the note of its end, are still on their way.
        self._wanted_until.update(dict.fromkeys(desired, now + LINGER_SECONDS))
        self._slots.update({stream_id: entry.slot for stream_id, entry in desired.items()})
        self._wanted_until = {s: until for s, until in self._wanted_until.items() if until >= now}
        held = self._shares.held
        self._slots = {s: self._slots[s] for s in self._wanted_until}
        self._pump.assign({s: slot for s, slot in self._slots.items() if self._in(s, held)})
        self._streams = tuple(self._pump.streams)

    def _tell_drift(self) -> None:
        drift = self._served.drift.measure()
        if drift is not None:
            self._observer.observe(
                DriftMeasured(
                    model_id=self._served.model_id,
                    mahalanobis=drift.mahalanobis,
                    frechet=drift.frechet,
                    psi=drift.psi,
                    entropy_nats=drift.entropy_nats,
                )
            )

    def _in(self, stream_id: str, partitions: frozenset[int]) -> bool:
        return self._keys.partition(stream_id) in partitions


if __name__ == "__main__":
    sys.exit(main("temporal", lambda settings, observer, _: TemporalService(settings, observer)))
