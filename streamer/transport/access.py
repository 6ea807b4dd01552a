"""With what one comes to a server: a user, its password, and the files that TLS needs."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import redis
from redis.credentials import CredentialProvider

from streamer.core.errors import ConfigError

if TYPE_CHECKING:
    from streamer.core.config import RedisSettings

_TLS = ("rediss://", "rediss+cluster://", "rediss+sentinel://")


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisAccess:
    """Files are read again at every connection, so that they can be replaced while workers run.

    Attributes:
        username: None: the one in the URL, or the default user.
        password_file: Its first line is the password.
        tls_ca: PEM file with the authorities that are trusted besides the system's.
        tls_certificate: PEM file with our certificate, where the server wants one.
        tls_key: PEM file with its private key.
    """

    username: str | None = None
    password_file: str | None = None
    tls_ca: str | None = None
    tls_certificate: str | None = None
    tls_key: str | None = None

    @classmethod
    def of(cls, settings: RedisSettings) -> Self:
        """As the settings say."""
        return cls(
            username=settings.username,
            password_file=settings.password_file,
            tls_ca=settings.tls_ca,
            tls_certificate=settings.tls_certificate,
            tls_key=settings.tls_key,
        )

    def options(self, url: str) -> dict[str, Any]:
        """For redis-py's connections.

        Args:
            url: Of the server.

        Raises:
            ConfigError: A file can't be used, or does not go with the others or with the URL.
        """
        options: dict[str, Any] = {}
        if self.username is not None and self.password_file is None:
            raise ConfigError("redis.username: expected redis.password_file with it, found none")
        if self.password_file is not None:
            if "@" in url.partition("://")[2].partition("/")[0]:
                raise ConfigError(
                    "redis.password_file: expected a URL without user and password, found one "
                    "with them; take them out of redis.url, or leave redis.password_file out"
                )
            password = PasswordFile(self.password_file, username=self.username)
            read_password(self.password_file)
            options["credential_provider"] = password
        return options | self._tls_options(url)

    def _tls_options(self, url: str) -> dict[str, Any]:
        names = ("tls_ca", "tls_certificate", "tls_key")
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        if not given:
            return {}
        first = f"redis.{next(iter(given))}"
        if not url.startswith(_TLS):
            scheme = url.partition("://")[0]
            raise ConfigError(f"{first}: expected redis.url with rediss://, found {scheme}://")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ConfigError(
                f"{first}: expected redis.tls_certificate and redis.tls_key together, found one"
            )
        self._check_files()
        return {
            "ssl_ca_certs": self.tls_ca,
            "ssl_certfile": self.tls_certificate,
            "ssl_keyfile": self.tls_key,
        }

    def _check_files(self) -> None:
        context = ssl.create_default_context()
        if self.tls_ca is not None:
            _check_readable(self.tls_ca, of="redis.tls_ca")
            try:
                context.load_verify_locations(self.tls_ca)
            except ssl.SSLError as error:
                raise ConfigError(
                    f"redis.tls_ca: {self.tls_ca}: expected certificates in PEM, found none "
                    f"({error.reason or error})"
                ) from error
        if self.tls_certificate is not None and self.tls_key is not None:
            _check_readable(self.tls_certificate, of="redis.tls_certificate")
            _check_readable(self.tls_key, of="redis.tls_key")
            try:
                # Without an answer OpenSSL would ask the terminal for the key's password.
                context.load_cert_chain(self.tls_certificate, self.tls_key, password="")
            except ssl.SSLError as error:
                raise ConfigError(
                    f"redis.tls_certificate, redis.tls_key: {self.tls_certificate}, "
                    f"{self.tls_key}: expected a certificate and its key, unencrypted, in PEM "
                    f"({error.reason or error})"
                ) from error


ANYBODY = RedisAccess()
"""Whoever the URL says."""


class PasswordFile(CredentialProvider):
    """Reads the password whenever a connection is made.

    Args:
        path: The file.
        username: Whose; None: the default user's.
    """

    def __init__(self, path: str, *, username: str | None) -> None:
        self.path = path
        self.username = username

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """User and password, or the password alone.

        Raises:
            redis.AuthenticationError: The file can't be read. redis-py then drops the connection.
        """
        try:
            password = read_password(self.path)
        except ConfigError as error:
            raise redis.AuthenticationError(str(error)) from error
        return (password,) if self.username is None else (self.username, password)

    def __repr__(self) -> str:
        return f"PasswordFile({self.path!r})"


def read_password(path: str) -> str:
    """The first line of a file.

    Raises:
        ConfigError: There is none.
    """
    _check_readable(path, of="redis.password_file")
    try:
        lines = Path(path).read_text().splitlines()
    except UnicodeDecodeError:
        raise ConfigError(f"redis.password_file: {path}: expected text, found bytes") from None
    if not lines or not lines[0].strip():
        raise ConfigError(f"redis.password_file: {path}: expected a password, found an empty line")
    return lines[0].strip()


def _check_readable(path: str, *, of: str) -> None:
    try:
        with Path(path).open("rb"):
            pass
    except OSError as error:
        raise ConfigError(
            f"{of}: {path}: expected a file that this user can read, found none ({error.strerror})"
        ) from error
