"""Extras: what streamer needs for some of its work alone, and is installed on request."""

from __future__ import annotations


def how_to_install(*extras: str) -> str:
    """What somebody is to do who lacks them, for the end of a message.

    The command is that of a checkout: an index may have another project's package of this name.

    Args:
        extras: Names under `[project.optional-dependencies]`.
    """
    what = "extra" if len(extras) == 1 else "extras"
    names = ",".join(extras)
    return f"install streamer with its {what} {names}: in its folder, pip install '.[{names}]'"
