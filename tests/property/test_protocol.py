"""The protocol under everything that can befall it, by a state machine over a real server."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from streamer.transport.embedded import EmbeddedValkey
from tests.protocol.bench import Bench
from tests.protocol.machine import Parts, Protocol

EXAMPLES = os.environ.get("STREAMER_PROTOCOL_EXAMPLES")
"""So many examples, other ones each time; without it, always the same few."""

REACHED = (
    "commit ok", "commit done", "commit stale", "commit fenced", "publish duplicate", "publish gap",
    "publish fenced", "letter unreadable", "letter misfit", "letter poison", "rollback",
    "unanswered", "half",
)  # fmt: skip


@pytest.fixture
def bench():
    with EmbeddedValkey() as server:
        bench = Bench(server.url)
        yield bench
        bench.close()


@pytest.mark.timeout(0 if EXAMPLES else 180)
def test_whatever_happens_the_events_are_those_of_the_offline_fold(bench):
    run_state_machine_as_test(
        lambda: Protocol(bench, Parts()),
        settings=settings(
            max_examples=int(EXAMPLES or 75),
            stateful_step_count=50,
            derandomize=not EXAMPLES,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    missing = [what for what in REACHED if not bench.server.seen[what]]
    assert not missing, f"the machine never came to {missing}"
