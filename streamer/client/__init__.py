"""Subscribe to events from Python: `for event in subscribe("http://127.0.0.1:8080"): ...`.

`subscribe_async` does the same in an event loop. `subscription.py` goes on over lost connections,
`redis.py` and `http.py` are the two ways to the log, the rest is pure.
"""

from streamer.client.async_subscription import AsyncSubscription, subscribe_async
from streamer.client.continuity import Hole, HoleReason
from streamer.client.subscription import Subscription, subscribe
from streamer.transport.access import RedisAccess

__all__ = [
    "AsyncSubscription",
    "Hole",
    "HoleReason",
    "RedisAccess",
    "Subscription",
    "subscribe",
    "subscribe_async",
]
