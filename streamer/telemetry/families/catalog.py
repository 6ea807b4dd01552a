"""All families."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamer.telemetry.families import encoder, every, gateway, ingest, model, temporal

if TYPE_CHECKING:
    from streamer.telemetry.families.family import Family, Role

CATALOG: tuple[Family, ...] = (
    *every.FAMILIES,
    *ingest.FAMILIES,
    *encoder.FAMILIES,
    *temporal.FAMILIES,
    *model.FAMILIES,
    *gateway.FAMILIES,
)


def of_role(role: Role) -> tuple[Family, ...]:
    """The families that a worker of this role has."""
    return tuple(family for family in CATALOG if role in family.roles)
