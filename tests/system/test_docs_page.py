"""The documentation page in a real browser that can reach only the gateway."""

import re
from pathlib import Path

import pytest

from tests.stubs.gateway import GatewayProcess
from tests.system import tools

pytestmark = pytest.mark.system

PNG = b"\x89PNG\r\n\x1a\n"


def chromium(profile: Path, *arguments: str, timeout: float = 90) -> str:
    """Returns the output of headless Chromium, which resolves no host but this machine."""
    done = tools.run(
        "chromium",
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage"),
        *("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--window-size=1280,1600"),
        *("--virtual-time-budget=20000", f"--user-data-dir={profile}"),
        *arguments,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_page_shows_every_operation(gateway: GatewayProcess, tmp_path: Path) -> None:
    page = chromium(tmp_path / "profile", "--dump-dom", f"{gateway.host}/docs")
    shown = set(re.findall(r'data-path="([^"]+)"', page))
    assert shown == {
        "/v1/audio/transcriptions",
        "/v1/audio/translations",
        "/v1/speech/transcriptions",
        "/v1/speech/translations",
        "/v1/models",
        "/v1/models/{model_id}",
        "/v1/usage",
        "/healthz",
        "/readyz",
        "/metrics",
        "/admin/v1/callers",
        "/admin/v1/callers/{caller}",
        "/admin/v1/callers/{caller}/keys",
        "/admin/v1/callers/{caller}/keys/{key_id}",
        "/admin/v1/usage",
        "/admin/v1/unknown",
        "/admin/v1/unknown/{request_id}",
        "/admin/v1/audit",
    }
    assert "Failed to load" not in page


def test_the_page_is_not_blank(gateway: GatewayProcess, tmp_path: Path) -> None:
    """A page without scripts and styles would be a few KiB of white."""
    picture = tmp_path / "docs.png"
    chromium(tmp_path / "profile", f"--screenshot={picture}", f"{gateway.host}/docs")
    assert picture.read_bytes().startswith(PNG)
    assert picture.stat().st_size > 30_000


def test_the_page_needs_no_other_host(gateway: GatewayProcess, tmp_path: Path) -> None:
    page = chromium(tmp_path / "profile", "--dump-dom", f"{gateway.host}/docs")
    loaded = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="([^"]+)"', page)
    assert loaded
    assert [url for url in loaded if re.match(r"(?:https?:)?//", url) and not url.startswith(gateway.host)] == []
