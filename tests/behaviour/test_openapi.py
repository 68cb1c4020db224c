"""Generated requests, valid and invalid: no response is a 500, and each conforms to the OpenAPI document."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from app.api.request_id import HEALTH_PATHS
from tests.stubs import canary
from tests.stubs.gateway import ADMIN_KEY, GatewayProcess
from tests.stubs.upstream import ScriptedUpstream

EXAMPLES = 12
DOCUMENTED = [content_type_conformance, response_schema_conformance, status_code_conformance]

bounded = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def operations(gateway: GatewayProcess) -> Iterator[APIOperation[Any, Any, Any, Any]]:
    """Those of the document as the gateway gives it."""
    for found in schemathesis.openapi.from_url(f"{gateway.host}/openapi.json").get_all_operations():
        assert isinstance(found, Ok), found
        yield found.ok()


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_every_response_conforms_to_the_document(
    gateway: GatewayProcess, upstream: ScriptedUpstream, subtests: pytest.Subtests, mode: GenerationMode
) -> None:
    """Keys are good ones: without them there would be nothing but 401."""

    def ask(case: Case[Any]) -> None:
        key = ADMIN_KEY if case.path.startswith("/admin") else gateway.key
        check(case, case.call(headers={"Authorization": f"Bearer {key}"}, timeout=30))

    for operation in operations(gateway):
        if mode is GenerationMode.NEGATIVE and operation.path in HEALTH_PATHS:
            continue  # they take nothing that could be wrong
        with subtests.test(operation.label):
            bounded(given(operation.as_strategy(generation_mode=mode))(ask))()
    assert not upstream.failures


def check(case: Case[Any], answer: Any) -> None:
    canary.check("an answer", repr(answer.headers).encode() + answer.content)
    assert answer.status_code != 500, answer.text
    if answer.status_code >= 400:
        assert set(answer.json()) == {"error"}
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    case.validate_response(answer, checks=DOCUMENTED)
