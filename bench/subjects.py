"""The subjects between the load and the upstream. Each runs as its own documentation says.

The peers run without access log, limits and accounting, and without body buffering where a setting turns it off. The
gateway runs as in production: keys, limits, a budget, durable reservations and settlements, a log line a request.
"""

import getpass
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path

from app.wire import apikey
from bench import install
from bench.form import MODEL
from bench.upstream import CERTIFICATE, Upstream

CALLER_KEY = apikey.mint(bytes(apikey.RANDOM_BYTES))
PROVIDER_KEY = "sk-bench-provider"
ROOT = install.HERE.parent

_READY = "/readyz"


@dataclass(frozen=True)
class Setting:
    """A subject's own folder, its ports, and its upstream."""

    folder: Path
    port: int
    metrics_port: int
    upstream: Upstream

    @property
    def authority(self) -> str:
        return f"127.0.0.1:{self.upstream.port}"

    def write(self, name: str, text: str) -> str:
        """Writes a configuration file with this text, and returns its path."""
        path = self.folder / name
        path.write_text(text)
        return str(path)


@dataclass(frozen=True)
class Launch:
    command: list[str]
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Subject:
    """`launch` is None for the upstream itself. `version` and `launch` raise Missing if it is not available here."""

    name: str
    health: str
    version: Callable[[], str]
    launch: Callable[[Setting], Launch] | None
    headers: Callable[[Upstream], dict[str, str]]


def _bearer(_: Upstream) -> dict[str, str]:
    return {"Authorization": f"Bearer {CALLER_KEY}"}


def _nginx(setting: Setting) -> Launch:
    scheme = "https" if setting.upstream.tls else "http"
    temporary = "\n".join(
        f"    {kind}_temp_path {setting.folder}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = f"""
user {getpass.getuser()};
worker_processes 1;
daemon off;
pid {setting.folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 4096; }}
http {{
{temporary}
    access_log off;
    client_max_body_size 0;
    upstream provider {{ server {setting.authority}; keepalive 128; }}
    server {{
        listen 127.0.0.1:{setting.port};
        location = /healthz {{ return 200; }}
        location / {{
            proxy_pass {scheme}://provider;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_request_buffering off;
            proxy_buffering off;
        }}
    }}
}}
"""
    tool = install.debian("nginx")
    return Launch([*tool.command, "-c", setting.write("nginx.conf", config)], tool.environment)


def _haproxy(setting: Setting) -> Launch:
    tls = "ssl verify none" if setting.upstream.tls else ""
    config = f"""
global
    nbthread 1
    maxconn 4096
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    http-reuse always
    option http-no-delay
    option abortonclose
frontend callers
    bind 127.0.0.1:{setting.port}
    monitor-uri /healthz
    default_backend provider
backend provider
    server provider {setting.authority} {tls}
"""
    tool = install.debian("haproxy")
    return Launch([*tool.command, "-db", "-f", setting.write("haproxy.cfg", config)], tool.environment)


def _litellm_tool() -> install.Tool:
    return install.python_program("litellm", "litellm[proxy]")


def _litellm(setting: Setting) -> Launch:
    config = f"""
model_list:
  - model_name: {MODEL}
    litellm_params: {{model: openai/{MODEL}, api_base: "{setting.upstream.url}", api_key: {PROVIDER_KEY}}}
    model_info: {{mode: audio_transcription}}
general_settings: {{master_key: {CALLER_KEY}}}
"""
    path = setting.write("litellm.yaml", config)
    command = [*_litellm_tool().command, "--config", path, "--host", "127.0.0.1", "--port", str(setting.port)]
    return Launch(command, {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", **_trust()})


def _portkey_program() -> Path:
    return install.node_package("portkey", "@portkey-ai/gateway", "build/start-server.js")


def _portkey(setting: Setting) -> Launch:
    command = [install.node(), str(_portkey_program()), f"--port={setting.port}", "--headless"]
    return Launch(command, {"NODE_ENV": "production", "NODE_EXTRA_CA_CERTS": str(CERTIFICATE)})


def _portkey_headers(upstream: Upstream) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {PROVIDER_KEY}",
        "x-portkey-provider": "openai",
        "x-portkey-custom-host": upstream.url,
    }


def _portkey_version() -> str:
    package = json.loads((_portkey_program().parents[1] / "package.json").read_text())
    return f"{package['version']}, node {install.Tool((install.node(),)).version}"


def _smg_tool() -> install.Tool:
    return install.python_program("smg", "smg")


def _smg(setting: Setting) -> Launch:
    worker = setting.upstream.url.removesuffix("/v1")
    address = ["--host", "127.0.0.1", "--port", str(setting.port), "--prometheus-port", str(setting.metrics_port)]
    routing = ["--worker-urls", worker, "--backend", "vllm", "--policy", "passthrough"]
    quiet = ["--log-level", "error", "--disable-health-check", "--disable-tokenizer-autoload"]
    return Launch([*_smg_tool().command, "launch", *address, *routing, *quiet], _trust())


def _ours(setting: Setting, root: Path = ROOT, variables: Mapping[str, str] | None = None) -> Launch:
    config = f"""
[server]
port = {setting.port}

[ledger]
path = "{setting.folder}/ledger.db"
synchronous = "full"

[[upstreams]]
name = "bench"
base_url = "{setting.upstream.url}"
api_key_env = "BENCH_PROVIDER_KEY"
{_authority()}

[[callers]]
name = "bench"
key_sha256 = "{apikey.digest(CALLER_KEY)}"
rpm = 1000000
burst = 1000000
concurrency = 1000000
budgets = ["1000000usd/month"]
"""
    command = [sys.executable, "-m", "app", "serve", "--config", setting.write("config.toml", config)]
    own = {"PYTHONPATH": str(root), "BENCH_PROVIDER_KEY": PROVIDER_KEY}
    return Launch(command, {**own, **_image(), **(variables or {})})


def revision(name: str, root: Path, variables: Mapping[str, str]) -> Subject:
    """Returns the gateway with the code of the folder `root` and these additional environment variables."""
    launch = partial(_ours, root=root, variables=variables)
    return Subject(name, _READY, lambda: name, launch, _bearer)


def _image() -> dict[str, str]:
    """Returns the variables that the container image sets (see Dockerfile)."""
    return {"MALLOC_MMAP_THRESHOLD_": "1048576", "MALLOC_TRIM_THRESHOLD_": "16777216"}


def _authority() -> str:
    return f'ca_file = "{CERTIFICATE}"' if CERTIFICATE.exists() else ""


def _trust() -> dict[str, str]:
    return {"SSL_CERT_FILE": str(CERTIFICATE)} if CERTIFICATE.exists() else {}


DIRECT, OURS = "direct", "ours"

SUBJECTS = (
    Subject(DIRECT, "/healthz", lambda: "no gateway", None, _bearer),
    Subject("nginx", "/healthz", lambda: install.debian("nginx").version, _nginx, _bearer),
    Subject("haproxy", "/healthz", lambda: install.debian("haproxy").version, _haproxy, _bearer),
    Subject(
        "litellm",
        "/health/liveliness",
        lambda: install.python_version(_litellm_tool(), "litellm"),
        _litellm,
        _bearer,
    ),
    Subject("portkey", "/", _portkey_version, _portkey, _portkey_headers),
    Subject("smg", "/health", lambda: install.python_version(_smg_tool(), "smg"), _smg, _bearer),
    Subject(OURS, _READY, lambda: metadata.version("audio-gateway"), _ours, _bearer),
)
