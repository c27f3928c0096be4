"""Whatever is sent within and beyond the OpenAPI document, nothing ends in a 500."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.app.people import TOKEN, copy

from vireid.app.api import create_app
from vireid.app.audit import Audit
from vireid.app.handlers import Handlers
from vireid.app.limits import Limits
from vireid.app.service import Service
from vireid.app.tokens import Tokens
from vireid.features import FeatureExtractor
from vireid.gallery import open_gallery

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
HEADERS = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def schema(
    gallery: Path, extractor: FeatureExtractor, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[schemathesis.BaseSchema]:
    folder = tmp_path_factory.mktemp("schema")
    made = copy(gallery, folder)
    with open_gallery(made, model=extractor.model_info, write=True) as opened:
        service = Service(opened, extractor, name="people", limits=Limits())
        handlers = Handlers(service, Audit(folder / "log"))
        app = create_app(handlers, tokens=Tokens({"ada": TOKEN}))
        yield schemathesis.openapi.from_asgi("/api/openapi.json", app, headers=HEADERS)
        handlers.close()


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_every_answer_is_as_documented(
    schema: schemathesis.BaseSchema, mode: GenerationMode
) -> None:
    found = [one.ok() for one in schema.get_all_operations() if isinstance(one, Ok)]
    operations = {operation.label: operation for operation in found}
    assert len(operations) == 22
    if mode is GenerationMode.NEGATIVE:
        # They take nothing that could be wrong.
        for label in ("GET /health", "GET /api/info", "GET /api/cases"):
            del operations[label]
    for operation in operations.values():

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(max_examples=20, derandomize=True, suppress_health_check=list(HealthCheck))
        def ask(case: schemathesis.Case[Any]) -> None:
            case.call_and_validate(headers=HEADERS, checks=CHECKS)

        ask()
