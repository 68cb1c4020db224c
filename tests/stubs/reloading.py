"""A gateway whose settings and key files a test rewrites while it serves."""

import time
from pathlib import Path
from typing import Any

from app.adapters.server.reload import reload_gateway
from app.adapters.sqlite import Database, SqliteLedgerStore
from app.wire import apikey
from tests.stubs.gateway import GatewayProcess


class ReloadableGateway(GatewayProcess):
    """Its provider's key is in the file `key_file`. `write` replaces the settings, which the next reload reads."""

    def __init__(
        self, folder: Path, upstream_url: str, more: str = "", provider_key: str = "sk-provider-first"
    ) -> None:
        super().__init__(folder, upstream_url)
        self.upstream_url = upstream_url
        self.key_file = folder / "provider_key"
        self.key_file.write_text(provider_key)
        self.write(more)

    def settings(self, more: str = "", policy: str = "", key_file: Path | None = None) -> str:
        """Returns settings. `policy` is added to the caller `team`; `more` has further tables."""
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
        """Replaces the settings file in one step."""
        temporary = self.config.with_suffix(".new")
        temporary.write_text(self.settings(more, policy, key_file), "utf-8")
        temporary.replace(self.config)

    def reload(self) -> None:
        """Does what `audio-gateway reload` does, in this process. It must succeed."""
        result = reload_gateway(SqliteLedgerStore(Database(self.ledger)), 30)
        assert result is not None
        assert result.error is None

    def failed_reload(self) -> str:
        """Runs `audio-gateway reload`, which must refuse the settings, and returns its error line."""
        command = self.command("reload")
        assert (command.returncode, command.stdout) == (2, ""), command
        (line,) = command.stderr.splitlines()
        return line

    def send_sighup(self, signals: int = 1) -> None:
        assert self.process is not None
        for _ in range(signals):
            self.process.send_signal(1)

    def reload_lines(self, level: str = "error") -> list[dict[str, Any]]:
        """Returns the log lines of this level about a reload."""
        return [line for line in self.log_lines("log") if line["level"] == level and "reloaded" in line["message"]]

    def wait_for_reload_line(self, count: int, level: str = "error") -> dict[str, Any]:
        """Waits for the count-th of those lines and returns it."""
        deadline = time.monotonic() + 30
        while len(lines := self.reload_lines(level)) < count:
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)
        return lines[count - 1]
