"""`audio-gateway keys`: callers and their keys, on the ledger, beside a running gateway."""

import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated

import typer

from app.adapters.ledger import Keys
from app.adapters.ledger.keys import CallerExists, KeyRow
from app.cli import tables
from app.cli.settings import MISUSED, ConfigFile, database_of, explained, loaded, stop
from app.cli.tables import Format
from app.config import Config
from app.gateway.auth import Key
from app.wire import apikey, identifier

app = typer.Typer(help="Callers and their keys.", no_args_is_help=True)

_UNITS_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 7 * 86_400_000}


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="The caller's name, such as search-team.")],
    model: Annotated[
        list[str] | None, typer.Option(help="A model that the caller may use; all, if none is named.")
    ] = None,
    expires: Annotated[str | None, typer.Option(help="When the key ends: 90d, 12h, 4w.")] = None,
    config: ConfigFile = None,
) -> None:
    """Create a caller and print its key, once; it works on a running gateway from now on.

    Example: audio-gateway keys create search-team --model whisper-1 --expires 90d
    """
    settings = loaded(config)
    _check_name(name, settings)
    _check_models(model or [], settings)
    now = time.time_ns() // 1_000_000
    secret = apikey.mint(secrets.token_bytes(apikey.RANDOM_BYTES))
    key = Key(
        id=identifier.time_ordered("key_", now, secrets.token_bytes(identifier.RANDOM_BYTES)),
        caller=name,
        sha256=apikey.digest(secret),
        models=frozenset(model) if model else None,
        expires_ms=now + _duration_ms(expires) if expires else None,
    )
    with _keys(settings) as keys:
        try:
            keys.create(key, apikey.last4(secret), now)
        except CallerExists:
            stop(f"there is a caller named {name} already")
    typer.echo(f"The key of {name}. It is shown this once; only its SHA-256 is kept.", err=True)
    typer.echo(secret)


@app.command("list")
def list_keys(
    format: Annotated[Format, typer.Option(help="How to print it.")] = Format.TABLE, config: ConfigFile = None
) -> None:
    """List callers and their keys, by the keys' last four characters."""
    settings = loaded(config)
    with _keys(settings) as keys:
        rows = [_shown(row) for row in keys.list()]
    rows += [
        {
            "caller": each.name,
            "key": "in the settings",
            "models": _models(each.models),
            "created": "",
            "expires": "",
            "state": "good",
        }
        for each in settings.callers
    ]
    typer.echo(tables.rendered(rows, format), nl=False)


@app.command()
def revoke(
    name: Annotated[str, typer.Argument(help="A caller's name, for all its keys, or one key's id.")],
    config: ConfigFile = None,
) -> None:
    """Revoke keys; a running gateway refuses them from the next request on."""
    settings = loaded(config)
    with _keys(settings) as keys:
        revoked = keys.revoke(name, time.time_ns() // 1_000_000)
    if not revoked:
        stop(f"there is no good key of {name}")
    typer.echo(f"{revoked} key{'s' if revoked > 1 else ''} revoked")


@contextmanager
def _keys(settings: Config) -> Iterator[Keys]:
    with explained():
        keys = Keys(database_of(settings))
        try:
            yield keys
        finally:
            keys.close()


def _shown(row: KeyRow) -> dict[str, object]:
    return {
        "caller": row.caller,
        "key": f"{row.id} (...{row.last4})",
        "models": _models(row.models),
        "created": _moment(row.created_ms),
        "expires": _moment(row.expires_ms),
        "state": _state(row),
    }


def _state(row: KeyRow) -> str:
    if row.revoked_ms is not None:
        return "revoked"
    return "expired" if row.expires_ms is not None and row.expires_ms <= time.time() * 1000 else "good"


def _models(models: tuple[str, ...] | None) -> str:
    return "all" if models is None else ", ".join(models)


def _moment(milliseconds: int | None) -> str:
    return "" if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def _duration_ms(text: str) -> int:
    match = re.fullmatch(r"([1-9]\d{0,5})([mhdw])", text)
    if match is None:
        stop(f"{text!r} is not a time such as 90d, 12h or 4w", MISUSED)
    return int(match[1]) * _UNITS_MS[match[2]]


def _check_name(name: str, settings: Config) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        stop("a caller's name has letters, digits, '.', '_' and '-', 64 at the most", MISUSED)
    if any(caller.name == name for caller in settings.callers):
        stop(f"a caller named {name} stands in the settings")


def _check_models(models: list[str], settings: Config) -> None:
    known = [model.id for model in settings.models]
    for model in models:
        if model not in known:
            stop(f"the model {model!r} is not in the catalogue: {', '.join(known)}", MISUSED)
