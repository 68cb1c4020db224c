"""`python -m app.healthcheck`: exits with status 0 if the gateway of these settings responds on this machine, else 1.

A container runs it every few seconds. So it reads only the address from the settings and imports no other module of the
gateway. It does not validate the settings: the process that serves has done so.
"""

import os
import ssl
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any

_PATH = "/healthz"
_SECONDS = 2
# The loopback address of a server that listens on every address.
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int
    tls: bool


def address(environ: Mapping[str, str]) -> Address:
    """Returns where the gateway listens, from the environment, the settings file that it names, or the defaults."""
    file = environ.get("AUDIO_GATEWAY_CONFIG")
    settings = tomllib.loads(Path(file).read_text("utf-8-sig")) if file else {}

    def setting(section: str, key: str, default: object) -> Any:
        variable = f"AUDIO_GATEWAY_{section}__{key}".upper()
        return environ.get(variable, settings.get(section, {}).get(key, default))

    host = str(setting("server", "host", "127.0.0.1"))
    port = int(setting("server", "port", 8080))
    return Address(_LOOPBACK.get(host, host), port, bool(setting("tls", "certificate_file", None)))


def healthy(target: Address) -> bool:
    """Returns whether the response is 200. http.client ignores proxies in the environment."""
    connection = _connection(target)
    try:
        connection.request("GET", _PATH)
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _connection(target: Address) -> HTTPConnection:
    if not target.tls:
        return HTTPConnection(target.host, target.port, timeout=_SECONDS)
    context = ssl.create_default_context()
    # The certificate has the name that callers use, and this connection never leaves the machine.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return HTTPSConnection(target.host, target.port, timeout=_SECONDS, context=context)


if __name__ == "__main__":
    sys.exit(not healthy(address(os.environ)))
