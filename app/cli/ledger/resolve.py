"""`audio-gateway ledger resolve`: closes a request with what the provider billed."""

from typing import Annotated

import typer

from app.cli.exit_codes import MISUSED
from app.cli.messages import stop
from app.cli.settings import (
    ConfigFile,
    actor,
    exit_on_administration_error,
    exit_on_config_error,
    ledger_of,
    load_settings,
    print_ledger_path,
)
from app.services.reconciliation import MAX_SECONDS, ProviderBill, Reconciliation
from app.units import usd_text


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
    """Close an unknown request with what the provider billed.

    A running gateway updates its budgets within a second.

    Example: audio-gateway ledger resolve req_01m81pewaaa0y7kqxrajn50w4w --seconds 31.5
    """
    bill = ProviderBill(release, seconds, cost)
    if not bill.complete:
        stop("name one of --release, --seconds and --cost", MISUSED)
    settings = load_settings(config)
    with exit_on_config_error(), ledger_of(settings).session() as session, exit_on_administration_error():
        resolved = Reconciliation.from_config(settings, session.unknown_requests, actor()).resolve(id, bill)
    print_ledger_path(settings)
    cost = f" at {usd_text(resolved.charge.cost)} USD" if resolved.state == "settled" else ""
    typer.echo(f"{id}: {resolved.state}{cost}")
