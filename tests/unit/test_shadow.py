"""The shadow loader: one model at a time, never in the way of the one that runs."""

from __future__ import annotations

import threading

import pytest

from streamer.core.errors import ModelError
from streamer.runtime.shadow import RETRY_SECONDS, ShadowLoader
from streamer.telemetry.records.model import ModelPending, ModelRefused
from streamer.transport.model_registry import WantedModel

NEW = WantedModel(model_id="sha256:new", bundle="/new")
THIRD = WantedModel(model_id="sha256:third", bundle="/third")


class Model:
    def __init__(self, wanted):
        self.wanted = wanted
        self.closed = False

    def close(self):
        self.closed = True


class Bench:
    """A loader whose loads take until they are let go, or fail."""

    def __init__(self):
        self.now = 0.0
        self.told = []
        self.made = []
        self.error = None
        self.go = threading.Event()
        self.go.set()
        self.loader = ShadowLoader(self.load, self, clock=lambda: self.now)

    def load(self, wanted):
        assert self.go.wait(10)
        if self.error is not None:
            raise self.error
        self.made.append(Model(wanted))
        return self.made[-1]

    def observe(self, record):
        self.told.append(record)

    def look(self, wanted, running="sha256:old"):
        self.loader.look(wanted, running=running)

    def settle(self, wanted):
        self.loader.wait()
        return self.loader.take(wanted)


@pytest.fixture
def bench():
    made = Bench()
    yield made
    made.go.set()
    made.loader.close()


def test_what_is_wanted_is_loaded_once_while_the_loop_goes_on(bench):
    bench.go.clear()
    bench.look(NEW)
    for _ in range(3):
        bench.look(NEW)
        assert bench.loader.take(NEW) is None
    bench.go.set()
    assert bench.settle(NEW) is bench.made[0]
    bench.look(NEW, running="sha256:new")
    assert not bench.loader.busy
    assert len(bench.made) == 1
    assert bench.told == [ModelPending("sha256:new"), ModelPending("")]


@pytest.mark.parametrize("wanted", [None, WantedModel(model_id="sha256:old", bundle="/old")])
def test_nothing_is_loaded_when_what_runs_is_right(bench, wanted):
    bench.look(wanted)
    assert not bench.loader.busy
    assert bench.told == []


def test_a_model_no_longer_wanted_when_it_is_loaded_is_closed_and_the_next_one_follows(bench):
    bench.go.clear()
    bench.look(NEW)
    bench.look(THIRD)
    bench.go.set()
    assert bench.settle(THIRD) is None
    assert bench.made[0].closed
    bench.look(THIRD)
    assert bench.settle(THIRD).wanted == THIRD


@pytest.mark.parametrize("error", [ModelError("/new: damaged"), RuntimeError("/new:\n damaged")])
def test_what_cannot_be_loaded_is_said_once_and_tried_again_later(bench, error):
    bench.error = error
    bench.look(NEW)
    assert bench.settle(NEW) is None
    assert "sha256:new" in bench.loader.remark
    assert bench.loader.remark.endswith("/new: damaged")
    bench.look(NEW)
    assert not bench.loader.busy
    bench.now += RETRY_SECONDS
    bench.error = None
    bench.look(NEW)
    assert bench.settle(NEW) is bench.made[0]
    assert bench.loader.remark == ""
    refused = [record for record in bench.told if isinstance(record, ModelRefused)]
    assert refused == [ModelRefused("sha256:new", "/new: damaged")]


def test_another_wish_is_not_held_up_by_one_that_failed(bench):
    bench.error = ModelError("/new: damaged")
    bench.look(NEW)
    bench.settle(NEW)
    bench.error = None
    bench.look(THIRD)
    assert bench.loader.remark == ""
    assert bench.settle(THIRD).wanted == THIRD


def test_closing_gives_up_what_is_on_its_way(bench):
    bench.look(NEW)
    bench.loader.wait()
    bench.loader.close()
    assert bench.made[0].closed
    assert not bench.loader.busy
    bench.loader.close()
