"""What was tampered with is found by the verification, and named."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from streamer.core.event import EventType, decode_event, encode_event
from streamer.transport.state_codec import decode_state, encode_state
from tests.plant import KEYS, position_of


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
