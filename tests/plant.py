"""A stream on a server as pumps write it: the input, the events, the states."""

from __future__ import annotations

from streamer.core.clock import Mark
from streamer.runtime.pump import Pump, PumpOptions
from streamer.runtime.replay import replay
from streamer.runtime.verify import verify
from streamer.stages.temporal import TemporalStage
from streamer.state.history import RedisHistory
from streamer.state.redis import RedisCheckpointStore, Retention
from streamer.telemetry.observer import Observers
from streamer.transport.keys import Keys
from streamer.transport.lease import partition_leases
from streamer.transport.model_registry import ModelEntry, ModelRegistry
from streamer.transport.redis import RedisInputReader, RedisStreamLog
from tests.models import ACTIONS, PHASES, LeakyModel, bundle, features_of
from tests.samples import START_NS, chunk, stamp

KEYS = Keys(1)
MODELS = ("sha256:model", "sha256:new", "sha256:third")


class Clock:
    def mark(self):
        return Mark("test", 10**12)

    def utc_ns(self):
        return 10**18


class Plant:
    """A stream's log and states on a server, and the pumps that write them."""

    def __init__(self, client, *, keys=KEYS, replay_seconds=60.0, max_unread=3000):
        self.client, self.keys, self.replay_seconds = client, keys, replay_seconds
        self.log = RedisStreamLog(client, keys=keys, max_unread=max_unread)
        self.log.open_source("cam", session="s1")
        partition_leases(client, keys=self.keys).acquire(
            [keys.partition("cam")], owner="a", ttl_seconds=600
        )
        self.models = ModelRegistry(client, keys=self.keys)
        for model_id in MODELS:
            self.models.put(model_id, ModelEntry(name=model_id, phases=PHASES, actions=ACTIONS))
        self.store = RedisCheckpointStore(
            client, keys=self.keys, retention=Retention(replay_seconds=replay_seconds)
        )
        self.past = RedisHistory(client, keys=self.keys)
        self.seq = 0

    def pump(self, model_id="sha256:model", observer=None):
        made = Pump(
            stage=stage(model_id),
            reader=RedisInputReader(self.client, keys=self.keys),
            store=self.store,
            models=self.models,
            clock=Clock(),
            observer=observer or Observers(),
            options=PumpOptions(owner="a", replay_seconds=self.replay_seconds),
        )
        made.assign({"cam": 0})
        return made

    def publish(self, num=30, *, first=None, sampler=None):
        """Frames that say one phase and action after the other; some are traced."""
        first = self.seq if first is None else first
        for seq in range(first, first + num):
            row = features_of(seq // 6 % 3, *([0] if seq // 9 % 2 else []))[None]
            trace = None if sampler is None else sampler.sample(stamp("cam", seq))
            traces = () if trace is None else ((0, trace),)
            self.log.publish([chunk("cam", seq, features=row, traces=traces)], previous={})
        self.seq = first + num

    def fold(self, *, model_id="sha256:model", num=30):
        self.publish(num)
        drain(self.pump(model_id))

    def verify(self, *, model_id="sha256:model", start_us=0):
        history = self.past.read("cam")
        stretches = list(replay(history, stage(model_id), start_us=start_us))
        return verify(stretches, self.past.events(history, first=stretches[0].start.sequence))

    def events(self):
        rows = self.client.xrange(self.keys.events(self.keys.partition("cam")))
        return [(entry_id, fields) for entry_id, fields in rows]

    def rewrite(self, key, change):
        """Write a stream again, its rows changed: (id, fields) → rows."""
        rows = [new for row in self.client.xrange(key) for new in change(*row)]
        self.client.delete(key)
        for entry_id, fields in rows:
            self.client.xadd(key, fields, id=entry_id)


def stage(model_id="sha256:model", rows=4):
    return TemporalStage(bundle(model_id=model_id), LeakyModel(rows))


def drain(pump):
    while pump.turn(timeout_seconds=0):
        pass


def position_of(seq):
    """Where frame `seq` stands in the input log."""
    return START_NS // 1000 + seq * 100_000
