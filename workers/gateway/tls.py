"""The certificate, checked before anything is served."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from streamer.core.errors import ConfigError

if TYPE_CHECKING:
    from streamer.core.config import GatewaySettings


def tls_context(settings: GatewaySettings) -> ssl.SSLContext | None:
    """TLS 1.2 and later with the certificate of the settings; None if they name none.

    Raises:
        ConfigError: A file is missing or not what it should be; its message names the file.
    """
    certificate, key = settings.tls_certificate, settings.tls_key
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        missing = "tls_certificate" if certificate is None else "tls_key"
        raise ConfigError(
            f"gateway.{missing}: expected a PEM file, found none; TLS needs a certificate and a key"
        )
    _check_pem("gateway.tls_certificate", certificate, expected="CERTIFICATE")
    _check_pem("gateway.tls_key", key, expected="PRIVATE KEY")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2

    def no_password() -> str:
        raise ConfigError(
            f"gateway.tls_key: {key}: expected a key without a password, found an encrypted one; "
            "decrypt it (`openssl pkey`) and make it readable to this user only"
        )

    try:
        context.load_cert_chain(certificate, key, password=no_password)
    except ssl.SSLError as error:
        raise ConfigError(
            f"gateway.tls_certificate: {certificate} and gateway.tls_key: {key}: expected a "
            f"certificate and its own key, found others ({error.reason or 'unreadable'})"
        ) from None
    return context


def _check_pem(name: str, path: str, *, expected: str) -> None:
    """OpenSSL's own errors name no file."""
    try:
        text = Path(path).read_text(encoding="ascii")
    except OSError as error:
        raise ConfigError(f"{name}: {path}: can't be read ({error.strerror})") from None
    except UnicodeDecodeError:
        text = ""
    if f"{expected}-----" not in text:
        raise ConfigError(f"{name}: {path}: expected PEM with a {expected}, found none")
