"""Which frames are traced, and how their context travels."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.core.frame import FrameBatch
from streamer.core.trace import TraceContext
from streamer.stages.encode import assemble_chunks
from streamer.telemetry.tracing import HeadSampler
from streamer.transport.codec import (
    StampWire,
    decode_path_entry,
    encode_input,
    encode_stamp,
    encode_traces,
    read_entry,
)
from tests.samples import chunk, stamp

TRACE = TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")
OTHER = TraceContext("1" * 32, "2" * 16)


# Which frames.


@given(every=st.integers(1, 60), first=st.integers(0, 1000), name=st.text(min_size=1))
def test_one_frame_in_so_many_of_each_stream(every, first, name):
    sampler = HeadSampler(every)
    chosen = [
        seq
        for seq in range(first, first + 3 * every)
        if sampler.sample(stamp(name, seq)) is not None
    ]
    assert len(chosen) == 3
    assert {b - a for a, b in pairwise(chosen)} == {every}


def test_a_frame_that_is_read_again_is_chosen_again_and_has_the_same_trace():
    frames = [stamp("cam", seq) for seq in range(40)]
    first, again = ([HeadSampler(8).sample(f) for f in frames] for _ in range(2))
    assert first == again
    other = [HeadSampler(8).sample(replace(f, session="s2")) for f in frames]
    assert [t is None for t in other] == [t is None for t in first]
    assert not {t for t in other if t} & {t for t in first if t}


def test_streams_and_epochs_take_turns():
    def place(stream_id, epoch):
        chosen = HeadSampler(100).sample
        return next(s for s in range(100) if chosen(stamp(stream_id, s, epoch=epoch)))

    assert len({place(f"cam-{n}", 1) for n in range(50)}) > 30
    assert len({place("cam", epoch) for epoch in range(1, 51)}) > 30


# What travels.


def test_a_context_is_read_as_the_standard_writes_it():
    text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    assert TraceContext.parse(text) == TRACE
    assert TRACE.traceparent == text


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",  # not sampled
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\n",
    ],
)
def test_what_is_no_sampled_context_is_none(text):
    assert TraceContext.parse(text) is None


@pytest.mark.parametrize("place", [{"ring": "r", "generation": 3}, {"pixels": b"123"}])
def test_the_context_travels_with_the_frame(place):
    for trace in (TRACE, None):
        sent = stamp(trace=trace)
        wire = decode_path_entry(encode_stamp(StampWire.of(sent, shape=(8, 8, 3), **place)))
        assert isinstance(wire, StampWire)
        assert wire.stamp() == sent


def test_frames_of_who_does_not_know_it_and_for_who_does_not():
    fields = msgspec.msgpack.decode(encode_stamp(StampWire.of(stamp(trace=TRACE), shape=(8, 8, 3))))
    assert fields[-1] == TRACE.traceparent
    old = decode_path_entry(msgspec.msgpack.encode(fields[:-1]))
    assert old.stamp() == stamp()
    newer = decode_path_entry(msgspec.msgpack.encode([*fields, "what comes later"]))
    assert newer.stamp() == stamp(trace=TRACE)


def test_the_context_travels_beside_the_bytes_of_the_features():
    plain = chunk(length=3)
    sampled = chunk(length=3, traces=((0, TRACE), (2, OTHER)))
    assert encode_input(sampled) == encode_input(plain)
    assert encode_traces(plain) == b""
    read = read_entry("cam", 1, encode_input(sampled), encode_traces(sampled))
    assert read.entry.traces == sampled.traces
    assert read_entry("cam", 1, encode_input(sampled)).entry.traces == ()


@pytest.mark.parametrize(
    "raw",
    [
        b"\xff",
        b"[]",
        b"{}",
        b'[[0,"nonsense"]]',
        b"[[9" + b',"' + TRACE.traceparent.encode() + b'"]]',
    ],
)
def test_a_damaged_context_costs_the_trace_and_nothing_else(raw):
    read = read_entry("cam", 1, encode_input(chunk(length=3)), raw)
    assert read.entry.traces == ()
    assert read.entry.features.tobytes() == chunk(length=3).features.tobytes()


def test_a_chunk_has_the_contexts_of_its_frames():
    stamps = [stamp("a", 0), stamp("b", 0, trace=OTHER), stamp("a", 1, trace=TRACE)]
    batch = FrameBatch(stamps, np.zeros((3, 4, 4, 3), np.uint8))
    features_ND = np.zeros((3, 2), np.float16)
    ready = stamps[0].ready
    a, b = assemble_chunks(batch, features_ND, encoder_id="e", taken=ready, ready=ready)
    assert (a.traces, b.traces) == (((1, TRACE),), ((0, OTHER),))
