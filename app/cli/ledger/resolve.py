"""`audio-gateway ledger resolve`: closing a row with what the provider really did."""

from decimal import Decimal, InvalidOperation
from typing import Annotated

import typer

from app.adapters.ledger.resolving import UnknownRow, resolve, unknown_rows
from app.cli.ending import MISUSED, stop
from app.cli.settings import ConfigFile, actor, database_of, explained, loaded, name_ledger
from app.clock import now_ms
from app.config import Config
from app.gateway.administration import AuditEntry
from app.policy.budget import Amounts
from app.units import NanoUSD, seconds_of, to_ms, to_nano, usd_text

MAX_DOLLARS = 1_000_000
MAX_SECONDS = 366 * 86_400


def resolve_row(
    id: Annotated[str, typer.Argument(metavar="ID", help="The request's id.")],
    release: Annotated[bool, typer.Option("--release", help="The provider did not bill it.")] = False,
    seconds: Annotated[
        float | None,
        typer.Option(min=0, max=MAX_SECONDS, metavar="N", help="It billed so much audio, at the model's price."),
    ] = None,
    cost: Annotated[str | None, typer.Option(metavar="USD", help="It billed so many US dollars.")] = None,
    config: ConfigFile = None,
) -> None:
    """Close an unknown row with what the provider billed.

    A running gateway takes it in within a second.

    Example: audio-gateway ledger resolve req_01m81pewaaa0y7kqxrajn50w4w --seconds 31.5
    """
    if [release, seconds is not None, cost is not None].count(True) != 1:
        stop("name one of --release, --seconds and --cost", MISUSED)
    settings = loaded(config)
    with explained(), database_of(settings).session() as connection:
        row = next((each for each in unknown_rows(connection) if each.id == id), None)
        if row is None:
            stop(f"there is no unknown row {id}")
        charge = None if release else _charge(settings, row, seconds, cost)
        if not resolve(connection, row, charge, _entry(row, charge)):
            stop(f"the row {id} has just been resolved by somebody else")
    name_ledger(settings)
    typer.echo(f"{id}: {'released' if charge is None else f'settled at {usd_text(charge.cost)} USD'}")


def _charge(settings: Config, row: UnknownRow, seconds: float | None, cost: str | None) -> Amounts:
    if cost is not None:
        return Amounts(_nano_usd(cost), row.charge.audio, row.charge.tokens)
    price = next((model.price for model in settings.models if model.id == row.model), None)
    if price is None:
        stop(f"the model {row.model} is no longer in the catalogue; name its --cost")
    audio = to_ms(seconds or 0)
    return Amounts(price.of_audio(audio), audio, price.most_tokens(audio))


def _nano_usd(cost: str) -> NanoUSD:
    try:
        dollars = Decimal(cost)
    except InvalidOperation:
        dollars = Decimal("NaN")
    if not (dollars.is_finite() and 0 <= dollars <= MAX_DOLLARS):
        stop(f"{cost!r} is no number of dollars between 0 and {MAX_DOLLARS}", MISUSED)
    return to_nano(dollars)


def _entry(row: UnknownRow, charge: Amounts | None) -> AuditEntry:
    before = {"state": "unknown", "cost_usd": usd_text(row.charge.cost), "audio_seconds": seconds_of(row.charge.audio)}
    after: dict[str, object] = {"state": "released"}
    if charge is not None:
        after = {"state": "settled", "cost_usd": usd_text(charge.cost), "audio_seconds": seconds_of(charge.audio)}
    return AuditEntry(now_ms(), actor(), "resolve", row.id, before, after)
