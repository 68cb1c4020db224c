"""Which settings a reload can change, and which need a restart."""

from collections.abc import Iterator, Mapping

from app.config.settings import Config

# The settings of sockets, threads and the server. None means all settings of the table.
RESTART_ONLY: Mapping[str, frozenset[str] | None] = {
    "server": None,
    "tls": None,
    "ledger": None,
    "metrics": None,
    "traces": None,
    "logs": None,
    "timeouts": frozenset({"keep_alive", "head", "write_idle", "linger", "grace"}),
}


def changed(before: Config, after: Config) -> tuple[str, ...]:
    """The tables that differ, in the order of Config."""
    return tuple(name for name in Config.model_fields if getattr(before, name) != getattr(after, name))


def needing_restart(before: Config, after: Config) -> tuple[str, ...]:
    """The settings that differ and cannot change in a running process, such as `server.port`."""
    return tuple(_changed_restart_only(before, after))


def _changed_restart_only(before: Config, after: Config) -> Iterator[str]:
    for table, names in RESTART_ONLY.items():
        old, new = getattr(before, table), getattr(after, table)
        for name in type(old).model_fields:
            if (names is None or name in names) and getattr(old, name) != getattr(new, name):
                yield f"{table}.{name}"
