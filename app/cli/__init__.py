"""The command `audio-gateway`. Every subcommand takes `--config FILE` and works beside a running gateway.

How each ends is told by `app.cli.ending.STATUSES`.
"""

import gc
from collections.abc import Iterator, Mapping
from pkgutil import resolve_name
from typing import Any

import typer

from app.cli.ending import STATUSES
from app.cli.output import Writing

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
    """The commands by their names. Each is imported when it is looked up: only `serve` needs a web framework."""

    def __getitem__(self, name: str) -> Any:
        found, holder = _imported(_COMMANDS[name]), typer.Typer(pretty_exceptions_enable=False)
        if isinstance(found, typer.Typer):
            holder.add_typer(found, name=name)
        else:
            holder.command(name)(found)
        return typer.main.get_group(holder).commands[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_COMMANDS)

    def __len__(self) -> int:
        return len(_COMMANDS)


def _imported(name: str) -> Any:
    """With no search for garbage amid it: all that an import makes stays, and the searches are a fifth of a start."""
    gc.disable()
    try:
        return resolve_name(name)
    finally:
        gc.enable()


class _Group(Writing):
    def __init__(self, **attributes: Any) -> None:
        super().__init__(**{**attributes, "commands": _Commands()})


app = typer.Typer(
    name="audio-gateway",
    cls=_Group,
    help="A gateway in front of a speech-to-text provider: one provider key, many callers, every second accounted for.",
    epilog="Exit status: " + "; ".join(f"{status} {meaning}" for status, meaning in STATUSES.items()) + ".",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def _root() -> None:
    """Without a command of its own, nothing but this tells typer that it is a group."""
