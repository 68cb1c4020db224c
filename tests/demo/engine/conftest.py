"""One engine process for all tests of the engine, and an SDK client for it."""

from collections.abc import Iterator

import pytest
from openai import OpenAI

from tests.demo.engine.process import KEY, EngineProcess


@pytest.fixture(scope="session")
def engine() -> Iterator[str]:
    """The base URL of an engine that requires KEY."""
    with EngineProcess("--api-key", KEY) as process:
        yield process.base_url


@pytest.fixture(scope="session")
def sdk(engine: str) -> OpenAI:
    return OpenAI(base_url=engine, api_key=KEY, max_retries=0)
