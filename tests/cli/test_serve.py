"""`audio-gateway serve` refuses to run several processes."""

from pathlib import Path

import pytest

from tests.stubs.gateway import GatewayProcess


@pytest.mark.parametrize(
    ("arguments", "environment", "named"),
    [
        (("--workers", "2"), {}, "--workers: "),
        (("--workers", "0"), {}, "--workers: "),
        ((), {"WEB_CONCURRENCY": "4"}, "WEB_CONCURRENCY: "),
        ((), {"WEB_CONCURRENCY": "many"}, "WEB_CONCURRENCY: "),
    ],
    ids=["two", "none", "variable", "variable without a number"],
)
def test_several_workers_are_refused(
    arguments: tuple[str, ...], environment: dict[str, str], named: str, tmp_path: Path
) -> None:
    gateway = GatewayProcess(tmp_path, "http://127.0.0.1:9/v1")
    done = gateway.command("serve", *arguments, **environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"audio-gateway: {named}")
    assert not gateway.ledger.exists()


def test_one_worker_is_accepted(tmp_path: Path) -> None:
    """Some platforms set WEB_CONCURRENCY themselves."""
    with GatewayProcess(tmp_path, "http://127.0.0.1:9/v1", WEB_CONCURRENCY="1") as gateway:
        assert gateway.stop() == 0
