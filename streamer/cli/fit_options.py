"""Which options of `streamer fit` go together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamer.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def refuse(given: Mapping[str, bool], beside: str) -> None:
    """Raise ConfigError that names the first option that can't stand beside another."""
    if found := [option for option, is_given in given.items() if is_given]:
        raise ConfigError(f"fit: expected no {found[0]} with {beside}; leave it out")


def need(wanted: str, there: object, given: Mapping[str, object]) -> None:
    """Raise ConfigError that names the first option that says nothing without another."""
    found = [option for option, value in given.items() if value is not None]
    if found and not there:
        raise ConfigError(f"fit: expected {wanted} with {found[0]}; leave it out, or add that")


def assigned(assignments: Sequence[str], *names: str) -> dict[str, object]:
    """The parts of a recipe with these names that `--set` gives."""
    parts = [assignment.partition("=")[0].strip() for assignment in assignments]
    return {f"--set {part}": True for part in parts if part in names}
