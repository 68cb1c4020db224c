"""The tasks, as settings, callers' policies and the ledger's rows name them."""

from typing import Literal, get_args

Task = Literal["transcribe", "translate"]

TASKS: tuple[Task, ...] = get_args(Task)
