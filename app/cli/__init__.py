"""The command `audio-gateway`. Every subcommand takes `--config FILE` and works beside a running gateway.

`app.cli.exit_codes.STATUSES` has the exit statuses.
"""

import gc
from collections.abc import Iterator, Mapping
from pkgutil import resolve_name
from typing import Annotated, Any

import typer

from app import __version__
from app.cli.error_reporting import ErrorReportingGroup
from app.cli.exit_codes import STATUSES

_COMMANDS = {
    "serve": "app.cli.serve:serve",
    "reload": "app.cli.reload:reload",
    "check": "app.cli.check:check",
    "doctor": "app.cli.doctor:doctor",
    "demo": "app.cli.demo:demo",
    "audit": "app.cli.audit:audit",
    "keys": "app.cli.keys:app",
    "usage": "app.cli.usage:app",
    "ledger": "app.cli.ledger:app",
}


class _Commands(Mapping[str, Any]):
    """The commands by name. A lookup imports the command's module: only `serve` needs the web framework."""

    def __getitem__(self, name: str) -> Any:
        command, holder = _import(_COMMANDS[name]), typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None)
        if isinstance(command, typer.Typer):
            holder.add_typer(command, name=name)
        else:
            holder.command(name)(command)
        return typer.main.get_group(holder).commands[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_COMMANDS)

    def __len__(self) -> int:
        return len(_COMMANDS)


def _import(name: str) -> Any:
    """Imports without garbage collection, which takes a fifth of the start and finds nothing to free."""
    gc.disable()
    try:
        return resolve_name(name)
    finally:
        gc.enable()


class _Root(ErrorReportingGroup):
    def __init__(self, **attributes: Any) -> None:
        super().__init__(**{**attributes, "commands": _Commands()})


app = typer.Typer(
    name="audio-gateway",
    cls=_Root,
    help="A gateway in front of a speech-to-text provider: one provider key, many callers, every second accounted for.",
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
    epilog="Exit status: " + "; ".join(f"{status} {meaning}" for status, meaning in STATUSES.items()) + ".",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"audio-gateway {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Makes typer treat the application as a group although it registers no command itself."""
