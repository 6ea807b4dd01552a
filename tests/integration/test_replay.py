"""Replay and verification over a real server: what pumps wrote, recomputed; and tampered with."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from types import SimpleNamespace

import msgspec
import pytest
from typer.testing import CliRunner

from streamer.cli.events import events_app
from streamer.core.clock import Mark
from streamer.core.errors import ConfigError, ModelError, StateError, TransportError
from streamer.core.event import EventType, decode_event, encode_event
from streamer.core.feature import StreamStatus
from streamer.runtime.pump import MAX_ENTRIES_PER_STREAM, Pump, PumpOptions
from streamer.runtime.replay import Outcome, replay
from streamer.runtime.verify import verify
from streamer.stages.temporal import TemporalStage
from streamer.state.history import RedisHistory
from streamer.state.redis import RedisCheckpointStore, Retention
from streamer.telemetry.observer import Observers
from streamer.transport.connection import connect, connect_to_read
from streamer.transport.embedded import EmbeddedValkey
from streamer.transport.keys import Keys
from streamer.transport.lease import partition_leases
from streamer.transport.redis import RedisInputReader, RedisStreamLog
from streamer.transport.registry import ModelEntry, ModelRegistry
from streamer.transport.state_codec import decode_state, encode_state
from tests.models import ACTIONS, PHASES, LeakyModel, bundle, features_of
from tests.samples import START_NS, chunk, note

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

    def pump(self, model_id="sha256:model"):
        made = Pump(
            stage=stage(model_id),
            reader=RedisInputReader(self.client, keys=self.keys),
            store=self.store,
            models=self.models,
            clock=Clock(),
            observer=Observers(),
            options=PumpOptions(owner="a", replay_seconds=self.replay_seconds),
        )
        made.assign({"cam": 0})
        return made

    def publish(self, num=30, *, first=None):
        """Frames that say one phase and action after the other."""
        first = self.seq if first is None else first
        for seq in range(first, first + num):
            row = features_of(seq // 6 % 3, *([0] if seq // 9 % 2 else []))[None]
            self.log.publish([chunk("cam", seq, features=row)], previous={})
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


@pytest.fixture(scope="module")
def server():
    with EmbeddedValkey() as server:
        yield server


@pytest.fixture
def plant(server):
    with contextlib.closing(connect(server.url)) as client:
        client.flushdb()
        yield Plant(client)


def position_of(seq):
    """Where frame `seq` stands in the input log."""
    return START_NS // 1000 + seq * 100_000


def test_everything_from_the_first_entry_on_is_recomputed(plant):
    live = note("cam", StreamStatus.LIVE)
    plant.log.publish([live], previous={})
    for _ in range(3):  # three workers after one another
        plant.fold()
    found = plant.verify()
    assert found.difference is None
    assert found.remarks == []
    assert (found.first, found.num_events) == (0, len(plant.events()))
    assert found.num_states == 3
    stretches = list(replay(plant.past.read("cam"), stage()))
    said = [event for stretch in stretches for event in stretch.events]
    assert [e.id for e in said] == [fields[b"id"].decode() for _, fields in plant.events()]
    assert stretches[0].start.version == b""


def test_chunks_of_the_replay_change_nothing(plant, monkeypatch):
    plant.fold(num=70)
    for size in (1, 7, 1000):
        monkeypatch.setattr("streamer.runtime.replay.ENTRIES_AT_ONCE", size)
        assert plant.verify().difference is None


def test_a_replay_begins_at_the_anchor_before_and_shows_what_was_asked_for(plant):
    for _ in range(4):
        plant.fold()
    history = plant.past.read("cam")
    start_us = position_of(70)
    stretches = list(replay(history, stage(), start_us=start_us))
    assert stretches[0].start.position == position_of(60) - 1
    shown = [e for s in stretches for e in s.events[s.num_before :]]
    assert shown
    assert all(e.data.frame.seq > 70 for e in shown)
    hidden = stretches[0].events[: stretches[0].num_before]
    assert all(e.data.frame.seq <= 70 for e in hidden)
    assert plant.verify(start_us=start_us).num_states == 2


def test_only_what_is_asked_for_is_kept(server):
    with contextlib.closing(connect(server.url)) as client:
        client.flushdb()
        plant = Plant(client, replay_seconds=5.0)
        for _ in range(4):
            plant.fold()
        stretches = list(replay(plant.past.read("cam"), stage()))
        assert stretches[0].start.position >= position_of(120 - 51)
        found = plant.verify()
        assert found.difference is None
        assert found.first > 0
        # After a pause longer than that, the first step can still be recomputed.
        plant.publish(10, first=plant.seq + 1000)
        drain(plant.pump())
        found = plant.verify()
        assert found.difference is None
        assert (found.num_states, found.remarks) == (1, [])


def test_without_anchors_it_says_what_to_set(server):
    with contextlib.closing(connect(server.url)) as client:
        client.flushdb()
        plant = Plant(client, replay_seconds=0)
        plant.fold()
        with pytest.raises(StateError, match=r"redis\.replay_seconds"):
            plant.verify()


def test_features_that_gave_way_are_stated(server):
    with contextlib.closing(connect(server.url)) as client:
        client.flushdb()
        plant = Plant(client, max_unread=40)
        plant.fold(num=20)
        plant.fold(num=20)
        plant.publish(1)  # the log is full: what was folded in gives way
        drain(plant.pump())
        found = plant.verify()
        assert found.difference is None
        assert len(found.remarks) == 2
        assert "redis.max_unread_entries" in found.remarks[0]
        assert found.num_states == 1


def test_a_state_with_a_row_that_there_is_not(plant):
    plant.fold()
    for _ in range(2):
        plant.rewrite(KEYS.anchors("cam"), with_row(7))
    with pytest.raises(ConfigError, match=r"temporal\.rows"):
        plant.verify()


def with_row(row):
    def change(entry_id, fields):
        state = replace(decode_state(fields[b"state"]), row=row)
        return [(entry_id, fields | {b"state": encode_state(state)})]

    return change


def test_workers_go_on_meanwhile(plant):
    plant.fold()
    plant.publish(5)  # not folded in yet
    assert plant.verify().difference is None
    history = plant.past.read("cam")
    num = len(plant.events())
    drain(plant.pump())
    plant.fold()
    logged = plant.past.events(history, first=0)
    assert [event.number for event in logged.events] == list(range(num))
    assert verify(replay(history, stage()), logged).difference is None


# What is tampered with is found, and named.


def test_one_byte_of_a_feature(plant):
    plant.fold()
    plant.fold()

    def change(entry_id, fields):
        raw = bytearray(fields[b"e"])
        if entry_id == b"%d-0" % position_of(40):
            raw[60] ^= 1
        return [(entry_id, {b"e": bytes(raw)})]

    plant.rewrite(KEYS.features("cam"), change)
    found = plant.verify()
    assert found.difference.field == "version"
    assert found.num_states == 1  # the first stretch is whole
    assert "not what was folded in" in found.remarks[0]


def test_a_feature_that_is_missing(plant):
    plant.fold()
    plant.client.xdel(KEYS.features("cam"), f"{position_of(12)}-0")
    assert plant.verify().difference.field == "version"


NUMBER = 4


def altered(fields, **changes):
    event = decode_event(fields[b"event"])
    data = msgspec.structs.replace(event.data, **changes)
    return fields | {b"event": encode_event(msgspec.structs.replace(event, data=data))}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda i, f: [(i, altered(f, pipeline_seconds=9.0))], None),
        (lambda i, f: [(i, altered(f, confidence=0.5))], "data.confidence"),
        (lambda i, f: [(i, f | {b"event": f[b"event"][:-1] + b',"x":1}'})], "x"),
        (lambda i, f: [(i, f | {b"id": b"other"})], "id field"),
        (lambda i, f: [(i, f | {b"event": b"{"})], "event field"),
        (lambda i, f: [], "event"),
        (lambda i, f: [(i, f), (i, f)], "event"),
    ],
)
def test_one_event(plant, change, field):
    plant.fold()

    rows = plant.events()
    assert decode_event(rows[NUMBER][1][b"event"]).type is not EventType.STREAM_STATUS
    key = KEYS.events(0)
    changed = []
    for entry_id, fields in rows:
        mine = fields[b"sequence"] == b"%d" % NUMBER
        changed += change(entry_id, fields) if mine else [(entry_id, fields)]
    plant.client.delete(key)
    for place, (_, fields) in enumerate(changed):
        plant.client.xadd(key, fields, id=f"1767225600000-{place}")
    found = plant.verify()
    if field is None:
        assert found.difference is None
    else:
        assert (found.difference.sequence, found.difference.field) == (NUMBER, field)


def test_an_event_after_the_last(plant):
    plant.fold()
    _, fields = plant.events()[-1]
    number = int(fields[b"sequence"]) + 1
    plant.client.xadd(KEYS.events(0), fields | {b"sequence": number})
    found = plant.verify()
    assert (found.difference.sequence, found.difference.recomputed) == (number, "none")


def test_events_that_the_log_no_longer_has_are_no_difference(plant):
    plant.fold()
    plant.client.xtrim(KEYS.events(0), maxlen=3, approximate=False)
    found = plant.verify()
    assert found.difference is None
    assert found.num_events == 3
    assert "no longer has them" in found.remarks[0]


def test_the_first_event_removed_by_hand_is_one(plant):
    plant.fold()
    plant.client.xdel(KEYS.events(0), plant.events()[0][0])
    assert plant.verify().difference.sequence == 0


def test_one_byte_of_the_state(plant):
    plant.fold()
    key = KEYS.state("cam")
    state = decode_state(plant.client.hget(key, "state"))
    hidden_LH = state.hidden_LH.copy()
    hidden_LH.view("u1")[0, 8] ^= 1
    plant.client.hset(key, "state", encode_state(replace(state, hidden_LH=hidden_LH)))
    found = plant.verify()
    assert found.difference.field == "state.hidden_LH[0, 2]"
    plant.client.hset(key, "state", b"nonsense")
    assert plant.verify().difference.field == "state"


def test_one_byte_of_an_anchor(plant):
    plant.fold()
    plant.fold()

    def change(entry_id, fields):
        state = decode_state(fields[b"state"])
        smoothed_C = state.decoder.smoothed_C.copy()
        smoothed_C[3] += 1
        decoder = replace(state.decoder, smoothed_C=smoothed_C)
        return [(entry_id, fields | {b"state": encode_state(replace(state, decoder=decoder))})]

    plant.rewrite(KEYS.anchors("cam"), change)
    found = plant.verify()
    assert found.difference is not None
    assert "state.decoder.smoothed_C[3]" in found.difference.field


# What a commit does that the input does not decide.


def test_poison_is_left_out(plant):
    plant.publish(40)
    pump = plant.pump()
    pump.turn(timeout_seconds=0)
    plant.store.attempt({"cam": 3})  # three workers died at the next entry
    drain(plant.pump())
    poisoned = MAX_ENTRIES_PER_STREAM
    letters = plant.client.xrange(KEYS.dead(0))
    assert [(f[b"reason"], int(f[b"position"])) for _, f in letters] == [
        (b"poison", position_of(poisoned))
    ]
    found = plant.verify()
    assert found.difference is None
    assert found.num_events == len(plant.events())
    plant.client.delete(KEYS.dead(0))  # without it the features alone say something else
    assert plant.verify().difference.field == "version"


def test_another_model_takes_over(plant):
    plant.fold()
    plant.fold(model_id="sha256:new")
    old, new = plant.verify(), plant.verify(model_id="sha256:new")
    assert old.difference is new.difference is None
    assert "the state was reset here" in old.remarks[0]
    assert "--bundle" in old.remarks[1]
    assert "--bundle" in new.remarks[0]
    assert old.last < new.first
    (changed,) = [f for _, f in plant.events() if f[b"type"] == b"streamer.model.changed"]
    assert old.last < int(changed[b"sequence"]) < new.first


def test_a_model_that_comes_and_goes_without_a_frame(plant):
    plant.fold()
    plant.pump("sha256:new")
    plant.pump("sha256:third")
    plant.fold()
    found = plant.verify()
    assert found.difference is None
    assert found.num_states == 1
    assert len(found.remarks) == 1
    assert found.num_events < len(plant.events())


def test_a_state_that_was_lost(plant):
    plant.fold()
    plant.client.hset(KEYS.state("cam"), "state", b"nonsense")
    plant.fold()
    history = plant.past.read("cam")
    outcomes = [stretch.outcome for stretch in replay(history, stage())]
    assert outcomes == [Outcome.RESET, Outcome.REACHED]
    found = plant.verify()
    assert found.difference is None
    assert found.num_events == len(plant.events()) - 1  # the gap is not recomputed


def test_a_state_that_was_removed_begins_another_life(plant):
    plant.fold(num=40)
    plant.client.delete(KEYS.state("cam"))
    drain(plant.pump())
    assert len(plant.client.xrange(KEYS.anchors("cam"))) == 1
    found = plant.verify()
    assert found.difference is None
    assert found.num_events == len(plant.events()) // 2


def test_over_a_cluster(cluster):
    cluster.flush()
    with contextlib.closing(connect(cluster.url)) as client:
        plant = Plant(client, keys=Keys(8))
        plant.fold()
        plant.fold()
        assert plant.past.stream_ids() == ["cam"]
        assert RedisHistory(client, keys=Keys(7)).stream_ids() == []
        found = plant.verify()
        assert found.difference is None
        assert found.num_events == len(plant.events())
        assert found.num_states == 2
    with contextlib.closing(connect_to_read(cluster.url, of="url")) as client:
        assert RedisHistory(client, keys=Keys(8)).read("cam").anchors


def test_it_writes_nothing(plant, server):
    plant.fold()
    plant.client.function_flush()
    before = plant.client.info("commandstats").get("cmdstat_function|load", {}).get("calls", 0)
    with contextlib.closing(connect_to_read(server.url, of="url")) as client:
        past = RedisHistory(client, keys=KEYS)
        assert past.stream_ids() == ["cam"]
        past.events(past.read("cam"), first=0)
        after = client.info("commandstats").get("cmdstat_function|load", {}).get("calls", 0)
    assert before == after


# The command.


def command(*arguments):
    return CliRunner().invoke(events_app, ["replay", *arguments])


@pytest.fixture
def serving(server, monkeypatch):
    """The command takes the small model for its bundle's."""
    monkeypatch.setattr("streamer.cli.replay.Bundle", SimpleNamespace(load=lambda _: bundle()))
    monkeypatch.setattr(
        "streamer.cli.replay.open_online_model", lambda _, *, rows, backend: LeakyModel(rows)
    )
    return server.url


def test_the_command_prints_what_the_log_has(plant, serving):
    plant.fold()
    result = command("--redis", serving, "--json")
    assert result.exit_code == 0
    recomputed = [decode_event(line) for line in result.stdout.splitlines()]
    assert [e.id for e in recomputed] == [f[b"id"].decode() for _, f in plant.events()]
    lines = command("--redis", serving, "--stream", "cam").stdout.splitlines()
    assert len(lines) == len(recomputed)
    assert "phase work" in "".join(lines)
    late = command("--redis", serving, "--from", "2026-01-01T00:00:02Z", "--json")
    shown = [decode_event(line) for line in late.stdout.splitlines()]
    assert shown == [e for e in recomputed if e.data.frame.seq > 20]
    assert late.stderr == ""


def test_the_command_verifies(plant, serving):
    plant.fold()
    result = command("--redis", serving, "--verify")
    num = len(plant.events())
    said = f"cam: {num} event(s) (sequence 0 to {num - 1}) and 1 state(s) compared: equal\n"
    assert (result.exit_code, result.stdout, result.stderr) == (0, said, "")
    plant.client.xdel(KEYS.events(0), plant.events()[3][0])
    result = command("--redis", serving, "--verify")
    assert result.exit_code == 1
    assert "different at sequence 3: event: recomputed streamer." in result.stdout
    assert "stored none" in result.stdout
    line = json.loads(command("--redis", serving, "--verify", "--json").stdout)
    assert (line["stream"], line["verdict"], line["difference"]["sequence"]) == (
        "cam",
        "different",
        3,
    )


def test_the_command_says_how_far_back_it_reaches(server, serving):
    with contextlib.closing(connect(server.url)) as client:
        client.flushdb()
        plant = Plant(client, replay_seconds=5.0)
        for _ in range(4):
            plant.fold()
    result = command("--redis", serving, "--verify", "--from", "2026-01-01T00:00:01Z")
    assert result.exit_code == 0
    assert "begins at 2026-01-01T00:00:0" in result.stderr
    assert "redis.replay_seconds" in result.stderr


def test_nothing_to_compare_is_not_equal(plant, serving):
    plant.fold(model_id="sha256:new")
    result = command("--redis", serving, "--verify")
    assert result.exit_code == 1
    assert "nothing compared" in result.stdout
    assert "sha256:new" in result.stderr
    plant.client.delete(KEYS.anchors("cam"))
    result = command("--redis", serving, "--verify")
    assert result.exit_code == 1
    assert "nothing to replay" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--from", "yesterday"), "--from"),
        (("--from", "2026-11-21T10:00:00"), "--from"),
        (("--stream", "nobody"), "nobody"),
        (("--bundle", "/no/bundle"), "/no/bundle"),
    ],
)
def test_the_command_with_bad_arguments(plant, server, arguments, said):
    plant.fold()
    error = command("--redis", server.url, *arguments).exception
    assert isinstance(error, ConfigError | ModelError)
    assert said in str(error)


@pytest.mark.usefixtures("runs_apart")
def test_the_command_without_a_pipeline():
    with EmbeddedValkey() as empty:
        assert "found none at all" in str(command().exception)
        assert empty.running
    error = command().exception
    assert isinstance(error, TransportError)
    assert "events replay: no running pipeline" in str(error)
