"""What the demo gives to the engine and the gateway that it starts: environment, config and port. Starts nothing."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from secrets import token_urlsafe

from app.offline import KEY_VARIABLE


def environment() -> dict[str, str]:
    """This process's, less the settings of a gateway that the user may run, plus a new key between the two."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AUDIO_GATEWAY_", "ONEROUTER_"))}
    # The children run in the temporary folder, and have to find this very package from there.
    path = [str(Path(__file__).parents[2]), *filter(None, [kept.get("PYTHONPATH")])]
    return kept | {"PYTHONPATH": os.pathsep.join(path), KEY_VARIABLE: token_urlsafe(24)}


def config(port: int, ledger: Path, engine: str) -> str:
    """The gateway's TOML: it listens on `port` of 127.0.0.1, with the engine's base URL as its upstream."""
    # JSON's strings are TOML's too.
    return f"""\
[server]
port = {port}
[ledger]
path = {json.dumps(str(ledger), ensure_ascii=False)}
[[upstreams]]
name = "embedded"
base_url = "{engine}"
api_key_env = "{KEY_VARIABLE}"
"""


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
