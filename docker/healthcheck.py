#!/usr/bin/python3 -IS
"""Ask the worker in this container whether it is ready. Exit code 0: it is.

Only the standard library: it is started every few seconds.
"""

from __future__ import annotations

import http.client
import os
import sys

TIMEOUT_SECONDS = 3.0


def main() -> str | None:
    """What is wrong, None if nothing is."""
    port = os.environ.get("STREAMER_METRICS__PORT", "9100")
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        said = answer.read().decode(errors="replace").strip()
    except (OSError, http.client.HTTPException) as error:
        return f"healthcheck: expected a worker at port {port} of this container, found {error!r}"
    return None if answer.status == http.HTTPStatus.OK else f"healthcheck: the worker says: {said}"


if __name__ == "__main__":
    sys.exit(main())
