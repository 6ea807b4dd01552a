"""The AsyncAPI document: the messages of the event streams. Reference: AsyncAPI 3.0.0."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streamer.client.gap import GapReason
from streamer.core.event import EventType
from streamer.core.event_schema import ANY_EVENT, event_definitions

if TYPE_CHECKING:
    from pydantic import BaseModel

_SCHEMA = "#/components/schemas/{name}"
_CURSOR = {
    "type": "string",
    "description": "A place in the event log: `1767225600000-0`, or one per partition: "
    "`0:1767225600000-0,5:1767225600000-3`.",
}
_NOTHING = {"type": "object", "maxProperties": 0}

WORDS: dict[str, tuple[str, dict[str, Any]]] = {
    "hello": ("Connected. Nothing will be missing from here on.", _NOTHING),
    "open": (
        "The newest event of a segment that is open. Sent first to who begins now; without an id.",
        {"$ref": _SCHEMA.format(name=ANY_EVENT)},
    ),
    "live": ("All that was in the log has been sent; what follows is new.", _NOTHING),
    "heartbeat": ("Nothing happened, but the id moved on.", _NOTHING),
    "gap": (
        "Events after the client's place are, or may be, no longer in the log.",
        {
            "type": "object",
            "properties": {
                "reason": {"enum": [reason.value for reason in GapReason]},
                "after": _CURSOR,
                "oldest": {"anyOf": [_CURSOR, {"type": "null"}]},
            },
            "required": ["reason", "after", "oldest"],
        },
    ),
    "rewind": (
        "Redis has lost its newest events. What was sent after this message's id may be sent "
        "again; stream and `sequence` tell.",
        {"type": "object", "properties": {"after": _CURSOR}, "required": ["after"]},
    ),
    "overflow": (
        "The client was too slow and is disconnected. It may resume from its last id.",
        {
            "type": "object",
            "properties": {"max_behind": {"type": "integer"}, "detail": {"type": "string"}},
            "required": ["max_behind", "detail"],
        },
    ),
    "end": (
        "The client's token is no longer good; it is disconnected.",
        {
            "type": "object",
            "properties": {"reason": {"type": "string"}, "detail": {"type": "string"}},
            "required": ["reason", "detail"],
        },
    ),
}
"""Messages that are no events: what they mean, and their data."""

_COMMENTS = ("hello", "heartbeat")
"""These are comments in an event stream, and messages of a WebSocket."""


def asyncapi_document(
    *, host: str, is_secure: bool, version: str, query: type[BaseModel]
) -> dict[str, Any]:
    """The document.

    Args:
        host: Of the gateway, with its port.
        is_secure: Whether it speaks TLS.
        version: Of the API.
        query: What a subscriber may ask for.
    """
    names = [*EventType, *WORDS]
    sent = [name for name in names if name not in _COMMENTS]
    asked = query.model_json_schema()
    messages = {**{name: _message(name) for name in sent}, **{_frame(n): _framed(n) for n in names}}
    suffix = "s" if is_secure else ""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "streamer",
            "version": version,
            "description": "Events of live cameras, as CloudEvents.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "http": _server(host, f"http{suffix}"),
            "websocket": _server(host, f"ws{suffix}"),
        },
        "channels": {
            "events": _channel("/v1/events", "http", "Server-sent events.", sent),
            "eventsWebSocket": {
                **_channel(
                    "/v1/events/ws",
                    "websocket",
                    "Text frames of JSON.",
                    [_frame(name) for name in names],
                ),
                "bindings": {"ws": {"method": "GET", "query": asked, "bindingVersion": "0.1.0"}},
            },
        },
        "operations": {
            "sendEvents": {
                "action": "send",
                "channel": {"$ref": "#/channels/events"},
                "summary": "Sends events as they come, after `Last-Event-ID` or `since`.",
                "bindings": {"http": {"method": "GET", "query": asked, "bindingVersion": "0.3.0"}},
            },
            "sendFrames": {
                "action": "send",
                "channel": {"$ref": "#/channels/eventsWebSocket"},
                "summary": "Sends events as they come, after `last_event_id` or `since`.",
            },
        },
        "components": {
            "messages": messages,
            "schemas": {
                **event_definitions(_SCHEMA),
                ANY_EVENT: {
                    "oneOf": [{"$ref": _SCHEMA.format(name=type.value)} for type in EventType]
                },
            },
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token with the scope events:read.",
                }
            },
        },
    }


def _server(host: str, protocol: str) -> dict[str, Any]:
    security = [{"$ref": "#/components/securitySchemes/token"}]
    return {"host": host, "protocol": protocol, "security": security}


def _channel(address: str, server: str, description: str, names: list[str]) -> dict[str, Any]:
    return {
        "address": address,
        "description": description,
        "servers": [{"$ref": f"#/servers/{server}"}],
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
    }


def _message(name: str) -> dict[str, Any]:
    """The message whose event has that name: its payload is the event's data."""
    if name in WORDS:
        summary, payload = WORDS[name]
    else:
        summary, payload = "An event.", {"$ref": _SCHEMA.format(name=name)}
    return {"name": name, "title": name, "summary": summary, "payload": payload}


def _framed(name: str) -> dict[str, Any]:
    """The same in a frame."""
    message = _message(name)
    payload = {
        "type": "object",
        "properties": {
            "id": {"anyOf": [_CURSOR, {"type": "null"}]},
            "event": {"const": name},
            "data": message["payload"],
        },
        "required": ["id", "event", "data"],
    }
    return {**message, "name": _frame(name), "payload": payload}


def _frame(name: str) -> str:
    return f"frame.{name}"
