import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from fakeredis import FakeRedis
from flask import Flask
from flask.testing import FlaskClient

import server.openapi
from bench.fuzz import fuzz, small_app
from server import models, pages
from server.app import create_app
from server.keys import hash_of, new_key
from server.openapi import OPERATIONS, models_of
from server.settings import ServerSettings

PAGES = {"/v1/openapi.json", "/docs", "/docs/start.js", "/docs/{name}", "/metrics"}


@pytest.fixture(scope="module")
def app() -> Iterator[Flask]:
    with small_app() as app:
        yield app


@pytest.fixture
def client() -> FlaskClient:
    return create_app(ServerSettings(read_keys=(hash_of(new_key("read")),)), FakeRedis()).test_client()


def test_the_document_names_every_route_and_no_other() -> None:
    rules = create_app(ServerSettings(), FakeRedis()).url_map.iter_rules()
    routes = {
        (method.lower(), re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule))
        for rule in rules
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    described = {(operation.method, operation.path) for operation in OPERATIONS}
    for_programs = {(method, path) for method, path in routes if path not in PAGES and not path.startswith("/ops")}
    assert described == for_programs
    assert len({operation.name for operation in OPERATIONS}) == len(OPERATIONS)


def test_parameters_in_paths_are_described() -> None:
    for operation in OPERATIONS:
        described = {entry["name"] for entry in operation.parameters if entry["in"] == "path"}
        assert described == set(re.findall(r"\{(\w+)\}", operation.path)), operation.path


def test_every_example_is_as_its_model_says() -> None:
    used = [answer for operation in OPERATIONS for answer in (*operation.all_answers().values(), *operation.body)]
    seen = 0
    for model in (model for answer in used for model in models_of(answer)):
        for example in model.model_json_schema().get("examples", []):
            model.model_validate(example)
            seen += 1
    assert seen >= len(used) / 2


def test_the_document_is_openapi_3_1_and_open_to_all(client: FlaskClient) -> None:
    answer = client.get("/v1/openapi.json")
    assert answer.status_code == 200
    found = answer.json
    assert found is not None
    assert found["openapi"].startswith("3.1")
    references = set(re.findall(r'"#/components/schemas/(\w+)"', answer.text))
    assert references <= found["components"]["schemas"].keys()
    assert found["paths"]["/v1/blocked"]["get"]["security"] == [{"key": []}]
    assert "$defs" not in answer.text


def test_no_fuzzed_request_is_answered_otherwise_than_described(app: Flask) -> None:
    statuses, wrong = fuzz(app, 250)
    assert wrong == []
    assert statuses.total() >= 200
    successes = {status.rpartition(" ")[0] for status in statuses if re.search(r" 20[02]$", status)}
    assert successes == {f"{operation.method.upper()} {operation.path}" for operation in OPERATIONS}


def test_the_fuzzing_notices_what_is_not_described(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    (popular,) = (operation for operation in OPERATIONS if operation.name == "popular")
    (feed,) = (operation for operation in OPERATIONS if operation.name == "feed")
    other_body = replace(popular, answers={200: models.Changed})
    no_422 = replace(feed, answers={200: models.Feed, 422: models.Changed})
    monkeypatch.setattr(server.openapi, "OPERATIONS", (other_body, no_422))
    pages._document.cache_clear()
    try:
        _, wrong = fuzz(app, 40)
    finally:
        pages._document.cache_clear()
    assert any("/v1/popular" in failure for failure in wrong)
    assert any("/v1/users" in failure for failure in wrong)


def test_the_page_needs_nothing_from_elsewhere_and_no_key(client: FlaskClient) -> None:
    page = client.get("/docs")
    assert (page.status_code, page.mimetype) == (200, "text/html")
    named = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(named) == 5
    assert all(path.startswith("/") and not path.startswith("//") for path in named)
    for path in named:
        with client.get(path) as asset:
            assert (asset.status_code, len(asset.data) > 100) == (200, True)
    policy = page.headers["Content-Security-Policy"]
    assert "script-src 'self';" in policy
    assert "http" not in policy


@pytest.mark.parametrize("name", ["index.html", "swagger-ui.js", "..", "%2e%2e%2f__init__.py", "x"])
def test_only_the_files_of_the_page_are_given(client: FlaskClient, name: str) -> None:
    assert client.get(f"/docs/{name}").status_code == 404
