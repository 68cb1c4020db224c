"""`audio-gateway doctor`: what is wrong around the gateway, and what to do about it."""

import asyncio
import os
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr

from app import demo
from app.adapters import doctor as examination
from app.adapters.doctor import Clip, Finding
from app.cli import tables
from app.cli.exit_codes import FAILED, MISUSED, coloured, note, say, stop
from app.cli.settings import ConfigFile, ledger_of, usable
from app.cli.tables import Format
from app.config import Config, InvalidConfig, Model


def doctor(
    transcribe: Annotated[
        bool, typer.Option("--transcribe", help="Also send a clip of some seconds to the provider, which bills it.")
    ] = False,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="The model for --transcribe. Default: the first that can.")
    ] = None,
    format: Annotated[Format, typer.Option(help="How to print it.")] = Format.TABLE,
    config: ConfigFile = None,
) -> None:
    """Look for faults in and around the gateway; nothing is billed.

    Looks at settings, key, ledger, disk, and the provider's name, TLS and clock; for each prints ok, or what to do.
    With --transcribe it also sends a clip with the real key. Where that fails, it tries other paths, auth schemes,
    framings and models, and names what is at fault.

    Example: audio-gateway doctor --transcribe
    """
    try:
        settings = usable(config)
        key = settings.upstream.api_key(os.environ)
    except InvalidConfig as error:
        _print([Finding("settings", str(error), "fix what this line names")], format)
        raise typer.Exit(MISUSED) from None
    asked = _model(settings, model) if transcribe else None
    findings = asyncio.run(_collected(_examined(settings, key, config, asked), format))
    if format is not Format.TABLE:
        _print(findings, format)
    if not all(finding.good for finding in findings):
        raise typer.Exit(FAILED)


async def _examined(settings: Config, key: SecretStr, file: Path | None, asked: Model | None) -> AsyncIterator[Finding]:
    """Everything that is looked at, one after the other."""
    upstream, server = settings.upstream, settings.server
    yield Finding("settings", f"{file or 'the defaults'}: good, with a key for {upstream.name}")
    yield await asyncio.to_thread(examination.ledger, ledger_of(settings))
    yield examination.disk_space(settings.ledger.path.parent, server.spool_total_bytes)
    for look in (examination.name, examination.tls, examination.clock):
        yield await look(upstream)
    if asked is not None:
        clip = Clip.read(demo.SAMPLE)
        note(f"sending {clip.seconds:.1f} s of audio to {upstream.name}, which bills them")
        ask = partial(examination.send_probe, upstream, key, settings.timeouts, clip)
        yield await examination.diagnose(examination.probes(upstream, asked, settings.models), ask)


async def _collected(findings: AsyncIterator[Finding], format: Format) -> list[Finding]:
    """All of them; those who read along get each as soon as it is there."""
    found = []
    async for finding in findings:
        found.append(finding)
        if format is Format.TABLE:
            _print([finding], format)
    return found


def _print(findings: list[Finding], format: Format) -> None:
    if format is not Format.TABLE:
        rows: list[tables.Row] = [
            {"check": each.check, "ok": each.good, "told": each.told, "advice": each.advice} for each in findings
        ]
        typer.echo(tables.rendered(rows, format), nl=False)
        return
    for each in findings:
        mark = coloured("ok  ", fg="green") if each.good else coloured("FAIL", fg="red", bold=True)
        say(f"{mark}  {each.check:<10}  {each.told}", indent=18)
        if each.advice is not None:
            say(f"{'':18}-> {each.advice}", indent=21)


def _model(settings: Config, named: str | None) -> Model:
    able = [each for each in settings.models if "transcribe" in each.tasks and named in (None, each.id)]
    if not able:
        stop(f"no model {named} that transcribes is in the catalogue" if named else "no model transcribes", MISUSED)
    return able[0]
