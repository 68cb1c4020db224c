"""A gateway whose settings and key files a test rewrites while it serves."""

import time
from pathlib import Path
from typing import Any

from app.adapters.server.reload import reload_gateway
from app.adapters.sqlite import Database, SqliteLedgerStore
from app.wire import apikey
from tests.stubs.gateway import GatewayProcess


class ReloadableGateway(GatewayProcess):
    """Its provider's key is in the file `key_file`. `write` puts other settings there, to be read at a reload."""

    def __init__(
        self, folder: Path, upstream_url: str, more: str = "", provider_key: str = "sk-provider-first"
    ) -> None:
        super().__init__(folder, upstream_url)
        self.upstream_url = upstream_url
        self.key_file = folder / "provider_key"
        self.key_file.write_text(provider_key)
        self.write(more)

    def settings(self, more: str = "", policy: str = "", key_file: Path | None = None) -> str:
        """Settings of which the caller `team` has these further terms; `more` are further tables."""
        return f"""
[[upstreams]]
name = "scripted"
base_url = "{self.upstream_url}"
api_key_file = "{key_file or self.key_file}"

[[callers]]
name = "team"
key_sha256 = "{apikey.digest(self.key)}"
{policy}
{more}
"""

    def write(self, more: str = "", policy: str = "", key_file: Path | None = None) -> None:
        """Put settings there as a whole, as one does with a file that is read while it is written."""
        fresh = self.config.with_suffix(".new")
        fresh.write_text(self.settings(more, policy, key_file), "utf-8")
        fresh.replace(self.config)

    def reload(self) -> None:
        """What `audio-gateway reload` does, without a process of its own; it must succeed."""
        result = reload_gateway(SqliteLedgerStore(Database(self.ledger)), 30)
        assert result is not None
        assert result.error is None

    def refuse_to_reload(self) -> str:
        """`audio-gateway reload`, which must be refused for the settings; the line that says why."""
        done = self.command("reload")
        assert (done.returncode, done.stdout) == (2, ""), done
        (line,) = done.stderr.splitlines()
        return line

    def hang_up(self, signals: int = 1) -> None:
        assert self.process is not None
        for _ in range(signals):
            self.process.send_signal(1)

    def told(self, level: str = "error") -> list[dict[str, Any]]:
        """The lines of its log of this level that speak of a reload."""
        return [line for line in self.log_lines("log") if line["level"] == level and "reloaded" in line["message"]]

    def wait_for_told(self, count: int, level: str = "error") -> dict[str, Any]:
        """The count-th of those lines."""
        deadline = time.monotonic() + 30
        while len(found := self.told(level)) < count:
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)
        return found[count - 1]
