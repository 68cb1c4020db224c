"""`audio-gateway doctor`: checks the gateway's surroundings and says what to do about each fault."""

import asyncio
import os
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr

from app import demo
from app.adapters import doctor as checks
from app.adapters.doctor import Clip, Finding
from app.cli import tables
from app.cli.exit_codes import FAILED, MISUSED
from app.cli.messages import coloured, note, say, stop
from app.cli.settings import ConfigFile, ledger_of, load_checked_settings
from app.cli.tables import Format
from app.config import Config, InvalidConfig, Model


def doctor(
    transcribe: Annotated[
        bool, typer.Option("--transcribe", help="Also send a short clip to the provider, which bills it.")
    ] = False,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="The model for --transcribe. Default: the first one.")
    ] = None,
    format: Annotated[Format, typer.Option(help="The output format.")] = Format.TABLE,
    config: ConfigFile = None,
) -> None:
    """Check the gateway and its surroundings; nothing is billed.

    Checks settings, key, ledger, disk, and the provider's name, TLS and clock; prints ok or advice for each of them.
    With --transcribe it also sends a clip with the real key. If that fails, it tries other paths, auth schemes,
    framings and models, and names the setting to change.

    Example: audio-gateway doctor --transcribe
    """
    try:
        settings = load_checked_settings(config)
        key = settings.upstream.api_key(os.environ)
    except InvalidConfig as error:
        _print([Finding("settings", str(error), "fix what this line names")], format)
        raise typer.Exit(MISUSED) from None
    probe_model = _model(settings, model) if transcribe else None
    findings = asyncio.run(_collect(_check(settings, key, config, probe_model), format))
    if format is not Format.TABLE:
        _print(findings, format)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(FAILED)


async def _check(
    settings: Config, key: SecretStr, file: Path | None, probe_model: Model | None
) -> AsyncIterator[Finding]:
    """Runs the checks one after the other. `probe_model` is None without --transcribe."""
    upstream, server = settings.upstream, settings.server
    yield Finding("settings", f"{file or 'the defaults'}: good, with a key for {upstream.name}")
    yield await asyncio.to_thread(checks.ledger, ledger_of(settings))
    yield checks.disk_space(settings.ledger.path.parent, server.spool_total_bytes)
    for check in (checks.name, checks.tls, checks.clock):
        yield await check(upstream)
    if probe_model is not None:
        clip = Clip.read(demo.SAMPLE)
        note(f"sending {clip.seconds:.1f} s of audio to {upstream.name}, which bills them")
        send = partial(checks.send_probe, upstream, key, settings.timeouts, clip)
        yield await checks.diagnose(checks.probes(upstream, probe_model, settings.models), send)


async def _collect(findings: AsyncIterator[Finding], format: Format) -> list[Finding]:
    """Returns all findings. As a table it prints each one as soon as its check ends."""
    collected = []
    async for finding in findings:
        collected.append(finding)
        if format is Format.TABLE:
            _print([finding], format)
    return collected


def _print(findings: list[Finding], format: Format) -> None:
    if format is not Format.TABLE:
        rows: list[tables.Row] = [
            {"check": finding.check, "ok": finding.ok, "told": finding.message, "advice": finding.advice}
            for finding in findings
        ]
        typer.echo(tables.render(rows, format), nl=False)
        return
    for finding in findings:
        mark = coloured("ok  ", fg="green") if finding.ok else coloured("FAIL", fg="red", bold=True)
        say(f"{mark}  {finding.check:<10}  {finding.message}", indent=18)
        if finding.advice is not None:
            say(f"{'':18}-> {finding.advice}", indent=21)


def _model(settings: Config, named: str | None) -> Model:
    able = [model for model in settings.models if "transcribe" in model.tasks and named in (None, model.id)]
    if not able:
        stop(f"no model {named} that transcribes is in the catalogue" if named else "no model transcribes", MISUSED)
    return able[0]
