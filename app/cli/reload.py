"""`audio-gateway reload`."""

import typer

from app.adapters.server.reload import reload_gateway
from app.cli.exit_codes import MISUSED, stop
from app.cli.settings import ConfigFile, explained, ledger_of, loaded

RELOAD_SECONDS = 30.0


def reload(config: ConfigFile = None) -> None:
    """Have the running gateway read settings and key files again.

    Prints what has changed. Wrong settings change nothing. Requests in flight end under the settings that they began
    with.

    Example: audio-gateway reload --config config.toml
    """
    ledger = ledger_of(loaded(config))
    with explained():
        result = reload_gateway(ledger, RELOAD_SECONDS)
    if result is None:
        stop(f"the gateway has told nothing for {RELOAD_SECONDS:g} s; its log may")
    if result.error is not None:
        stop(result.summary, MISUSED)
    typer.echo(result.summary)
