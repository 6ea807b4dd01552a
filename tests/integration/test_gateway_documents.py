"""What the gateway says of itself to machines: JSON Schemas, OpenAPI, AsyncAPI."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import httpx
import jsonschema
import msgspec
import pytest
from referencing import Registry, Resource
from websockets.sync.client import connect as connect_websocket

from streamer.core.event import (
    DATA_OF_TYPE,
    AnomalyData,
    EventType,
    GapData,
    GapPolicy,
    GapReason,
    ModelChangedData,
)
from streamer.core.event_schema import ANY_EVENT, event_definitions, schema_names
from streamer.transport.connection import connect
from streamer.transport.embedded import EmbeddedValkey
from tests.eventlog import append, log, make_event
from tests.gateways import HEADERS, serving_events, wait_until_read

if TYPE_CHECKING:
    from collections.abc import Iterator

    from websockets.sync.client import ClientConnection

    from streamer.core.event import Event


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedValkey]:
    with EmbeddedValkey() as server:
        yield server


@pytest.fixture(scope="module")
def url(server) -> Iterator[str]:
    with serving_events(server.url) as url:
        yield url


def sample(type: EventType) -> Event:
    """An event of that type, with all its fields."""
    base = make_event(3, type=EventType.ACTION_START)
    common = {
        name: getattr(base.data, name)
        for name in ("frame", "timing", "latency", "pipeline_seconds", "model_id", "encoder_id")
    }
    kind = DATA_OF_TYPE[type]
    if kind is AnomalyData:
        said = {
            name: getattr(base.data, name)
            for name in ("segment", "confidence", "status", "decision_delay_seconds")
        }
        data = AnomalyData(**common, **said, score=0.4)
    elif kind is GapData:
        data = GapData(
            **common,
            missing_from_seq=1,
            missing_frames=2,
            seconds=0.2,
            policy=GapPolicy.DECAY,
            reason=GapReason.DROPPED,
        )
    elif kind is ModelChangedData:
        data = ModelChangedData(**common, previous_model_id="a", previous_encoder_id="b")
    else:
        return make_event(3, type=type)
    return msgspec.structs.replace(base, type=type, data=data)


def test_each_event_fits_its_schema_and_no_other(url):
    addresses = httpx.get(f"{url}/schemas/").json()["schemas"]
    assert list(addresses) == schema_names()
    schemas = {}
    for name, address in addresses.items():
        answer = httpx.get(address)
        assert answer.headers["content-type"] == "application/schema+json"
        schemas[name] = answer.json()
        assert schemas[name]["$id"] == address
        jsonschema.Draft202012Validator.check_schema(schemas[name])
    resources = [(schema["$id"], Resource.from_contents(schema)) for schema in schemas.values()]
    registry = Registry().with_resources(resources)
    for type in EventType:
        event = msgspec.to_builtins(sample(type))
        fitting = {
            name
            for name, schema in schemas.items()
            if jsonschema.Draft202012Validator(schema, registry=registry).is_valid(event)
        }
        assert fitting == {type.value, ANY_EVENT}
        for field in event["data"]:
            if field != "links":
                less = {**event, "data": {k: v for k, v in event["data"].items() if k != field}}
                own = jsonschema.Draft202012Validator(schemas[type], registry=registry)
                assert not own.is_valid(less), (type, field)


def test_an_unknown_schema_is_a_problem(url):
    answer = httpx.get(f"{url}/schemas/streamer.action.stop.json")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert "streamer.action.start" in answer.json()["detail"]


def test_every_field_is_described():
    definitions = event_definitions("#/$defs/{name}")
    for name in ("ActionData", "PhaseData", "AnomalyData", "GapData", "Segment", "Ledger"):
        for field, schema in definitions[name]["properties"].items():
            assert schema.get("description"), (name, field)


def resolve(document: dict[str, Any], ref: str) -> Any:
    found = document
    for part in ref.removeprefix("#/").split("/"):
        found = found[part.replace("~1", "/")]
    return found


def refs(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from refs(value)
    elif isinstance(node, list):
        for value in node:
            yield from refs(value)


@pytest.mark.parametrize("path", ["/openapi.json", "/asyncapi.json"])
def test_a_document_is_public_and_has_all_it_refers_to(url, path):
    document = httpx.get(f"{url}{path}").json()
    for ref in set(refs(document)):
        assert resolve(document, ref) is not None
    schemas = document["components"]["schemas"]
    assert {*EventType, ANY_EVENT} <= schemas.keys()
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_openapi_says_what_goes_wrong_everywhere(url):
    document = httpx.get(f"{url}/openapi.json").json()
    assert "HTTPValidationError" not in document["components"]["schemas"]
    operations = [
        (path, operation)
        for path, methods in document["paths"].items()
        if path.startswith("/v1/")
        for operation in methods.values()
    ]
    assert {"/v1/events", "/v1/events/history", "/v1/streams"} <= {path for path, _ in operations}
    for path, operation in operations:
        for status in ("401", "422", "default"):
            content = operation["responses"][status]["content"]
            assert list(content) == ["application/problem+json"], path
    events = document["paths"]["/v1/events"]["get"]
    assert list(events["responses"]["200"]["content"]) == ["text/event-stream"]
    problem = httpx.get(f"{url}/v1/events?limit=1", headers=HEADERS)
    assert problem.status_code == 422
    schema = document["components"]["schemas"]["Problem"]
    jsonschema.validate(problem.json(), schema)


def test_history_fits_its_description(url, server):
    client = connect(server.url)
    append(client, [sample(type) for type in EventType])
    client.close()
    document = httpx.get(f"{url}/openapi.json").json()
    described = document["paths"]["/v1/events/history"]["get"]["responses"]["200"]["content"]
    schema = {**described["application/json"]["schema"], "components": document["components"]}
    answer = httpx.get(f"{url}/v1/events/history?limit=3", headers=HEADERS).json()
    assert len(answer["events"]) == 3
    jsonschema.Draft202012Validator(schema).validate(answer)
    answer["events"][0]["data"] = {}
    assert not jsonschema.Draft202012Validator(schema).is_valid(answer)


def test_asyncapi_is_well_formed(url):
    """The structure that AsyncAPI 3.0.0 asks for."""
    document = httpx.get(f"{url}/asyncapi.json").json()
    assert document["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= document["info"].keys()
    for server in document["servers"].values():
        assert server["host"] == url.removeprefix("http://")
        assert resolve(document, server["security"][0]["$ref"])["type"] == "http"
    assert {server["protocol"] for server in document["servers"].values()} == {"http", "ws"}
    for channel in document["channels"].values():
        assert channel["address"] in ("/v1/events", "/v1/events/ws")
        for server in channel["servers"]:
            assert server["$ref"].startswith("#/servers/")
    sent = set()
    for operation in document["operations"].values():
        assert operation["action"] == "send"
        assert operation["channel"]["$ref"].startswith("#/channels/")
        sent |= resolve(document, operation["channel"]["$ref"])["messages"].keys()
    assert sent == document["components"]["messages"].keys()
    for kind in document["components"].values():
        assert all(re.fullmatch(r"[A-Za-z0-9._-]+", key) for key in kind)


def until_live(connection: ClientConnection) -> list[dict[str, Any]]:
    frames = [json.loads(connection.recv(10))]
    while frames[-1]["event"] != "live":
        frames.append(json.loads(connection.recv(10)))
    return frames


def test_what_a_websocket_says_is_in_asyncapi(url, server):
    document = httpx.get(f"{url}/asyncapi.json").json()
    messages = document["components"]["messages"]
    client = connect(server.url)
    append(client, [sample(type) for type in (*EventType, EventType.ACTION_START)])
    wait_until_read(url, log(client)[-1][0])
    client.close()
    address = url.replace("http", "ws", 1) + "/v1/events/ws"
    heard = []
    for query in ("?since=0", ""):
        with connect_websocket(address + query, additional_headers=HEADERS) as connection:
            heard += until_live(connection)
    assert {*EventType, "hello", "open", "live"} <= {frame["event"] for frame in heard}
    for frame in heard:
        payload = messages[f"frame.{frame['event']}"]["payload"]
        schema = {**payload, "components": document["components"]}
        jsonschema.Draft202012Validator(schema).validate(frame)
