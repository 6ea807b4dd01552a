"""Who works on what: every share has one owner, moves when it must, and only then."""

from __future__ import annotations

import copy
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.runtime.shares import Changes, Shares
from streamer.transport.memory import MemoryLeases, MemoryRoster

SHARES = range(64)


class World:
    """Workers that share one roster, one set of leases, and one clock."""

    def __init__(self, *, ttl_seconds=5.0):
        self.now = 0.0
        self.ttl_seconds = ttl_seconds
        self.roster = MemoryRoster(now_seconds=lambda: self.now)
        self.leases = MemoryLeases(now_seconds=lambda: self.now)
        self.workers = {}

    def start(self, *names):
        for name in names:
            self.workers[name] = Shares(
                self.roster,
                self.leases,
                member=name,
                ttl_seconds=self.ttl_seconds,
                clock=lambda: self.now,
            )

    def run(self, seconds, *, step=0.1, frozen=()):
        end = self.now + seconds
        while self.now < end:
            self.now += step
            for name, worker in self.workers.items():
                if name not in frozen:
                    _, surplus = worker.turn(SHARES)
                    worker.release(surplus)

    def save(self):
        """What Redis knows."""
        return copy.deepcopy((vars(self.roster), vars(self.leases)))

    def roll_back(self, saved):
        """Redis knows what it knew then, and everybody has lost the connection."""
        roster, leases = copy.deepcopy(saved)
        vars(self.roster).update(roster)
        vars(self.leases).update(leases)
        for worker in self.workers.values():
            worker.doubt()

    def owners(self):
        """Who may act. A frozen one may think it holds what it has lost: its lease is another's."""
        owners = {}
        for name, worker in self.workers.items():
            for share in worker.held:
                if self.leases.owner(share) == name:
                    assert owners.setdefault(share, name) == name
        return owners


def test_one_worker_takes_everything_at_once():
    world = World()
    world.start("a")
    world.run(0.1)
    assert set(world.owners()) == set(SHARES)
    assert world.workers["a"].alone


def test_several_share_and_a_newcomer_moves_only_its_own():
    world = World()
    world.start("a", "b")
    world.run(2)
    before = world.owners()
    assert set(before) == set(SHARES)
    assert min(Counter(before.values()).values()) >= 16
    world.start("c")
    world.run(2)
    after = world.owners()
    assert set(after) == set(SHARES)
    moved = {share for share in SHARES if before[share] != after[share]}
    assert {after[share] for share in moved} == {"c"}
    assert min(Counter(after.values()).values()) >= 8


def test_what_a_leaver_gives_back_is_taken_within_a_second():
    world = World()
    world.start("a", "b")
    world.run(2)
    world.workers.pop("a").leave()
    world.run(0.5)
    assert set(world.owners()) == set(SHARES)


def test_what_a_crashed_one_had_is_taken_when_its_lease_ends():
    world = World()
    world.start("a", "b")
    world.run(2)
    mine = world.workers["b"].held
    del world.workers["a"]
    world.run(4)
    assert world.workers["b"].held == mine
    world.run(2)
    assert set(world.owners()) == set(SHARES)


def test_one_that_was_frozen_knows_that_it_has_lost_its_own():
    world = World()
    world.start("a", "b")
    world.run(2)
    before = world.workers["a"].held
    world.run(7, frozen=["a"])
    assert set(world.workers["b"].held) == set(SHARES)
    changes, _ = world.workers["a"].turn(SHARES)
    assert changes.lost == before
    assert not world.workers["a"].held
    world.run(4)
    assert set(world.owners()) == set(SHARES)


def test_one_that_slept_past_its_lease_has_it_still_if_nobody_came():
    world = World()
    world.start("a")
    world.run(1)
    world.now += 60
    changes, _ = world.workers["a"].turn(SHARES)
    assert changes == Changes()
    assert world.workers["a"].held == frozenset(SHARES)


def test_one_that_slept_while_another_came_and_went_knows_that_its_own_was_touched():
    world = World()
    world.start("a")
    world.run(1)
    world.now += 60
    world.leases.acquire([3], owner="b", ttl_seconds=5)
    world.leases.release([3], owner="b")
    changes, _ = world.workers["a"].turn(SHARES)
    assert changes.lost == changes.gained == {3}


def test_a_share_that_is_no_more_is_given_back():
    world = World()
    world.start("a")
    world.run(1)
    world.now += 1
    _, surplus = world.workers["a"].turn(range(10))
    assert surplus == frozenset(range(10, 64))


def test_after_a_lost_connection_everything_is_asked_for_anew():
    world = World()
    world.start("a")
    world.run(1)
    world.leases.release([3, 4], owner="a")
    world.leases.acquire([3, 4], owner="b", ttl_seconds=5)
    assert world.workers["a"].turn(SHARES)[0] == Changes()
    world.workers["a"].doubt()
    changes, _ = world.workers["a"].turn(SHARES)
    assert changes == Changes(lost=frozenset({3, 4}))


def test_after_an_outage_everybody_goes_on_with_his_own():
    world = World()
    world.start("a", "b", "c")
    world.run(3)
    before = world.owners()
    world.run(20, frozen="abc")  # Redis answers nobody
    for frozen in ("bc", "c", ""):  # they come back one after the other
        world.run(0.7, frozen=frozen)
    world.run(5)
    assert world.owners() == before
    assert {world.leases.acquire([s], owner=before[s], ttl_seconds=5)[s] for s in SHARES} <= {1, 2}


def test_after_a_short_outage_that_redis_forgot_the_first_one_back_takes_nothing():
    """Shorter than a lease, but members and leases are as they were before there were any."""
    world = World()
    empty = world.save()
    world.start("a", "b", "c")
    world.run(3)
    before = world.owners()
    world.roll_back(empty)
    for frozen in ("bc", "c", ""):  # they come back one after the other
        world.run(0.7, frozen=frozen)
    world.run(5)
    assert world.owners() == before


def test_one_that_stays_away_after_an_outage_is_waited_for_a_while_only():
    world = World()
    empty = world.save()
    world.start("a", "b")
    world.run(2)
    world.roll_back(empty)
    world.workers.pop("a")
    for _ in range(8):  # an outage every second: patience has an end
        world.workers["b"].doubt()
        world.run(1)
    assert set(world.owners()) < set(SHARES)
    for _ in range(4):
        world.workers["b"].doubt()
        world.run(1)
    assert set(world.owners()) == set(SHARES)


def test_a_lease_that_was_handed_over_before_redis_lost_that_stays_with_its_new_owner():
    world = World()
    world.start("a")
    world.run(1)
    saved = world.save()
    world.start("b")
    world.run(1)
    moved = world.workers["b"].held
    assert moved
    world.roll_back(saved)
    world.run(5)
    assert world.workers["b"].held == moved
    assert {world.leases.owner(share) for share in moved} == {"b"}


@pytest.mark.parametrize("ttl_seconds", [1.0, 5.0])
@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abcd"), st.sampled_from(["start", "kill", "leave", "freeze"])),
        max_size=12,
    )
)
def test_whatever_happens_no_share_has_two_owners_and_in_the_end_each_has_one(ttl_seconds, story):
    world, frozen = World(ttl_seconds=ttl_seconds), set()
    world.start("z")
    for name, what in story:
        match what:
            case "start":
                frozen.discard(name)
                world.start(name)
            case "kill":
                world.workers.pop(name, None)
            case "leave" if name in world.workers:
                world.workers.pop(name).leave()
            case "freeze":
                frozen.add(name)
        world.run(0.7, frozen=frozen)
    for name in frozen:
        world.workers.pop(name, None)
    world.run(2 * ttl_seconds + 2)
    assert set(world.owners()) == set(SHARES)


def test_one_that_is_still_listed_after_an_outage_is_waited_for_too():
    """What Redis says of the others may be from before the outage, and end at any time."""
    world = World(ttl_seconds=1.0)
    world.start("a", "b")
    world.run(2)
    saved, before = world.save(), world.owners()
    world.run(0.5)
    world.roll_back(saved)
    world.run(1.5, frozen={"b"})
    assert world.workers["a"].held == {share for share in SHARES if before[share] == "a"}
    world.run(0.5)
    assert world.owners() == before
