"""`audio-gateway demo`: the gateway in front of the embedded speech engine, with no key and no network."""

from pathlib import Path
from typing import Annotated

import typer

from app.cli.exit_codes import stop


def demo(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="An audio file; default: the bundled clip.")
    ] = None,
    serve: Annotated[bool, typer.Option("--serve", help="Leave engine and gateway running for you to try.")] = False,
) -> None:
    """Show the gateway at work, with no provider key.

    Starts it, creates a caller, transcribes a clip and prints the usage.
    `make demo` installs what it needs; otherwise run pip install '.[offline]' in the source tree.

    Example: audio-gateway demo --serve
    """
    try:
        from app.demo.demo import run
    except ImportError as error:
        stop(
            f"the demo needs the extra offline ({error.name} is missing): "
            "run pip install '.[offline]' in the source tree"
        )
    raise typer.Exit(run(file, serve))
