"""`audio-gateway demo`: the gateway in front of the embedded speech engine, with no key and no network."""

from pathlib import Path
from typing import Annotated

import typer

from app.cli.messages import stop


def demo(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="An audio file. Default: the bundled clip.")
    ] = None,
    serve: Annotated[bool, typer.Option("--serve", help="Keep the engine and the gateway running.")] = False,
) -> None:
    """Try the gateway without a provider key.

    Starts the gateway and an embedded speech engine, creates a caller, transcribes a clip and prints the usage.
    `make demo` installs the packages that it needs. Otherwise run pip install '.[offline]' in the source tree.

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
