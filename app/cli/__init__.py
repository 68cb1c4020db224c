"""The command `audio-gateway`. Every subcommand takes `--config FILE` and works beside a running gateway.

Exit status: 0 done; 1 it could not be done; 2 the command line or the settings are wrong.
"""

import typer

from app.cli import demo, doctor, keys, ledger, serve, usage

app = typer.Typer(
    name="audio-gateway",
    help="A gateway in front of a speech-to-text provider: one provider key, many callers, every second accounted for.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("serve")(serve.serve)
app.command("reload")(serve.reload)
app.command("check")(serve.check)
app.command("doctor")(doctor.doctor)
app.command("demo")(demo.demo)
app.command("audit")(ledger.audit)
app.add_typer(keys.app, name="keys")
app.add_typer(usage.app, name="usage")
app.add_typer(ledger.app, name="ledger")
