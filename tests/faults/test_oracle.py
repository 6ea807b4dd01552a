"""The oracle passes what is right, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import msgspec
import numpy as np
import pytest

from streamer.core.clock import Mark
from streamer.core.event import decode_event, encode_event
from streamer.core.feature import StreamStatus
from streamer.core.ledger import Ledger
from streamer.core.state import Commit
from streamer.models.temporal.registry import open_temporal_model
from streamer.stages.temporal import TemporalStage
from streamer.state.memory import MemoryCheckpointStore
from streamer.state.store import CommitAnswer
from streamer.transport.memory import MemoryLeases, MemoryStreamLog
from tests.faults.evidence import Evidence, Stored
from tests.faults.oracle import (
    Hole,
    check_admitted,
    check_sequences,
    compare_events,
    compare_states,
    fold_offline,
)
from tests.samples import START_NS, STEP_NS, chunk, note

STREAMS = ("one", "two", "three")
NUM_FRAMES = 80


def scripted(bundle, stream_id, number):
    """A stream's input: notes, and chunks of one to three frames of a wandering scene."""
    random = np.random.default_rng(number)
    features = random.normal(size=(NUM_FRAMES, bundle.config.feature_dim)).cumsum(axis=0) / 4
    entries = [note(stream_id)]
    seq = 0
    while seq < NUM_FRAMES:
        length = min(int(random.integers(1, 4)), NUM_FRAMES - seq)
        rows = features[seq : seq + length]
        entries.append(
            chunk(
                stream_id,
                seq,
                length=length,
                features=rows,
                encoder_id=bundle.config.encoder_id,
            )
        )
        seq += length
    end_us = (START_NS + NUM_FRAMES * STEP_NS) // 1000
    return [*entries, note(stream_id, StreamStatus.ENDED, entry_us=end_us, note_seq=1)]


def run(bundle):
    """A worker in small: reads, steps all streams together, stamps and commits."""
    log = MemoryStreamLog()
    leases = MemoryLeases(now_seconds=lambda: 0.0)
    leases.acquire([0], owner="me", ttl_seconds=10)
    store = MemoryCheckpointStore(log, leases)
    stage = TemporalStage(bundle, open_temporal_model(bundle, rows=8))
    admitted = {stream_id: [] for stream_id in STREAMS}
    scripts = {s: scripted(bundle, s, number) for number, s in enumerate(STREAMS)}
    for stream_id in STREAMS:
        log.open_source(stream_id, session="s1")
    checkpoints = {s: stage.initial(s, row=row) for row, s in enumerate(STREAMS, start=2)}
    clock = count(1)
    while any(scripts.values()):
        for stream_id in STREAMS:
            for _ in range(min(next(clock) % 4, len(scripts[stream_id]))):
                log.publish([scripts[stream_id].pop(0)], previous={})
        positions = {s: c.position for s, c in checkpoints.items()}
        read = log.read(positions, timeout_seconds=0, limit=32)
        for stream_id, rows in read.items():
            admitted[stream_id] += rows
        work = [(checkpoints[s], rows) for s, rows in read.items()]
        for one in stage.advance(work, taken=Mark("test", next(clock) * 10**6)):
            late = Ledger(temporal_seconds=next(clock) * 1e-3, commit_seconds=2e-3)
            events = tuple(
                event.emitted(
                    latency=msgspec.structs.replace(
                        event.data.latency,
                        temporal_seconds=late.temporal_seconds,
                        commit_seconds=late.commit_seconds,
                    ),
                    at_ns=next(clock),
                )
                for event in one.events
            )
            commit = Commit(expected=one.before.version, checkpoint=one.after, events=events)
            assert store.commit([commit], owner="me") == [CommitAnswer.OK]
            checkpoints[one.after.state.stream_id] = one.after
    stored = {}
    for stream_id in STREAMS:
        kept = store.load([stream_id])[stream_id]
        stored[stream_id] = Stored(kept.version, kept.position, kept.raw)
    return Evidence(admitted, [encode_event(event) for event in store.events], stored)


@pytest.fixture(scope="module")
def right(fault_model):
    return run(fault_model.bundle)


def judge(evidence, bundle):
    rows = {stream_id: stored.row for stream_id, stored in evidence.stored.items()}
    folded = fold_offline(bundle, evidence.entries, rows=rows)
    return [
        *compare_events(evidence.events, folded),
        *compare_states(evidence.stored, folded),
        *check_sequences(evidence.events),
        *check_admitted(evidence.entries)[0],
    ]


def with_events(evidence, events):
    return replace(evidence, events=events)


def test_what_is_right_passes(right, fault_model):
    assert judge(right, fault_model.bundle) == []
    assert len(right.events) > 3 * NUM_FRAMES / 10  # it says something every second
    assert check_admitted(right.entries) == ([], [])


def test_a_dropped_event_fails(right, fault_model):
    found = judge(with_events(right, right.events[:9] + right.events[10:]), fault_model.bundle)
    assert {mismatch.stream_id for mismatch in found} == {decode_event(right.events[9]).stream_id}


def test_the_last_event_dropped_fails(right, fault_model):
    assert judge(with_events(right, right.events[:-1]), fault_model.bundle)


def test_a_repeated_event_fails(right, fault_model):
    found = judge(with_events(right, [*right.events, right.events[5]]), fault_model.bundle)
    assert any(mismatch.what == "id" for mismatch in found)


def test_events_of_a_stream_out_of_order_fail(right, fault_model):
    own = [i for i, raw in enumerate(right.events) if decode_event(raw).stream_id == "one"]
    swapped = list(right.events)
    swapped[own[3]], swapped[own[4]] = swapped[own[4]], swapped[own[3]]
    assert judge(with_events(right, swapped), fault_model.bundle)


def test_one_bit_of_a_confidence_fails_and_is_named(right, fault_model):
    index, event = next(
        (i, decode_event(raw)) for i, raw in enumerate(right.events) if b"confidence" in raw
    )
    value = float(np.nextafter(event.data.confidence, 1.0))
    altered = msgspec.structs.replace(
        event, data=msgspec.structs.replace(event.data, confidence=value)
    )
    events = [*right.events[:index], encode_event(altered), *right.events[index + 1 :]]
    (found,) = judge(with_events(right, events), fault_model.bundle)
    assert (found.what, found.sequence) == ("data.confidence", event.number)
    assert (found.found, found.expected) == (value, event.data.confidence)
    assert str(found).startswith(f"{event.stream_id} event {event.number}: data.confidence")


def test_a_sum_of_latencies_that_is_none_fails(right, fault_model):
    event = decode_event(right.events[0])
    data = msgspec.structs.replace(event.data, pipeline_seconds=event.data.pipeline_seconds + 1)
    events = [encode_event(msgspec.structs.replace(event, data=data)), *right.events[1:]]
    (found,) = judge(with_events(right, events), fault_model.bundle)
    assert found.what == "data.pipeline_seconds"


def test_every_altered_byte_of_a_state_fails(right, fault_model):
    rows = {stream_id: stored.row for stream_id, stored in right.stored.items()}
    folded = fold_offline(fault_model.bundle, right.entries, rows=rows)
    before = right.stored["two"]
    hidden = encode_hidden(before)
    for offset in (hidden, hidden + 1):
        raw = bytearray(before.state)
        raw[offset] ^= 1
        stored = right.stored | {"two": replace(before, state=bytes(raw))}
        (found,) = compare_states(stored, folded)
        assert (found.stream_id, found.what) == ("two", "state.hidden_LH")


def encode_hidden(stored):
    """Offset of the hidden state's first byte."""
    from streamer.transport.state_codec import decode_state

    return stored.state.index(decode_state(stored.state).hidden_LH.tobytes())


@pytest.mark.parametrize(
    ("change", "what"),
    [({"version": b"other"}, "version"), ({"position": 7}, "position")],
)
def test_another_version_or_position_fails(right, fault_model, change, what):
    stored = right.stored | {"one": replace(right.stored["one"], **change)}
    (found,) = judge(replace(right, stored=stored), fault_model.bundle)
    assert found.what == what


def test_a_missing_state_fails(right, fault_model):
    stored = {s: kept for s, kept in right.stored.items() if s != "one"}
    assert judge(replace(right, stored=stored), fault_model.bundle)


def test_input_that_was_lost_is_told(right):
    own = right.entries["one"]
    entries = right.entries | {"one": own[:7] + own[8:]}
    lost = own[7].entry
    wrong, holes = check_admitted(entries)
    assert wrong == []
    assert holes == [Hole("one", 1, lost.first_seq, len(lost))]


def test_input_that_came_twice_fails(right):
    own = right.entries["one"]
    wrong, _ = check_admitted({"one": [*own[:7], own[6], *own[7:]]})
    assert {mismatch.what for mismatch in wrong} == {"position", "seq in epoch 1"}


def test_another_row_makes_another_log_or_the_same_but_never_an_error(right, fault_model):
    folded = fold_offline(fault_model.bundle, right.entries, rows=dict.fromkeys(STREAMS, 0))
    assert compare_states(right.stored, folded)
