"""Which settings hold from the start of the process to its end, and which a reload changes."""

from collections.abc import Iterator, Mapping

from app.config.settings import Config

# What sockets, threads and the server are made of. None stands for all settings of a table.
HELD_FROM_THE_START: Mapping[str, frozenset[str] | None] = {
    "server": None,
    "tls": None,
    "ledger": None,
    "metrics": None,
    "traces": None,
    "logs": None,
    "timeouts": frozenset({"keep_alive", "head", "write_idle", "linger", "grace"}),
}


def changed(before: Config, after: Config) -> tuple[str, ...]:
    """The tables that differ, in their order."""
    return tuple(name for name in Config.model_fields if getattr(before, name) != getattr(after, name))


def needing_restart(before: Config, after: Config) -> tuple[str, ...]:
    """The settings that differ, but which a running process cannot take in: `server.port`, for example."""
    return tuple(_held(before, after))


def _held(before: Config, after: Config) -> Iterator[str]:
    for table, names in HELD_FROM_THE_START.items():
        old, new = getattr(before, table), getattr(after, table)
        for name in type(old).model_fields:
            if (names is None or name in names) and getattr(old, name) != getattr(new, name):
                yield f"{table}.{name}"
