"""Our library of server-side functions: whether a server has it, and loading it."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoPermissionError

if TYPE_CHECKING:
    import redis

PREFIX = "streamer_2_"
"""Of our functions: their library's version."""

LIBRARY = PREFIX.rstrip("_")

NO_FUNCTION = "Function not found"
"""By which servers say that a function is not there."""


@cache
def library() -> str:
    """Its code."""
    return resources.files("streamer.transport").joinpath("functions.lua").read_text()


def ensure_functions(client: redis.Redis, *, user: str) -> None:
    """Load the library, unless the server has it. It persists and replicates, unlike scripts.

    Args:
        client: Of one server.
        user: Who it is, for messages.

    Raises:
        NoPermissionError: It is not there, and this user may not load it.
    """
    # Loading is a write, which a server that is full, or about to fail over, refuses.
    listed: Any = client.function_list(library=LIBRARY, withcode=True)
    if any(library().encode() in entry for entry in listed):
        return
    try:
        client.function_load(library(), replace=True)
    except NoPermissionError:
        found = "another version of it" if listed else "none"
        raise NoPermissionError(
            f"expected the function library {LIBRARY} of this version, found {found}, and user "
            f"{user} may not load it (only admin has +function|load); run `streamer redis install` "
            "of this version as user admin"
        ) from None
