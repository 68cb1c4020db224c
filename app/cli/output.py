"""What becomes of a command whose output cannot be written: one line says so, as of everything else."""

import errno
import os
from typing import Any

from typer.core import TyperGroup

from app.cli.ending import stop

_UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF})
_STANDARD_OUTPUT = 1


class Writing(TyperGroup):
    """Commands that write. A reader who leaves early is Typer's own care."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except OSError as error:
            if error.errno not in _UNWRITABLE:
                raise
            # What is still unwritten would otherwise fail once more when Python ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), _STANDARD_OUTPUT)
            stop(f"the output cannot be written: {error.strerror}")
