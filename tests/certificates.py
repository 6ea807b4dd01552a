"""An authority, and certificates that it signs: made by OpenSSL for the tests that need them."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from pathlib import Path


class Certificate(NamedTuple):
    """Two PEM files."""

    certificate: str
    key: str


class Authority:
    """Signs certificates.

    Args:
        folder: Where all files are.
        name: Of the authority.
    """

    def __init__(self, folder: Path, *, name: str = "authority") -> None:
        self._folder = folder
        self._name = name
        self._openssl(
            "req", "-x509", *_NEW_KEY, "-days", 2, "-subj", f"/CN={name}", *self._to(name)
        )

    @property
    def certificate(self) -> str:
        """Its own."""
        return str(self._folder / f"{self._name}.crt")

    def sign(
        self, name: str, *, hosts: str = "DNS:localhost,IP:127.0.0.1", days: int = 2
    ) -> Certificate:
        """A certificate.

        Args:
            name: Of its files.
            hosts: For which it is good.
            days: How long; negative: it has expired.
        """
        crt, key = self._to(name)[3], self._to(name)[1]
        request = self._folder / f"{name}.csr"
        self._openssl("req", *_NEW_KEY, "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        extensions = self._folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName={hosts}\n")
        self._openssl(
            *("x509", "-req", "-in", request, "-days", days, "-extfile", extensions),
            *("-CA", self.certificate, "-CAkey", self._folder / f"{self._name}.key"),
            *("-CAcreateserial", "-out", crt),
        )
        return Certificate(str(crt), str(key))

    def _to(self, name: str) -> tuple[object, ...]:
        return "-keyout", self._folder / f"{name}.key", "-out", self._folder / f"{name}.crt"

    def _openssl(self, *arguments: object) -> None:
        program = shutil.which("openssl")
        if program is None:
            reason = "there is no openssl to make a certificate with"
            if os.environ.get("CI") == "true":
                pytest.fail(reason)
            pytest.skip(reason)
        subprocess.run([program, *map(str, arguments)], check=True, capture_output=True)


_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
