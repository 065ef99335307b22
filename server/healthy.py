"""Asks the server of this machine whether it answers: the health check of a container, `python -m server.healthy`.

Standard library alone. Exits 0 if it does, 1 with a sentence if not.
"""

from __future__ import annotations

import http.client
import os
import sys

TIMEOUT_S = 4.0


def main() -> int:
    """Asks once."""
    port = int(os.environ.get("GRADWATCH_PORT") or 8777)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/api/v1/health")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        sys.stderr.write(f"No answer from 127.0.0.1:{port}: {error}\n")
        return 1
    finally:
        connection.close()
    if status != 200:
        sys.stderr.write(f"127.0.0.1:{port} answers {status}\n")
    return 0 if status == 200 else 1


if __name__ == "__main__":
    sys.exit(main())
