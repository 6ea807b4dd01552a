"""The HTTP API against its own description: whatever Schemathesis thinks of, no fault.

Every operation of the OpenAPI document is tried, so a new route is as soon as it is there.
"""

from __future__ import annotations

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import response_schema_conformance

from streamer.transport.embedded import EmbeddedValkey
from tests.gateways import HEADERS, serving_events
from workers.gateway import access

SEED = 20261121
EXAMPLES = 20
"""Of each operation, with valid and with invalid values: about 20 s for 25 operations."""

SECONDS_PER_REQUEST = 10.0
ENDLESS = ("text/event-stream", "multipart/x-mixed-replace")


@pytest.fixture(scope="module")
def url():
    limits = {"failures_per_minute": 10**6, "requests_per_minute": 10**6}
    with (
        pytest.MonkeyPatch.context() as patch,
        EmbeddedValkey() as server,
        serving_events(server.url, **limits) as url,
    ):
        patch.setattr(access, "MISS_SECONDS", 0.0)  # here most tokens are unknown
        yield url


@pytest.fixture(scope="module")
def operations(url):
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    found = [result.ok() for result in schema.get_all_operations()]
    assert len(found) >= 6
    return found


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_no_fault_whatever_is_asked(url, operations, mode):
    statuses: dict[int, int] = {}
    with requests.Session() as session:
        for operation in operations:

            @seed(SEED)
            @settings(
                max_examples=EXAMPLES,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(mode), with_token=st.booleans())
            def ask(case, with_token):
                sent = case.as_transport_kwargs(base_url=url)
                # Schemathesis makes up tokens of its own; half of the time we want to come in.
                if with_token:
                    sent["headers"] = {**sent.get("headers", {}), **HEADERS}
                with session.request(
                    **sent, stream=True, timeout=SECONDS_PER_REQUEST, allow_redirects=False
                ) as answer:
                    statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
                    check(case, answer)

            try:
                ask()
            except Unsatisfiable:
                assert mode is GenerationMode.NEGATIVE, operation.label
    assert 200 in statuses
    assert 401 in statuses
    if mode is GenerationMode.NEGATIVE:
        assert 422 in statuses


def check(case, answer: requests.Response) -> None:
    """It is no fault, an error is a problem document, and what is said is what was promised."""
    kind = answer.headers.get("content-type", "").partition(";")[0]
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        # What the HTTP server itself refuses never comes to the app.
        assert kind == "application/problem+json", answer.text
        assert answer.json()["status"] == answer.status_code
    elif kind not in ENDLESS and answer.status_code != 204:
        case.validate_response(
            schemathesis.Response.from_requests(answer, verify=True),
            checks=[response_schema_conformance],
        )
