"""`audio-gateway serve` with a command line or an environment that cannot be."""

from pathlib import Path

import pytest

from tests.stubs.gateway import GatewayProcess


@pytest.mark.parametrize(
    ("arguments", "environment", "told"),
    [
        (("--workers", "2"), {}, "--workers: the gateway is one process"),
        (("--workers", "0"), {}, "--workers: the gateway is one process"),
        ((), {"WEB_CONCURRENCY": "4"}, "WEB_CONCURRENCY: the gateway is one process"),
        ((), {"WEB_CONCURRENCY": "many"}, "WEB_CONCURRENCY: the gateway is one process"),
    ],
    ids=["two", "none", "by variable", "by a word"],
)
def test_more_than_one_process_is_refused(
    arguments: tuple[str, ...], environment: dict[str, str], told: str, tmp_path: Path
) -> None:
    gateway = GatewayProcess(tmp_path, "http://127.0.0.1:9/v1")
    done = gateway.command("serve", *arguments, **environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr
    assert "budgets" in done.stderr
    assert "lock" in done.stderr
    assert not gateway.ledger.exists()


def test_one_process_is_what_it_is_anyway(tmp_path: Path) -> None:
    """Some platforms set the variable by themselves."""
    with GatewayProcess(tmp_path, "http://127.0.0.1:9/v1", WEB_CONCURRENCY="1") as gateway:
        assert gateway.stop() == 0
