"""The environment variables, config file and port of the demo's engine and gateway. Starts nothing."""

from __future__ import annotations

import json
import os
import shlex
import socket
import sys
from pathlib import Path
from secrets import token_urlsafe

from app.demo import KEY_VARIABLE

# Prefixes of the gateway's environment variables.
_SETTINGS = ("AUDIO_GATEWAY_", "ONEROUTER_")

# The default models, without those whose output (speakers, log probabilities) the engine does not support.
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
    """This process's variables without the settings of any other gateway, plus a new key for the engine."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(_SETTINGS)}
    # The child processes run in the temporary folder and must find this package from there.
    path = [str(Path(__file__).parents[2]), *filter(None, [variables.get("PYTHONPATH")])]
    return variables | {"PYTHONPATH": os.pathsep.join(path), KEY_VARIABLE: token_urlsafe(24)}


def config(port: int, ledger: Path, engine_url: str) -> str:
    """The gateway's TOML: it listens on `port` of 127.0.0.1 and has the engine as its upstream."""
    # A JSON string is a valid TOML string.
    return f"""\
[server]
port = {port}
[ledger]
path = {json.dumps(str(ledger), ensure_ascii=False)}
[logs]
format = "console"
[[upstreams]]
name = "embedded"
base_url = "{engine_url}"
api_key_env = "{KEY_VARIABLE}"
{_MODELS}"""


def free_port(preferred: int = 0) -> int:
    """`preferred` if that port of 127.0.0.1 is free, else any free port."""
    try:
        with socket.create_server(("127.0.0.1", preferred)) as probe:
            port: int = probe.getsockname()[1]
    except OSError:
        return free_port()
    return port


def gateway_command() -> str:
    """The shell command that runs this gateway from any folder."""
    script = Path(sys.executable).with_name("audio-gateway")
    return shlex.quote(str(script)) if script.exists() else f"{shlex.quote(sys.executable)} -m app"
