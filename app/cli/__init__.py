"""The command `audio-gateway`. Every subcommand takes `--config FILE` and works beside a running gateway.

How each ends is told by `app.cli.settings.STATUSES`.
"""

import typer

from app.cli import audit, demo, doctor, keys, ledger, serve, usage
from app.cli.settings import STATUSES

app = typer.Typer(
    name="audio-gateway",
    help="A gateway in front of a speech-to-text provider: one provider key, many callers, every second accounted for.",
    epilog="Exit status: " + "; ".join(f"{status} {meaning}" for status, meaning in STATUSES.items()) + ".",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("serve")(serve.serve)
app.command("reload")(serve.reload)
app.command("check")(serve.check)
app.command("doctor")(doctor.doctor)
app.command("demo")(demo.demo)
app.command("audit")(audit.audit)
app.add_typer(keys.app, name="keys")
app.add_typer(usage.app, name="usage")
app.add_typer(ledger.app, name="ledger")
