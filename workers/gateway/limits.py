"""How often: a moving window per token, and one per address for requests without a valid one.

Each gateway counts for itself: several of them allow several times as much.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

if TYPE_CHECKING:
    from limits import RateLimitItem


class RateLimits:
    """Counts requests. Used by the event loop.

    Args:
        requests_per_minute: Of one token.
        failures_per_minute: Of one address, without a valid token.
    """

    def __init__(self, *, requests_per_minute: int, failures_per_minute: int) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._requests = RateLimitItemPerMinute(requests_per_minute, namespace="requests")
        self._failures = RateLimitItemPerMinute(failures_per_minute, namespace="failures")

    def count_request(self, name: str) -> int | None:
        """Count a request of a token. Seconds to wait if that was one too many, else None."""
        return self._count(self._requests, name)

    def count_failure(self, address: str) -> int | None:
        """Count a request without a valid token. Seconds to wait if that was one too many."""
        return self._count(self._failures, address)

    def may_fail(self, address: str) -> bool:
        """Whether one more request without a valid token would be let pass."""
        return self._limiter.test(self._failures, address)

    def _count(self, item: RateLimitItem, who: str) -> int | None:
        if self._limiter.hit(item, who):
            return None
        reset = self._limiter.get_window_stats(item, who).reset_time
        return max(1, math.ceil(reset - time.time()))
