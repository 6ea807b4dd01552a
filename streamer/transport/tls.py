"""What a failed TLS handshake means, and which setting mends it."""

from __future__ import annotations

import ssl

_EXPIRED = 10
_HOST_MISMATCH = (62, 64)
"""Of a host name, of an address. Reference: OpenSSL's x509_vfy.h, `X509_V_ERR_…`."""


def tls_reason(error: BaseException) -> str:
    """In words; empty if no TLS was in the way.

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
    if "WRONG_VERSION_NUMBER" in reason or "RECORD_LAYER_FAILURE" in reason or "EOF" in reason:
        return (
            "expected TLS, found a server that does not speak it on this port; use redis:// in "
            "redis.url, or the server's tls-port"
        )
    return f"TLS failed ({reason})"


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
