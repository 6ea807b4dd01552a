"""A worker of one partition of a cluster, reduced to what it says to the servers."""

from __future__ import annotations

import time

import numpy as np

from streamer.core.errors import TransportError
from streamer.core.event import decode_event
from streamer.core.state import Checkpoint, Commit, DecoderState, StreamState
from streamer.state.redis import RedisCheckpointStore, Retention
from streamer.state.store import CommitAnswer
from streamer.transport.connection import reconnect
from streamer.transport.keys import Keys
from streamer.transport.lease import partition_leases
from streamer.transport.redis import RedisInputReader, RedisStreamLog
from streamer.transport.transport import PublishAnswer
from tests.samples import chunk, event

KEYS = Keys(64)
PATIENCE_SECONDS = 30.0


def neighbours(num: int) -> list[str]:
    """Streams of one partition."""
    first = "cam-0"
    names = (f"cam-{n}" for n in range(10_000))
    same = [name for name in names if KEYS.partition(name) == KEYS.partition(first)]
    return same[:num]


def state(stream_id: str, sequence: int) -> StreamState:
    return StreamState(
        stream_id=stream_id,
        model_id="sha256:m",
        encoder_id="sha256:e",
        row=0,
        epoch=1,
        next_seq=sequence,
        sequence=sequence,
        last_pts_seconds=0.0,
        last_captured_ns=0,
        hidden_LH=np.zeros((1, 4), np.float32),
        cell_LH=np.zeros((1, 4), np.float32),
        decoder=DecoderState.initial(2),
    )


class PartitionWorker:
    """Publishes, reads and commits for streams of one partition, and tries again as workers do."""

    def __init__(self, client, stream_ids):
        self.client = client
        self.stream_ids = stream_ids
        self.partition = KEYS.partition(stream_ids[0])
        self.log = RedisStreamLog(client, keys=KEYS)
        self.reader = RedisInputReader(client, keys=KEYS)
        self.store = RedisCheckpointStore(client, keys=KEYS, retention=Retention(replay_seconds=0))
        self.leases = partition_leases(client, keys=KEYS)
        self.failures: list[tuple[float, str]] = []

    def insist(self, step):
        """Its answer, however often it has to be tried."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return step()
            except TransportError as error:
                if not error.retryable or time.monotonic() > deadline:
                    raise
                self.failures.append(str(error))
                reconnect(self.client)
                time.sleep(0.01)

    def open(self):
        for stream_id in self.stream_ids:
            self.insist(lambda name=stream_id: self.log.open_source(name, session="s1"))
        self.insist(self.lease)

    def lease(self):
        return self.leases.acquire([self.partition], owner="w", ttl_seconds=60)

    def stored(self, stream_id):
        return self.store.load([stream_id])[stream_id]

    def step(self, seq):
        """Take one chunk of each stream all the way."""
        chunks = [chunk(name, seq) for name in self.stream_ids]
        entry_us = chunks[0].entry_us
        before_us = chunk("cam", seq - 1).entry_us if seq else 0
        previous = dict.fromkeys(self.stream_ids, before_us)
        published = self.insist(lambda: self.log.publish(chunks, previous=previous))
        done = {PublishAnswer.ACCEPTED, PublishAnswer.DUPLICATE}
        assert {one.answer for one in published} <= done, published
        rows = {}
        while rows.keys() != set(self.stream_ids):
            rows = self.insist(lambda: self.reader.read(previous, timeout_seconds=0.05, limit=10))
        for got in rows.values():
            assert [row.position for row in got] == [entry_us]
        commits = [
            Commit(
                expected=f"v{seq - 1}".encode() if seq else b"",
                checkpoint=Checkpoint(
                    state=state(name, seq), position=entry_us, version=f"v{seq}".encode()
                ),
                events=(event(seq),),
            )
            for name in self.stream_ids
        ]
        answers = self.insist(lambda: self.store.commit(commits, owner="w"))
        assert set(answers) <= {CommitAnswer.OK, CommitAnswer.DONE}, answers

    def check(self, num):
        """Everything is there, once, in order."""
        rows = self.client.xrange(KEYS.events(self.partition))
        events = [(fields[b"stream"].decode(), fields[b"event"]) for _, fields in rows]
        for name in self.stream_ids:
            sequences = [decode_event(raw).number for of, raw in events if of == name]
            assert sequences == list(range(num))
            checkpoint = self.stored(name)
            assert checkpoint.version == f"v{num - 1}".encode()
            assert checkpoint.position == chunk("cam", num - 1).entry_us
