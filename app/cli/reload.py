"""`audio-gateway reload`: the running gateway reads its settings again."""

import typer

from app.adapters.server.reload import reload_gateway
from app.cli.exit_codes import MISUSED
from app.cli.messages import stop
from app.cli.settings import ConfigFile, exit_on_config_error, ledger_of, load_settings

RELOAD_SECONDS = 30.0


def reload(config: ConfigFile = None) -> None:
    """Make the running gateway read settings and key files again.

    Prints which settings changed. Settings that are not valid change nothing. Requests in flight keep the settings
    that they started with.

    Example: audio-gateway reload --config config.toml
    """
    ledger = ledger_of(load_settings(config))
    with exit_on_config_error():
        result = reload_gateway(ledger, RELOAD_SECONDS)
    if result is None:
        stop(f"the gateway has not reported a result for {RELOAD_SECONDS:g} s; see its log")
    if result.error is not None:
        stop(result.summary, MISUSED)
    typer.echo(result.summary)
