"""The client in an event loop, over both ways."""

from __future__ import annotations

import asyncio
import threading

import pytest

from streamer.client import HoleReason, subscribe_async
from streamer.client.async_subscription import MAX_WAITING
from streamer.core.errors import TransportError
from streamer.core.event import EventType
from streamer.transport.connection import connect
from tests.eventlog import append, make_event
from tests.gateways import TOKEN, serving_events

PATIENCE_SECONDS = 15.0


@pytest.fixture
def client(valkey):
    client = connect(valkey.url)
    yield client
    client.close()


@pytest.fixture(params=["redis", "gateway"])
def address(request, valkey):
    if request.param == "redis":
        yield valkey.url
    else:
        with serving_events(valkey.url) as url:
            yield url


def run(work) -> None:
    async def limited() -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await work

    asyncio.run(limited())
    assert "subscription" not in {thread.name for thread in threading.enumerate()}


def test_the_past_of_more_than_is_read_ahead(address, client):
    events = [make_event(number) for number in range(3 * MAX_WAITING)]
    append(client, events)

    async def work():
        async with subscribe_async(address, since="0", follow=False, token=TOKEN) as subscription:
            assert [event async for event in subscription] == events
            assert [event async for event in subscription] == []

    run(work())


def test_wishes_and_holes(address, client):
    append(client, [make_event(number) for number in (0, 1, 5)])
    append(client, [make_event(6, type=EventType.ACTION_START), make_event(0, stream="door")])
    told = []

    async def work():
        async with subscribe_async(
            address, since="0", stream="c*", follow=False, token=TOKEN, on_hole=told.append
        ) as subscription:
            seen = [(event.number, len(told)) async for event in subscription]
            assert seen == [(0, 0), (1, 0), (5, 1), (6, 1)]
            assert [hole.reason for hole in subscription.holes] == [HoleReason.MISSING]
        async with subscribe_async(
            address, since="0", follow=False, token=TOKEN, min_confidence=0.95
        ) as subscription:
            assert [event.number async for event in subscription] == [0, 1, 5, 0]

    run(work())


def test_it_can_be_left_while_it_waits(address, client):
    append(client, [make_event(0)])

    async def work():
        subscription = subscribe_async(address, since="0", token=TOKEN)
        async with subscription:
            assert (await anext(subscription)).number == 0
            waiting = asyncio.ensure_future(anext(subscription))
            await asyncio.sleep(0)
            waiting.cancel()
        with pytest.raises(StopAsyncIteration):
            await anext(subscription)

    run(work())


def test_it_can_be_left_with_events_unread(address, client):
    append(client, [make_event(number) for number in range(2 * MAX_WAITING)])

    async def work():
        async with subscribe_async(address, since="0", token=TOKEN) as subscription:
            async for event in subscription:
                if event.number == 3:
                    break
        # What was read ahead is not told any more.
        with pytest.raises(StopAsyncIteration):
            await anext(subscription)

    run(work())


def test_what_ends_it_comes_out(valkey):
    async def work():
        async with subscribe_async("http://127.0.0.1:9", token=TOKEN) as subscription:
            with pytest.raises(TransportError, match="gateway http"):
                await anext(subscription)

    run(work())


def test_it_goes_on_over_a_restart(valkey, client):
    lost = []

    async def work():
        stop, port = serve(valkey.url, 0)
        async with subscribe_async(
            f"http://127.0.0.1:{port}", since="0", token=TOKEN, on_lost=lost.append
        ) as subscription:
            append(client, [make_event(0)])
            assert (await anext(subscription)).number == 0
            await asyncio.to_thread(stop)
            append(client, [make_event(1)])
            stop, _ = await asyncio.to_thread(serve, valkey.url, port)
            try:
                assert (await anext(subscription)).number == 1
            finally:
                await asyncio.to_thread(stop)
        assert not subscription.holes

    run(work())


def serve(url: str, port: int):
    serving = serving_events(url) if not port else serving_events(url, port=port)
    address = serving.__enter__()
    return lambda: serving.__exit__(None, None, None), int(address.rpartition(":")[2])
