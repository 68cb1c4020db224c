"""The models of a caller, the OpenAPI document, the docs page, the two probes."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
from openai import NotFoundError

from tests.behaviour.caller import TRANSCRIPTIONS, form, post, sdk
from tests.stubs.gateway import PROVIDER_KEY, GatewayProcess
from tests.stubs.upstream import ScriptedUpstream

MODELS = {
    "whisper-1": ["transcribe", "translate"],
    "gpt-transcribe": ["transcribe"],
    "gpt-4o-transcribe": ["transcribe"],
    "gpt-4o-transcribe-diarize": ["transcribe"],
    "gpt-4o-mini-transcribe": ["transcribe"],
    "gpt-4o-mini-transcribe-2025-12-15": ["transcribe"],
}


def get(gateway: GatewayProcess, path: str, key: str | None = None) -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    answer = httpx.get(gateway.host + path, headers=headers, timeout=5)
    assert answer.headers["x-request-id"].startswith("req_")
    return answer


# -- models -----------------------------------------------------------------------------------------------------------


def test_the_sdk_lists_the_models_of_the_catalogue(gateway: GatewayProcess) -> None:
    models = sdk(gateway).models.list().data
    assert {model.id: model.to_dict()["tasks"] for model in models} == MODELS
    assert {(model.object, model.owned_by) for model in models} == {("model", "scripted")}
    assert all(isinstance(model.created, int) for model in models)
    assert get(gateway, "/v1/models", gateway.key).json()["object"] == "list"


def test_the_sdk_retrieves_one_model(gateway: GatewayProcess) -> None:
    model = sdk(gateway).models.retrieve("gpt-4o-transcribe")
    assert (model.id, model.object, model.owned_by) == ("gpt-4o-transcribe", "model", "scripted")
    with pytest.raises(NotFoundError) as raised:
        sdk(gateway).models.retrieve("gpt-9")
    error = raised.value
    assert (error.code, error.param, (error.request_id or "")[:4]) == ("model_not_found", "model", "req_")
    assert "whisper-1, gpt-transcribe" in error.message


def test_a_caller_sees_only_the_models_that_it_may_use(gateway: GatewayProcess) -> None:
    result = gateway.command("keys", "create", "few", "--model", "whisper-1", "--model", "gpt-transcribe")
    client = sdk(gateway, result.stdout.strip())
    assert [model.id for model in client.models.list()] == ["whisper-1", "gpt-transcribe"]
    assert client.models.retrieve("gpt-transcribe").id == "gpt-transcribe"
    with pytest.raises(NotFoundError) as raised:
        client.models.retrieve("gpt-4o-transcribe")
    assert "Models: whisper-1, gpt-transcribe." in raised.value.message
    assert "gpt-4o-mini" not in raised.value.message


@pytest.fixture(scope="module")
def other(shared_upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway with a catalogue of its own and without pages."""
    settings = """
[server]
docs = false
[[models]]
id = "vendor/speech:large"
tasks = ["translate"]
price = "free"
"""
    with GatewayProcess(tmp_path_factory.mktemp("other"), shared_upstream.base_url, settings) as process:
        yield process


def test_a_configured_catalogue_replaces_the_default(other: GatewayProcess, upstream: ScriptedUpstream) -> None:
    assert [model.id for model in sdk(other).models.list()] == ["vendor/speech:large"]
    assert sdk(other).models.retrieve("vendor/speech:large").id == "vendor/speech:large"
    assert post(other, form("vendor/speech:large"), "/v1/audio/translations").status == 200
    assert post(other, form("vendor/speech:large"), TRANSCRIPTIONS).json()["error"]["code"] == "unsupported_model"
    assert post(other, form("whisper-1")).json()["error"]["code"] == "model_not_found"
    assert upstream.journal[0].field("model") == "vendor/speech:large"


# -- the OpenAPI document ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def document(gateway: GatewayProcess) -> dict[str, Any]:
    answer = get(gateway, "/openapi.json")
    assert answer.status_code == 200
    assert PROVIDER_KEY not in answer.text
    assert gateway.key not in answer.text
    return dict(answer.json())


@pytest.mark.parametrize(
    "path",
    ["/v1/audio/transcriptions", "/v1/audio/translations", "/v1/speech/transcriptions", "/v1/speech/translations"],
)
def test_the_document_describes_the_form(document: dict[str, Any], path: str) -> None:
    operation = document["paths"][path]["post"]
    form = operation["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert operation["requestBody"]["required"] is True
    assert form["required"] == ["file", "model"]
    assert (form["properties"]["file"]["type"], form["properties"]["file"]["format"]) == ("string", "binary")
    assert form["properties"]["model"]["type"] == "string"
    assert ("stream" in form["properties"]) == ("transcriptions" in path)
    assert ("diarized_json" in form["properties"]["response_format"]["enum"]) == ("transcriptions" in path)
    assert {"200", "400", "401", "403", "404", "413", "415", "429", "502", "503", "504"} <= set(operation["responses"])
    assert "text/event-stream" in operation["responses"]["200"]["content"]


def test_the_document_has_every_path_and_its_security(document: dict[str, Any]) -> None:
    assert {"/v1/models", "/v1/models/{model_id}", "/v1/usage", "/healthz", "/readyz"} <= set(document["paths"])
    assert document["openapi"].startswith("3.1")
    assert document["security"] == [{"key": []}]
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    assert document["paths"]["/healthz"]["get"]["security"] == []
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    identities = [operation["operationId"] for operation in operations]
    assert len(set(identities)) == len(identities)


def test_the_document_begins_with_an_introduction_and_audio(document: dict[str, Any]) -> None:
    assert "base_url" in document["info"]["description"]
    assert next(iter(document["paths"])) == "/v1/audio/transcriptions"
    described = [tag["name"] for tag in document["tags"]]
    used = {tag for path in document["paths"].values() for operation in path.values() for tag in operation["tags"]}
    assert described[0] == "audio"
    assert set(described) == used


def test_every_reference_in_the_document_resolves(document: dict[str, Any]) -> None:
    references = re.findall(r"'\$ref': '#/([^']+)'", str(document))
    assert references
    for reference in references:
        found = document
        for step in reference.split("/"):
            found = found[step]


# -- the page ---------------------------------------------------------------------------------------------------------


class Links(HTMLParser):
    """Everything that a page makes a browser load."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attributes if name in ("src", "href", "srcset", "data", "action")]


def test_the_page_loads_nothing_from_another_host(gateway: GatewayProcess) -> None:
    answer = get(gateway, "/docs")
    assert answer.headers["content-type"].startswith("text/html")
    assert "/openapi.json" in answer.text
    links = Links(answer.text).found
    assert any(link.endswith(".js") for link in links)
    assert any(link.endswith(".css") for link in links)
    for link in links:
        assert urljoin(f"{gateway.host}/docs", link).startswith(gateway.host + "/"), link
        loaded = get(gateway, link)
        assert (loaded.status_code, len(loaded.content) > 0) == (200, True), link
        if link.endswith(".css"):
            assert not re.search(r"(@import|url\()\s*['\"]?(https?:)?//", loaded.text)
    assert not re.search(r"https?://", re.sub(r"<[^>]*>", "", answer.text))


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/redoc"])
def test_disabled_pages_do_not_exist(other: GatewayProcess, path: str) -> None:
    answer = get(other, path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_url")


# -- the probes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "expected"), [("/healthz", {"status": "ok"}), ("/readyz", {"status": "ready"})])
def test_the_probes_need_no_key_and_reveal_nothing_else(gateway: GatewayProcess, path: str, expected: object) -> None:
    answer = get(gateway, path)
    assert (answer.status_code, answer.json()) == (200, expected)
