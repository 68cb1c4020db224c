"""What the demo gives to the engine and the gateway that it starts: environment, config and port. Starts nothing."""

from __future__ import annotations

import json
import os
import shlex
import socket
import sys
from pathlib import Path
from secrets import token_urlsafe

from app.demo import KEY_VARIABLE

# The catalogue without the models whose formats, such as speakers or log probabilities, the engine does not have.
_MODELS = """\
[[models]]
id = "whisper-1"
tasks = ["transcribe", "translate"]
price = { per_minute = "0.006" }
[[models]]
id = "gpt-4o-mini-transcribe"
tasks = ["transcribe"]
price = { input = "1.25", output = "5.00", per_minute = "0.003" }
"""


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
[logs]
format = "console"
[[upstreams]]
name = "embedded"
base_url = "{engine}"
api_key_env = "{KEY_VARIABLE}"
{_MODELS}"""


def free_port(preferred: int = 0) -> int:
    """The preferred port of 127.0.0.1 if it is free, else any free one."""
    try:
        with socket.create_server(("127.0.0.1", preferred)) as probe:
            port: int = probe.getsockname()[1]
    except OSError:
        return free_port()
    return port


def program() -> str:
    """The command of this gateway as any shell on this machine finds it, in whatever folder."""
    script = Path(sys.executable).with_name("audio-gateway")
    return shlex.quote(str(script)) if script.exists() else f"{shlex.quote(sys.executable)} -m app"
