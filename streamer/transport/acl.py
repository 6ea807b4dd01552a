"""An ACL file for Redis or Valkey: a user per role, with the permissions of the table."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from streamer.core.errors import ConfigError
from streamer.transport.permissions import Grants, Role

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

DEFAULT_OFF = "user default off nopass resetchannels -@all"
"""Who has no user and password may do nothing."""

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


def acl_file(
    passwords: Mapping[Role, Sequence[str]],
    *,
    names: Mapping[Role, str] | None = None,
    cluster: bool = False,
) -> str:
    """The whole file. Passwords stand in it as SHA-256 only.

    Args:
        passwords: By role, all that are valid.
        names: Of users, where they differ from their roles'.
        cluster: Whether the server is a cluster.

    Raises:
        ConfigError: A name can't be, or two users have the same.
    """
    lines = [DEFAULT_OFF]
    taken = {"default"}
    for role, valid in passwords.items():
        name = (names or {}).get(role, str(role))
        if not _NAME.fullmatch(name) or name in taken:
            raise ConfigError(
                f"redis acl: {role}: expected a user name of its own, of A-Z a-z 0-9 . _ -, found "
                f"{name!r}"
            )
        taken.add(name)
        lines.append(user_line(Grants.of(role, cluster=cluster), valid, name=name))
    return "\n".join(lines) + "\n"


def acl_template() -> str:
    """The file with `SHA256_OF_…` in the place of passwords."""
    lines = [DEFAULT_OFF]
    for role in Role:
        rules = user_rules(Grants.of(role), [])
        lines.append(" ".join(["user", role, rules[0], f"#SHA256_OF_{role.upper()}", *rules[1:]]))
    return "\n".join(lines) + "\n"


def user_line(grants: Grants, passwords: Sequence[str], *, name: str) -> str:
    """One user, as a line of the file."""
    return " ".join(["user", name, *user_rules(grants, passwords)])


def user_rules(grants: Grants, passwords: Sequence[str]) -> list[str]:
    """The rules of one user."""
    hashes = [f"#{hashlib.sha256(one.encode()).hexdigest()}" for one in passwords]
    # Only what is granted: no key, no channel, no command besides.
    return ["on", *hashes, "resetkeys", "resetchannels", "-@all", *grants.rules]


def read_passwords(path: Path, *, of: str) -> list[str]:
    """Every line of a file that is not empty: the first is the one workers use.

    Raises:
        ConfigError: It can't be read, or has none.
    """
    try:
        lines = [line.strip() for line in path.read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "no text"
        raise ConfigError(
            f"{of}: {path}: expected a file with a password, found none ({why})"
        ) from error
    found = [line for line in lines if line]
    if not found:
        raise ConfigError(f"{of}: {path}: expected a password, found an empty file")
    return found
