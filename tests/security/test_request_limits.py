"""What a request may bring: depth of JSON, length of a body, of a query, of a name, number of events."""

import json

import pytest
from fakeredis import FakeRedis
from flask.testing import FlaskClient
from published import Generation, put_posts

from server.app import create_app
from server.gunicorn import options
from server.settings import ServerSettings


@pytest.fixture
def client() -> FlaskClient:
    redis = FakeRedis()
    put_posts(redis, "12")
    Generation(users={"7": {12: "1 2"}}, popular={12: "1"}).publish(redis)
    return create_app(ServerSettings(open=True), redis).test_client()


@pytest.mark.parametrize("depth", [100, 253, 300, 1_000, 5_000, 100_000])
@pytest.mark.parametrize("url", ["/v1/events", "/v1/blocked"])
def test_json_of_any_depth_is_a_422(client: FlaskClient, url: str, depth: int) -> None:
    deep = "[" * depth + "]" * depth
    for body in (deep, f'{{"post_ids": [{deep}]}}', f'{{"event_id": {deep}}}', f'[{{"user_id": {deep}}}]'):
        answer = client.post(url, data=body, content_type="application/json")
        assert answer.status_code == 422
        assert len(answer.data) < 3_000


def test_a_field_of_a_million_characters_is_not_sent_back(client: FlaskClient) -> None:
    answer = client.post("/v1/events", json={"x" * 900_000: 1})
    assert answer.status_code == 422
    assert len(answer.data) < 3_000


def test_a_body_beyond_the_limit_and_more_events_than_a_request_may_hold_are_refused(client: FlaskClient) -> None:
    assert client.post("/v1/events", data=b" " * 1_048_577, content_type="application/json").status_code == 413
    event = {"event_id": "e", "user_id": 7, "post_id": 1, "action": "like"}
    assert client.post("/v1/events", json=[event] * 1_001).status_code == 422
    assert client.post("/v1/blocked", json={"post_ids": list(range(1_001))}).status_code == 422
    numbers = {"event_id": "e", "user_id": 10**30, "post_id": 1, "action": "like"}
    assert client.post("/v1/events", data=json.dumps(numbers), content_type="application/json").status_code == 422


@pytest.mark.parametrize("limit", ["101", "0", "-1", "1e3", "9" * 39, "9" * 4_000, "٣", "0x10", ""])
def test_a_feed_is_never_longer_than_a_hundred(client: FlaskClient, limit: str) -> None:
    for url in ("/v1/users/7/feed", "/v1/popular", "/v1/posts/1/similar", "/post/recommendations/"):
        assert client.get(url, query_string={"limit": limit, "id": "7"}).status_code == 422, url


def test_gunicorn_bounds_the_request_line_and_its_headers() -> None:
    given = options(ServerSettings())
    assert given["limit_request_line"] <= 8_190
    assert given["limit_request_fields"] <= 100
    assert given["limit_request_field_size"] <= 8_190
    assert 0 < given["timeout"] <= 60
