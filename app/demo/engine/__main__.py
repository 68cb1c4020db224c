"""`python -m app.demo.engine --port N [--host 127.0.0.1] [--api-key KEY]` runs the engine.

Port 0 takes a free port. When the engine is ready, it prints one line to stdout:
`{"listening": "http://127.0.0.1:PORT/v1"}`. Without `--api-key`, the key comes from the environment variable
EMBEDDED_ENGINE_KEY, which other users of the machine cannot read. With neither, the engine requires no key.
"""

from __future__ import annotations

import argparse
import json
import os
import socket

import uvicorn

from app.demo import KEY_VARIABLE
from app.demo.engine.server import create_engine

GRACE_SECONDS = 3


class _AnnouncingServer(uvicorn.Server):
    """Prints the addresses that it listens on, once it does."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listening in sockets or []:
            host, port = listening.getsockname()[:2]
            print(json.dumps({"listening": f"http://{host}:{port}/v1"}), flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m app.demo.engine", description="Runs the embedded speech engine.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True, help="0 takes a free port")
    parser.add_argument("--api-key", default=os.environ.get(KEY_VARIABLE), help=f"default: ${KEY_VARIABLE}, or none")
    return parser.parse_args()


def main() -> None:
    arguments = _arguments()
    config = uvicorn.Config(
        create_engine(arguments.api_key or None),
        host=arguments.host,
        port=arguments.port,
        log_level="warning",
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    _AnnouncingServer(config).run(sockets=[config.bind_socket()])


if __name__ == "__main__":
    main()
