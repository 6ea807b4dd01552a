"""Is the state machine of `test_protocol` blind? Each of these mistakes must fall to it."""

from __future__ import annotations

import uuid
from dataclasses import replace

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import get_state_machine_test

from streamer.core.event import encode_event
from streamer.runtime.outbox import Outbox
from streamer.runtime.pump import Pump
from streamer.state.redis import RedisCheckpointStore
from streamer.transport.embedded import EmbeddedValkey
from tests.protocol.bench import KEYS, Bench
from tests.protocol.machine import Parts, Protocol
from tests.protocol.worker import WorkerParts

NO_COMPARE = ("elseif stored ~= args[at] then", "elseif false then")
NO_OWNER = ("elseif owner ~= args[1] then", "elseif false then")
NO_DUPLICATES = ("elseif entry_us <= last then", "elseif false then")


@pytest.fixture(scope="module")
def bench():
    with EmbeddedValkey() as server:
        bench = Bench(server.url)
        yield bench
        bench.close()


def run(bench, *patches, **parts):
    """The machine over patched functions, or of other parts; always the same examples."""
    library = bench.server.library
    for old, new in patches:
        assert library.count(old) == 1, f"expected once in functions.lua: {old}"
        library = library.replace(old, new)
    bench.server.load(library)
    machine = get_state_machine_test(
        lambda: Protocol(bench, Parts(**parts)),
        settings=settings(
            max_examples=20,
            stateful_step_count=40,
            phases=[Phase.generate],
            report_multiple_bugs=False,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    try:
        seed(1)(machine)()
    finally:
        bench.server.load(bench.server.library)


class EventsApart(RedisCheckpointStore):
    """Writes the events by themselves, then the states."""

    def commit(self, commits, *, owner):
        for commit in commits:
            stream_id = commit.checkpoint.state.stream_id
            for event in commit.events:
                fields = {
                    "type": event.type,
                    "stream": stream_id,
                    "id": event.id,
                    "sequence": event.number,
                    "event": encode_event(event),
                }
                self._client.xadd(KEYS.events(KEYS.partition(stream_id)), fields)
        return super().commit([replace(commit, events=()) for commit in commits], owner=owner)


class RandomIds(RedisCheckpointStore):
    """An event gets its id when it is written."""

    def commit(self, commits, *, owner):
        return super().commit(
            [
                replace(
                    commit,
                    events=tuple(
                        msgspec.structs.replace(event, id=str(uuid.uuid4()))
                        for event in commit.events
                    ),
                )
                for commit in commits
            ],
            owner=owner,
        )


class Forgetful(Outbox):
    """Keeps nothing of what the log has taken."""

    def doubt(self):
        pass

    def _send_again(self, stream_id, queue, *, last_us, expected_us):
        pass


class Trusting(Pump):
    """Never looks again at a stream that is silent."""

    def _drop_what_changed(self, stream_ids):
        pass


def test_as_it_is_it_passes(bench):
    bench.server.seen.clear()
    run(bench)  # raises whatever the machine finds wrong
    assert bench.server.seen["commit ok"]  # or nothing was tried


def test_no_owner_check_alone_does_no_harm(bench):
    """The compare-and-set catches it: the lease only saves work."""
    bench.server.seen.clear()
    run(bench, NO_OWNER, only_owners_commit=False)
    assert bench.server.seen["stranger"]  # or nothing was tried


def test_but_no_owner_check_is_seen(bench):
    with pytest.raises(AssertionError, match="committed without the lease"):
        run(bench, NO_OWNER)


def test_no_owner_check_and_no_compare_and_set(bench):
    with pytest.raises(AssertionError, match=r"the events|event numbers|the state is of another"):
        run(
            bench,
            NO_OWNER,
            NO_COMPARE,
            only_owners_commit=False,
            worker=WorkerParts(doubts=False),
        )


def test_no_compare_and_set_alone(bench):
    """The lease does not replace it: its owner may have in memory what the server has lost."""
    with pytest.raises(AssertionError, match=r"the events|event numbers|the state is of another"):
        run(bench, NO_COMPARE)


def test_events_and_states_written_apart(bench):
    with pytest.raises(AssertionError, match=r"event numbers|the events are not"):
        run(bench, worker=WorkerParts(store=EventsApart))


def test_no_resend_buffer(bench):
    with pytest.raises(AssertionError, match="an entry that was taken is not in the log"):
        run(bench, outbox=Forgetful)


def test_no_check_for_duplicates(bench):
    # Redis itself keeps the same id out of a stream: the entry is taken for somebody else's.
    with pytest.raises(AssertionError, match="an entry of the current session was refused"):
        run(bench, NO_DUPLICATES)


def test_event_ids_made_when_written(bench):
    with pytest.raises(AssertionError, match="not those of the offline fold"):
        run(bench, worker=WorkerParts(store=RandomIds))


def test_idle_streams_never_doubted(bench):
    with pytest.raises(AssertionError, match="an entry was never folded in"):
        run(bench, worker=WorkerParts(pump=Trusting))
