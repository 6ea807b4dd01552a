"""What a failed TLS handshake means, and which setting mends it."""

from __future__ import annotations

import ssl

_OTHER_PORT = "use redis:// in redis.url, or the server's tls-port"

_EXPIRED = 10
_HOST_MISMATCH = (62, 64)
"""Of a host name, of an address. Reference: OpenSSL's x509_vfy.h, `X509_V_ERR_…`."""


def tls_reason(error: BaseException) -> str:
    """In words; empty if TLS was not in the way, or may not be the next time.

    Args:
        error: As redis-py raised it, whose cause is what OpenSSL said.
    """
    seen = 0
    found: BaseException | None = error
    while found is not None and not isinstance(found, ssl.SSLError) and seen < 8:
        found, seen = found.__cause__ or found.__context__, seen + 1
    if isinstance(found, ssl.SSLCertVerificationError):
        return _of_certificate(found)
    if not isinstance(found, ssl.SSLError):
        return ""
    reason = found.reason or str(found)
    if "CERTIFICATE_REQUIRED" in reason or "HANDSHAKE_FAILURE" in reason:
        return "the server wants a certificate of ours; set redis.tls_certificate and redis.tls_key"
    if "UNKNOWN_CA" in reason or "BAD_CERTIFICATE" in reason:
        return (
            "the server does not accept our certificate; set redis.tls_certificate to one that its "
            "authority signed"
        )
    if "WRONG_VERSION_NUMBER" in reason or "RECORD_LAYER_FAILURE" in reason:
        return f"expected TLS, found a server that does not speak it; {_OTHER_PORT}"
    if "EOF" in reason:
        return ""  # whoever hangs up, or is killed, in the middle of it
    return f"TLS failed ({reason})"


def scheme_hint(url: str, message: str) -> str:
    """What else may be the matter with a first connection that failed; empty if nothing.

    A server without TLS waits for the rest of what it takes for a command, and one with TLS hangs
    up on who speaks none.

    Args:
        url: Of the server.
        message: How it failed.
    """
    secure = url.startswith("rediss")
    if secure and "EOF" in message:
        return (
            "; the server ended the TLS handshake: it may want a certificate of ours that an "
            "authority of its tls-ca-cert-file signed (redis.tls_certificate and redis.tls_key)"
        )
    if secure and "Timeout" in message:
        return f"; if the server speaks no TLS on this port: {_OTHER_PORT}"
    if not secure and ("reset by peer" in message or "closed by server" in message):
        return "; if the server speaks TLS on this port: use rediss:// in redis.url"
    return ""


def _of_certificate(error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code == _EXPIRED:
        return "the server's certificate has expired; renew it (tls-cert-file of the server)"
    if error.verify_code in _HOST_MISMATCH:
        return (
            f"the server's certificate is for another host ({error.verify_message}); use its name "
            "in redis.url, or give the server a certificate for this one"
        )
    return (
        f"the server's certificate is not to be trusted ({error.verify_message}); set redis.tls_ca "
        "to the file of the authority that signed it"
    )
