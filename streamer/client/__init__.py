"""Subscribe to events from Python: `for event in subscribe("http://127.0.0.1:8080"): ...`.

`subscription.py` is the loop, `redis.py` and `http.py` the two ways to the log, the rest is pure.
"""

from streamer.client.continuity import Hole, HoleReason
from streamer.client.subscription import Subscription, subscribe

__all__ = ["Hole", "HoleReason", "Subscription", "subscribe"]
