from datetime import UTC, datetime
from typing import Any

import pytest
from fakeredis import FakeRedis, FakeServer
from flask.testing import FlaskClient
from published import Generation, put_posts
from trips import round_trips

from server.app import create_app
from server.settings import ServerSettings
from slates.blocked import block
from slates.keys import Keys

AT = "at=2021-12-20T12"
TUESDAY = Generation(
    id="tuesday",
    users={"7": {12: "1 2"}},
    user_segments={"7": "young", "8": "young"},
    segments={"young": {12: "2 3"}},
    popular={12: "4 5", 13: "6"},
)


@pytest.fixture
def redis(server: FakeServer) -> FakeRedis:
    redis = FakeRedis(server=server)
    put_posts(redis, "123456")
    TUESDAY.publish(redis)
    redis.set(Keys().similar("tuesday", "1"), "3 2 6")
    redis.set(Keys().similar("tuesday", "5"), "")
    return redis


@pytest.fixture
def client(redis: FakeRedis) -> FlaskClient:
    return create_app(ServerSettings(open=True), redis).test_client()


def ids(answer: Any) -> list[int]:
    return [item["id"] for item in answer.json["items"]]


def test_a_feed_says_of_each_post_its_rank_and_why_it_is_there(client: FlaskClient) -> None:
    answer = client.get(f"/v1/users/7/feed?{AT}&limit=4")
    assert answer.status_code == 200
    assert answer.json is not None
    of_1, of_2, of_3, of_4 = answer.json["items"]
    assert of_1 == {
        "rank": 1,
        "source": "slate",
        "why": "ranked for this user and this hour",
        "id": 1,
        "text": "text of 1",
        "topic": "topic of 1",
    }
    assert (of_2["rank"], of_2["source"]) == (2, "slate")
    assert (of_3["id"], of_3["source"], of_3["why"]) == (3, "segment", "much touched by users like this one")
    assert (of_4["id"], of_4["source"], of_4["why"]) == (4, "popular", "much touched by everybody")


def test_a_feed_says_where_it_comes_from(client: FlaskClient) -> None:
    before = datetime.now(UTC)
    meta = (client.get(f"/v1/users/007/feed?{AT}&limit=4").json or {})["meta"]
    age_s = int((before - datetime(2021, 12, 20, tzinfo=UTC)).total_seconds())
    assert age_s <= meta.pop("age_s") <= age_s + 60
    assert meta == {
        "user_id": 7,
        "segment": "young",
        "generation": "tuesday",
        "as_of": "2021-12-20T00:00:00Z",
        "bucket": "2021-12-20T12",
        "rung": "exact",
        "filled": 2,
    }


@pytest.mark.parametrize(
    ("path", "rung", "sources", "why"),
    [
        ("/v1/users/7/feed?at=2022-01-01T12&limit=1", "same_hour", ["slate"], "the same hour of another day"),
        ("/v1/users/8/feed?at=2021-12-20T12&limit=3", "segment", ["slate", "slate", "popular"], "users like this one"),
        ("/v1/users/9/feed?at=2021-12-20T12&limit=1", "popular", ["slate"], "by everybody"),
    ],
)
def test_the_reason_goes_by_the_rung(client: FlaskClient, path: str, rung: str, sources: list[str], why: str) -> None:
    found = client.get(path).json or {}
    assert found["meta"]["rung"] == rung
    assert [item["source"] for item in found["items"]] == sources
    assert why in found["items"][0]["why"]


def test_a_topic_is_picked_from_the_whole_feed(client: FlaskClient) -> None:
    answer = client.get(f"/v1/users/7/feed?{AT}&limit=1&topic=topic of 6")
    assert ids(answer) == [6]
    assert (answer.json or {})["items"][0]["rank"] == 1
    assert ids(client.get(f"/v1/users/7/feed?{AT}&topic=nothing")) == []
    assert ids(client.get(f"/v1/popular?{AT}&topic=topic of 5")) == [5]


def test_popular_posts_are_those_of_the_hour_then_of_the_hours_around(client: FlaskClient) -> None:
    answer = client.get(f"/v1/popular?{AT}")
    assert ids(answer) == [4, 5, 6]
    assert (answer.json or {})["meta"].keys() == {"generation", "as_of", "age_s", "bucket", "rung", "filled"}
    assert ids(client.get("/v1/popular?at=2021-12-20T13&limit=1")) == [6]


def test_similar_posts_come_best_first(client: FlaskClient, redis: FakeRedis) -> None:
    answer = client.get("/v1/posts/1/similar?limit=2")
    assert answer.json is not None
    assert answer.json["items"][0] == {"rank": 1, "id": 3, "text": "text of 3", "topic": "topic of 3"}
    assert ids(answer) == [3, 2]
    assert answer.json["meta"]["post_id"] == 1
    assert ids(client.get("/v1/posts/5/similar")) == []
    block(redis, Keys(), ["3"])
    assert ids(client.get("/v1/posts/1/similar")) == [2, 6]


def test_a_post_that_the_generation_does_not_know_has_no_similar_ones(client: FlaskClient) -> None:
    answer = client.get("/v1/posts/99/similar")
    assert answer.status_code == 404
    assert "knows no post 99" in (answer.json or {})["error"]["reason"]


@pytest.mark.parametrize("path", ["/v1/users/7/feed?at=2021-12-20T12&limit=2", "/v1/popular", "/v1/posts/1/similar"])
def test_each_is_one_round_trip(client: FlaskClient, redis: FakeRedis, path: str) -> None:
    client.get(path)
    with round_trips(redis) as trips:
        assert client.get(path).status_code == 200
    assert len(trips) == 1


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/users/x/feed", "id"),
        (f"/v1/users/{'7' * 201}/feed", "id"),
        ("/v1/users/7/feed?at=noon", "at"),
        ("/v1/users/7/feed?limit=0", "limit"),
        ("/v1/users/7/feed?topic=", "topic"),
        ("/v1/popular?at=noon", "at"),
        ("/v1/popular?limit=101", "limit"),
        ("/v1/posts/x/similar", "id"),
        ("/v1/posts/1/similar?limit=x", "limit"),
    ],
)
def test_a_bad_parameter_is_named(client: FlaskClient, path: str, field: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 422
    assert (answer.json or {})["error"]["field"] == field


def test_while_redis_is_away_feeds_are_popular_ones_and_similar_posts_are_503(
    client: FlaskClient, server: FakeServer
) -> None:
    client.get(f"/v1/popular?{AT}")
    server.connected = False
    for path in (f"/v1/popular?{AT}", f"/v1/users/7/feed?{AT}"):
        answer = client.get(path)
        assert (ids(answer), (answer.json or {})["meta"]["rung"]) == ([4, 5, 6], "memory")
    assert client.get("/v1/posts/1/similar").status_code == 503
    assert client.get("/v1/blocked").status_code == 503


def test_ids_that_are_texts_may_hold_anything() -> None:
    redis = FakeRedis()
    strings = {"user_id_type": "string", "post_id_type": "string"}
    Generation(id="g", users={"eu/anna k": {12: "a/b"}}, popular={12: "1"}, manifest=strings).publish(redis)
    put_posts(redis, ["a/b", "1"])
    redis.set(Keys().similar("g", "a/b"), "1")
    client = create_app(ServerSettings(), redis).test_client()
    found = client.get(f"/v1/users/eu%2Fanna%20k/feed?{AT}").json or {}
    assert ([item["id"] for item in found["items"]], found["meta"]["user_id"]) == (["a/b", "1"], "eu/anna k")
    assert [item["id"] for item in (client.get("/v1/posts/a%2Fb/similar").json or {})["items"]] == ["1"]
