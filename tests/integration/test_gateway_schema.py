"""The HTTP API against its own description: whatever Schemathesis thinks of, no fault.

Every operation of the OpenAPI document is tried, so a new route is as soon as it is there.
"""

from __future__ import annotations

import pytest

from streamer.transport.embedded import EmbeddedValkey
from tests.gateways import serving_events

SEED = 20261121
EXAMPLES_PER_OPERATION = 25
SECONDS_PER_REQUEST = 5.0


@pytest.fixture(scope="module")
def url():
    limits = {"failures_per_minute": 10**6, "requests_per_minute": 10**6}
    with EmbeddedValkey() as server, serving_events(server.url, **limits) as url:
        yield url
