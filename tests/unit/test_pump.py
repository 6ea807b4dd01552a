"""The pump: what it does with a store that answers, refuses, forgets, or holds damage."""

from __future__ import annotations

import numpy as np
import pytest

from streamer.core.clock import Mark
from streamer.core.errors import StateError, TransportError
from streamer.core.event import EventType
from streamer.core.trace import TraceContext
from streamer.runtime.pump import Pump, PumpOptions
from streamer.runtime.traced import TracedFrames
from streamer.stages.temporal import TemporalStage
from streamer.state.memory import MemoryCheckpointStore
from streamer.telemetry.records.every import InputRefused
from streamer.telemetry.records.model import StreamsAwaitingModel
from streamer.telemetry.records.temporal import (
    BatchAdvanced,
    CommitRefused,
    DeadLettered,
    EventCommitted,
    StateReset,
)
from streamer.transport.memory import MemoryLeases, MemoryStreamLog
from streamer.transport.model_registry import ModelEntry, WantedModel
from streamer.transport.transport import LogEntry
from tests.eventlog import make_event
from tests.models import ACTIONS, PHASES, LeakyModel, bundle, features_of
from tests.samples import chunk


class Crash(Exception):
    """A worker's end."""


class Fragile(LeakyModel):
    """Dies of features that begin with 7: as a model does that a certain input crashes."""

    def step(self, features_BD, hidden_LBH, cell_LBH):
        if (features_BD[:, 0] == 7).any():
            features_BD[:] = 0
            raise Crash
        return super().step(features_BD, hidden_LBH, cell_LBH)


class Models:
    """A registry that knows some models, and which one is wanted."""

    def __init__(self, *known, world):
        self.known = known
        self.world = world

    def get(self, model_id):
        entry = ModelEntry(name="test", phases=PHASES, actions=ACTIONS)
        return entry if model_id in self.known else None

    def wanted(self):
        model_id = self.world.wanted
        return None if model_id is None else WantedModel(model_id=model_id, bundle="any")


class World:
    """An input log and a store, and pumps that come and go."""

    def __init__(self):
        self.log = MemoryStreamLog()
        self.leases = MemoryLeases(now_seconds=lambda: 0.0)
        self.store = MemoryCheckpointStore(self.log, self.leases)
        self.told = []
        self.crashes = 0
        self.num_published = {}
        self.wanted = None

    def observe(self, record):
        self.told.append(record)

    def mark(self):
        return Mark("test", 10**12)

    def utc_ns(self):
        return 10**18

    def pump(self, *streams, model_id="sha256:model", owner="a", known=()):
        self.leases.acquire([0], owner=owner, ttl_seconds=60)
        made = Pump(
            stage=TemporalStage(bundle(model_id=model_id), Fragile(4)),
            reader=self.log,
            store=self.store,
            models=Models(*known, world=self),
            clock=self,
            observer=self,
            options=PumpOptions(owner=owner, max_attempts=3),
        )
        made.assign({stream_id: slot for slot, stream_id in enumerate(streams)})
        return made

    def publish(self, stream_id, *rows, trace=None):
        traces = () if trace is None else ((0, trace),)
        for features in rows:
            seq = self.num_published.get(stream_id, 0)
            if not seq:
                self.log.open_source(stream_id, session="s1")
            entry = chunk(stream_id, seq, features=features[None], traces=traces)
            self.log.publish([entry], previous={})
            self.num_published[stream_id] = seq + 1

    def drain(self, pump):
        while pump.turn(timeout_seconds=0):
            pass

    def run_until_drained(self, *streams):
        """A supervisor: a worker that dies is followed by another."""
        while True:
            pump = self.pump(*streams, owner=f"worker-{self.crashes}")
            self.leases.release([0], owner=f"worker-{self.crashes - 1}")
            pump = self.pump(*streams, owner=f"worker-{self.crashes}")
            try:
                self.drain(pump)
            except Crash:
                self.crashes += 1
                assert self.crashes < 20
            else:
                return

    def of(self, kind):
        return [record for record in self.told if isinstance(record, kind)]

    def gaps(self):
        return [e for e in self.store.events if e.type is EventType.STREAM_GAP]


WORK = features_of(1, 0)
POISON = np.array([7.0, 0, 0, 0, 0])


@pytest.mark.parametrize("place", [0, 1, 5, 40])
def test_an_entry_that_kills_is_left_out_after_three_attempts(place):
    world = World()
    world.publish("cam", *[WORK] * place, POISON, *[WORK] * 5)
    world.publish("two", *[WORK] * 50)
    world.run_until_drained("cam", "two")
    assert world.crashes <= 5  # a supervisor bears as many
    (letter,) = world.store.dead_letters
    assert letter.reason == "poison"
    assert letter.position == chunk(first_seq=place).entry_us
    reasons = [gap.data.reason for gap in world.gaps()]
    assert reasons == ["poison", "dropped"]
    assert {event.stream_id for event in world.gaps()} == {"cam"}
    stored = world.store.load(["cam", "two"])
    assert stored["cam"].state.next_seq == place + 6
    assert stored["two"].state.next_seq == 50
    assert world.of(DeadLettered)


def test_two_that_kill_are_both_left_out_and_a_crash_of_another_kind_leaves_none_out():
    world = World()
    world.publish("cam", WORK, POISON, WORK)
    world.publish("two", POISON, WORK)
    world.run_until_drained("cam", "two")
    assert {letter.position for letter in world.store.dead_letters} == {
        chunk(first_seq=1).entry_us,
        chunk("two").entry_us,
    }
    calm = World()
    calm.publish("cam", WORK)
    calm.store.attempt({"cam": 2})  # two workers were killed by somebody, here
    calm.drain(calm.pump("cam"))
    assert not calm.store.dead_letters
    assert calm.store.load(["cam"])["cam"].attempts == 0


def test_a_lost_answer_to_a_commit_is_no_attempt():
    world = World()
    world.publish("cam", WORK)
    pump = world.pump("cam")
    commit, lose = world.store.commit, [True] * 5

    def losing(commits, *, owner):
        if lose:
            lose.pop()
            raise TransportError("no answer")
        return commit(commits, owner=owner)

    world.store.commit = losing
    while lose:
        with pytest.raises(TransportError):
            pump.turn(timeout_seconds=0)
        pump.clear()
        pump.assign({"cam": 0})
    world.drain(pump)
    assert not world.store.dead_letters
    assert world.store.load(["cam"])["cam"].state.next_seq == 1


def test_a_model_that_takes_over_says_so_and_goes_on():
    world = World()
    world.publish("cam", *[WORK] * 8)
    world.drain(world.pump("cam"))
    world.drain(world.pump("cam", model_id="sha256:new", known=["sha256:model"]))
    changed = [e for e in world.store.events if e.type is EventType.MODEL_CHANGED]
    assert [e.data.previous_model_id for e in changed] == ["sha256:model"]
    ended = [e for e in world.store.events if e.type is EventType.ACTION_END]
    assert [e.data.label for e in ended] == ["lamp"]
    assert world.of(StateReset) == [StateReset("cam", "model")]
    world.publish("cam", WORK)
    world.drain(world.pump("cam", model_id="sha256:new"))
    numbers = [event.number for event in world.store.events]
    assert numbers == list(range(len(numbers)))


def stage(model_id, rows=4):
    return TemporalStage(bundle(model_id=model_id), Fragile(rows))


def changes(world):
    return [
        (e.stream_id, e.data.previous_model_id, e.data.model_id)
        for e in world.store.events
        if e.type is EventType.MODEL_CHANGED
    ]


def test_a_running_pump_goes_on_with_another_model():
    world = World()
    world.publish("cam", *[WORK] * 8)
    world.publish("two", *[WORK] * 8)
    pump = world.pump("cam", "two", known=["sha256:model"])
    world.drain(pump)
    world.publish("cam", WORK)  # not read yet when the other takes over
    world.wanted = "sha256:new"
    pump.use(stage("sha256:new"))
    assert not pump.streams
    pump.assign({"cam": 0, "two": 1})
    assert changes(world) == [(s, "sha256:model", "sha256:new") for s in ("cam", "two")]
    world.publish("two", WORK)
    world.drain(pump)
    for stream_id in ("cam", "two"):
        state = world.store.load([stream_id])[stream_id].state
        assert (state.model_id, state.next_seq) == ("sha256:new", 9)
        numbers = [e.number for e in world.store.events if e.stream_id == stream_id]
        assert numbers == list(range(len(numbers)))
    ended = [e.data.label for e in world.store.events if e.type is EventType.ACTION_END]
    assert ended == ["lamp", "lamp"]


def test_a_model_of_fewer_rows_takes_over_and_one_of_more_after_it():
    world = World()
    world.publish("cam", WORK)
    pump = world.pump("other", "cam")
    world.drain(pump)
    for model_id, rows, row in (("sha256:narrow", 1, 0), ("sha256:wide", 8, 5)):
        pump.use(stage(model_id, rows))
        pump.assign({"cam": 5})
        assert world.store.load(["cam"])["cam"].state.row == row
        world.publish("cam", WORK)
        world.drain(pump)
    assert world.store.load(["cam"])["cam"].state.next_seq == 3


def test_a_stream_handed_to_a_worker_without_the_wanted_model_waits_for_it():
    world = World()
    world.publish("cam", *[WORK] * 8)
    world.wanted = "sha256:new"
    world.drain(world.pump("cam", model_id="sha256:new"))
    late = world.pump("cam", "two", model_id="sha256:model")
    world.publish("cam", WORK)
    world.publish("two", WORK)
    world.drain(late)
    late.assign({"cam": 0, "two": 1})
    assert set(late.streams) == {"two"}
    assert world.of(StreamsAwaitingModel) == [StreamsAwaitingModel(("cam",))]
    assert world.store.load(["cam"])["cam"].state.next_seq == 8
    late.use(stage("sha256:new"))
    late.assign({"cam": 0, "two": 1})
    world.drain(late)
    assert world.of(StreamsAwaitingModel)[-1] == StreamsAwaitingModel(())
    assert changes(world) == [("two", "sha256:model", "sha256:new")]
    assert world.store.load(["cam"])["cam"].state.next_seq == 9


def test_only_the_wanted_model_takes_over_from_a_third_one():
    world = World()
    world.publish("cam", *[WORK] * 8)
    world.drain(world.pump("cam"))
    world.wanted = "sha256:third"
    between = world.pump("cam", model_id="sha256:new")
    assert not between.streams
    assert changes(world) == []
    between.use(stage("sha256:third"))
    between.assign({"cam": 0})
    assert changes(world) == [("cam", "sha256:model", "sha256:third")]


def test_labels_that_nobody_remembers_are_their_indices():
    world = World()
    world.publish("cam", *[WORK] * 8)
    world.drain(world.pump("cam"))
    world.drain(world.pump("cam", model_id="sha256:new"))
    ended = [e for e in world.store.events if e.type is EventType.ACTION_END]
    assert [e.data.label for e in ended] == ["#3"]


@pytest.mark.parametrize("damage", ["bytes", "shape", "stream"])
def test_a_state_that_cannot_be_read_is_kept_aside_and_the_stream_begins_anew(damage):
    world = World()
    world.publish("cam", *[WORK] * 8)
    world.publish("two", *[WORK] * 8)
    world.drain(world.pump("cam", "two"))
    version, position, sequence, raw = world.store._stored["cam"]
    if damage == "bytes":
        raw = raw[:-7]
    elif damage == "stream":
        raw = world.store._stored["two"][3]
    else:
        wider = LeakyModel(4)
        wider.hidden_dim = 6
        other = TemporalStage(bundle(), wider).initial("cam", row=0)
        from streamer.transport.state_codec import encode_state

        raw = encode_state(other.state)
    world.store._stored["cam"] = (version, position, sequence, raw)
    world.publish("cam", WORK)
    world.drain(world.pump("cam", "two"))
    (letter,) = world.store.dead_letters
    assert (letter.reason, letter.payload) == ("state", raw)
    (gap, *_) = world.gaps()
    assert (gap.data.reason, gap.data.policy) == ("state", "reset")
    numbers = [event.number for event in world.store.events if event.stream_id == "cam"]
    assert numbers == list(range(len(numbers)))
    assert world.of(InputRefused)[0].reason == "state"
    assert world.store.load(["cam"])["cam"].state.next_seq == 9


def test_a_stream_whose_key_is_not_ours_is_left_alone_with_the_others_going_on():
    world = World()
    world.publish("two", WORK)
    load = world.store.load
    world.store.load = lambda streams: load(streams) | {"odd": StateError("streamer:state:odd")}
    pump = world.pump("odd", "two")
    world.drain(pump)
    assert set(pump.streams) == {"two"}
    assert world.of(InputRefused)[0].detail == "streamer:state:odd"
    assert world.store.load(["two"])["two"].state.next_seq == 1


def test_a_zombie_changes_nothing_and_knows_it():
    world = World()
    world.publish("cam", *[WORK] * 3)
    zombie = world.pump("cam")
    world.leases.release([0], owner="a")
    world.drain(world.pump("cam", owner="b"))
    before = world.store.load(["cam"])["cam"]
    world.log._entries["cam"].append((chunk(first_seq=0).entry_us, b"junk"))  # it had read this
    zombie.turn(timeout_seconds=0)
    assert zombie.fenced
    assert world.of(CommitRefused) == [CommitRefused("cam", "fenced")]
    after = world.store.load(["cam"])["cam"]
    assert (after.version, after.raw) == (before.version, before.raw)


def test_a_silent_stream_that_was_rolled_back_is_noticed():
    world = World()
    world.publish("cam", *[WORK] * 3)
    pump = world.pump("cam")
    world.drain(pump)
    late = dict(world.store._stored)
    del world.store._stored["cam"]
    pump.assign({"cam": 0})  # it had input since the last look
    pump.assign({"cam": 0})
    assert pump._checkpoints["cam"].version == b""
    world.store._stored = late
    pump.assign({"cam": 0})
    assert pump._checkpoints["cam"].version == late["cam"][0]


def test_events_of_a_sampled_frame_name_its_trace_and_those_of_others_none():
    world, trace = World(), TraceContext("a" * 32, "b" * 16)
    world.publish("cam", *[features_of(0)] * 6)
    world.publish("cam", features_of(1), trace=trace)
    world.publish("cam", *[features_of(1)] * 6)
    world.drain(world.pump("cam"))
    (frame,) = [frame for batch in world.of(BatchAdvanced) for frame in batch.traced]
    assert (frame.stream_id, frame.epoch, frame.seq, frame.trace) == ("cam", 1, 6, trace)
    told = {record.event.data.frame.seq: record.trace_id for record in world.of(EventCommitted)}
    assert told[6] == trace.trace_id
    assert {told[seq] for seq in told if seq != 6} == {None}
    assert len(told) > 1


def test_a_pump_remembers_no_more_sampled_frames_than_it_may(monkeypatch):
    monkeypatch.setattr("streamer.runtime.traced.MAX_REMEMBERED", 3)
    frames, trace = TracedFrames(), TraceContext("a" * 32, "b" * 16)
    for seq in range(5):
        entry = chunk("cam", seq, traces=((0, trace),))
        row = LogEntry(entry.entry_us, b"", entry)
        assert len(frames.among({"cam": [row]}, taken=entry.ready)) == 1
    moved = [frames.of(make_event(seq, type=EventType.ACTION_START)) for seq in range(5)]
    assert moved == [None, None, trace, trace, trace]
    assert frames.of(make_event(4, type=EventType.STREAM_STATUS)) is None
