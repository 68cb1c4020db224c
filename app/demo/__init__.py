"""The demo: the gateway in front of an embedded speech engine, with no provider key and no network.

    demo         runs the demo: starts engine and gateway, shows them at work, stops them
    processes    the child processes and the temporary folder with config file and ledger
    environment  the config file, environment variables and port for both
    caller       sends the clip to the gateway and prints the response
    engine       the speech engine, an OpenAI-compatible upstream: `python -m app.demo.engine`

It needs the extra `offline` and imports nothing of the gateway.
"""

from pathlib import Path

# The demo's clip: some seconds of synthetic English speech.
SAMPLE = Path(__file__).with_name("sample.m4a")

# The environment variable that holds the engine's API key, for the engine and for the gateway.
KEY_VARIABLE = "EMBEDDED_ENGINE_KEY"
