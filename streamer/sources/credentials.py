"""User names and passwords: kept apart from URLs, put in only where a connection is made."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from streamer.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

Credentials = tuple[str, str]
"""User name and password."""

_REFERENCE = re.compile(r"(env|file):.+")

CREDENTIALS_VARIABLE_PREFIX = "STREAMER_CREDENTIALS_"
"""Names under which typed credentials are handed on; the rest is the stream id in hexadecimal."""

# Up to the last @ before the path: people type passwords with an unescaped @, # or ? in them.
_USERINFO = re.compile(r"(?P<scheme>\b[A-Za-z][A-Za-z0-9+.-]*://)[^\s/]*@")
# An unescaped / in the password ends what a URL parser calls the host; hide that too.
_STRAY_USERINFO = re.compile(r"(?P<scheme>\b[A-Za-z][A-Za-z0-9+.-]*://)[^\s/@:]*:[^\s]*@")
_SECRET_PARAMETER = re.compile(
    r"(?P<key>[?&;](?:[a-z]+_)?(?:pass|passwd|password|pwd|token|access_token|auth|api_?key|key|secret|user"
    r"|username|login|signature|sig)=)[^&;#\s\"'<>]*",
    re.IGNORECASE,
)


def redact(text: str) -> str:
    """The text with every user name, password and token in a URL replaced by `***`.

    Parameters of a query count as secret by their name (`password`, `token`, `key`, …).
    """
    for pattern in (_USERINFO, _STRAY_USERINFO):
        text = pattern.sub(r"\g<scheme>***@", text)
    return _SECRET_PARAMETER.sub(r"\g<key>***", text)


def split_credentials(url: str) -> tuple[str, Credentials | None]:
    """Separate what a user typed into a URL and its credentials.

    Returns:
        The URL without them, and (user, password), decoded, if it had any.

    Raises:
        ConfigError: The URL can't be read.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port  # a password with an unescaped / leaves half of it where the port stands
    except ValueError:
        raise ConfigError(
            f"{redact(url)}: expected SCHEME://HOST[:PORT]/PATH, found something else; "
            "write special characters of a password as %XX"
        ) from None
    userinfo, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, None
    user, _, password = userinfo.partition(":")
    clean = urlunsplit((parts.scheme, host, parts.path, parts.query, parts.fragment))
    return clean, (unquote(user), unquote(password))


def join_credentials(url: str, credentials: Credentials | None) -> str:
    """The URL with the credentials in it. For the connecting library only, never for a message."""
    if credentials is None:
        return url
    user, password = (quote(part, safe="") for part in credentials)
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{user}:{password}@{rest}"


def resolve_credentials(
    reference: str, *, environment: Mapping[str, str] = os.environ
) -> Credentials:
    """The credentials that `env:NAME` or `file:PATH` refers to: `USER:PASSWORD`, in one line.

    Args:
        reference: As kept in a `SourceSpec`.
        environment: Where `env:` looks.

    Raises:
        ConfigError: The reference leads nowhere, or to something else.
    """
    if not _REFERENCE.fullmatch(reference):
        raise ConfigError("credentials: expected env:NAME or file:PATH, found something else")
    found = resolve_secret(reference, of="credentials", environment=environment)
    user, colon, password = found.partition(":")
    if not colon:
        raise ConfigError(f"credentials: {reference}: expected USER:PASSWORD, found no colon")
    return user, password


def resolve_secret(text: str, *, of: str, environment: Mapping[str, str] = os.environ) -> str:
    """What `env:NAME` or `file:PATH` refers to, without blanks around it; else the text itself.

    Args:
        text: A reference, or a secret.
        of: What it is for, for messages.
        environment: Where `env:` looks.

    Raises:
        ConfigError: The reference leads nowhere.
    """
    kind, _, where = text.partition(":")
    if kind == "env" and where:
        found = environment.get(where)
        if found is None:
            raise ConfigError(f"{of}: the environment variable {where} is not set")
        return found.strip()
    if kind == "file" and where:
        try:
            return Path(where).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ConfigError(f"{of}: {where}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ConfigError(f"{of}: {where}: expected text, found something else") from None
    return text.strip()
