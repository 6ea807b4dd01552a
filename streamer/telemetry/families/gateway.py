"""Families of the gateway."""

from __future__ import annotations

from streamer.telemetry.families.family import Family, Kind, Role

_ROLES = (Role.GATEWAY,)

CLIENTS = Family(
    name="streamer_gateway_clients",
    kind=Kind.GAUGE,
    meaning="Open event streams.",
    roles=_ROLES,
    labels={"transport": "`sse`, `websocket`"},
)
EVENTS_SENT = Family(
    name="streamer_gateway_events_sent_total",
    kind=Kind.COUNTER,
    meaning="Events handed to clients.",
    roles=_ROLES,
)
DELIVERY = Family(
    name="streamer_gateway_delivery_seconds",
    kind=Kind.HISTOGRAM,
    meaning="From the arrival of events in the gateway, read from the log, to the client's socket "
    "having taken them: once per client and write. What came before is in streamer_event_latency.",
    roles=_ROLES,
)
DISCONNECTS = Family(
    name="streamer_gateway_disconnects_total",
    kind=Kind.COUNTER,
    meaning="Event streams that ended.",
    roles=_ROLES,
    labels={
        "reason": "`left` (the client went), `overflow` (it was too slow), `refused` (its token is "
        "no longer good), `stopped` (the gateway stops), `away` (Redis does not answer)"
    },
)
GAPS = Family(
    name="streamer_gateway_gaps_total",
    kind=Kind.COUNTER,
    meaning="Gaps found in the event log: once by the live feed, once by each client whose past is "
    "no longer there.",
    roles=_ROLES,
)
REWINDS = Family(
    name="streamer_gateway_rewinds_total",
    kind=Kind.COUNTER,
    meaning="How often the live feed found that Redis had lost its newest events.",
    roles=_ROLES,
)
REQUESTS = Family(
    name="streamer_gateway_requests_total",
    kind=Kind.COUNTER,
    meaning="Requests answered; of an event stream: begun.",
    roles=_ROLES,
    labels={
        "method": "`GET`, `POST`, `PUT`, `PATCH`, `DELETE`, `HEAD`, `OPTIONS`, `WEBSOCKET`, "
        "`other`",
        "route": "the route's template, never a path; empty where no route was found",
        "status": "the HTTP status; 101 of an accepted WebSocket",
    },
)

FAMILIES = (CLIENTS, EVENTS_SENT, DELIVERY, DISCONNECTS, GAPS, REWINDS, REQUESTS)
