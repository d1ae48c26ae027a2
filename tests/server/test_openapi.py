"""The OpenAPI document is right, and nothing that fits it makes the server fail."""

import httpx
import pytest

from tests.patience import PATIENCE
from tests.server.running import running


def test_document(server):
    document = httpx.get(f"{server.address}/openapi.json", timeout=PATIENCE).json()
    speech = document["paths"]["/v1/audio/speech"]["post"]
    assert "audio/mpeg" in speech["responses"]["200"]["content"]
    assert set(document["paths"]) >= {"/tts", "/health", "/v1/models", "/v1/audio/voices"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_schemathesis_finds_no_server_error():
    schemathesis = pytest.importorskip("schemathesis", reason="needs the package schemathesis")
    from hypothesis import HealthCheck, Phase, given, settings

    with running() as server:
        schema = schemathesis.openapi.from_url(f"{server.address}/openapi.json")
        asked = 0
        for result in schema.get_all_operations():
            operation = result.ok()

            @given(case=operation.as_strategy())
            @settings(
                max_examples=60,
                deadline=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),  # pyright: ignore[reportArgumentType]
            )
            def check(case) -> None:
                nonlocal asked
                response = case.call()
                assert response.status_code < 500, (case.as_curl_command(), response.status_code)
                asked += 1

            check()
        assert asked > 100
