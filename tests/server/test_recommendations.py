import json
from datetime import UTC, datetime

import pytest
from fakeredis import FakeRedis, FakeServer
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from published import Generation, manifest_of, put_posts

from server.app import create_app
from server.recommendations import render_post
from server.settings import ServerSettings
from slates.keys import Keys

URL = "/post/recommendations/"
TUESDAY = Generation(
    id="tuesday",
    users={"7": {12: "1 2 3 4"}},
    popular={12: "5 6"},
)


@pytest.fixture
def redis(server: FakeServer) -> FakeRedis:
    return FakeRedis(server=server)


@pytest.fixture
def app(redis: FakeRedis) -> Flask:
    return create_app(ServerSettings(), redis)


@pytest.fixture
def client(app: Flask, redis: FakeRedis) -> FlaskClient:
    put_posts(redis, "123456")
    TUESDAY.publish(redis)
    return app.test_client()


def test_a_feed_is_a_list_of_posts_with_id_text_and_topic(client: FlaskClient) -> None:
    answer = client.get(URL, query_string={"id": "7", "time": "2021-12-20T12:59:59", "limit": "2"})
    assert answer.status_code == 200
    assert answer.content_type == "application/json"
    assert answer.json == [
        {"id": 1, "text": "text of 1", "topic": "topic of 1"},
        {"id": 2, "text": "text of 2", "topic": "topic of 2"},
    ]


def test_the_headers_say_where_the_feed_comes_from(client: FlaskClient) -> None:
    before = datetime.now(UTC)
    answer = client.get(URL, query_string={"id": "007", "time": "2021-12-21T15:00+03:00"})
    age_s = int((before - datetime(2021, 12, 20, tzinfo=UTC)).total_seconds())
    assert answer.headers["X-Hourfeed-Rung"] == "same_hour"
    assert answer.headers["X-Hourfeed-Bucket"] == "2021-12-20T12"
    assert answer.headers["X-Hourfeed-Generation"] == "tuesday"
    assert age_s <= int(answer.headers["X-Hourfeed-Age"]) <= age_s + 60
    assert answer.headers["X-Hourfeed-Filled"] == "2"  # 5 and 6
    assert answer.headers["Cache-Control"] == "no-store"


def test_the_headers_count_the_posts_beyond_the_slate_as_they_are_answered(
    client: FlaskClient, redis: FakeRedis
) -> None:
    def filled(limit: int, user: str = "7") -> str:
        answer = client.get(URL, query_string={"id": user, "time": "2021-12-20T12", "limit": str(limit)})
        return answer.headers["X-Hourfeed-Filled"]

    assert [filled(limit) for limit in (1, 4, 5, 6, 100)] == ["0", "0", "1", "2", "2"]
    assert filled(2, "99") == "0"  # the popular slate is the slate
    redis.delete(*(Keys().post(post_id) for post_id in "236"))
    Generation(id="next", users={"7": {12: "1 2 3 4"}}, popular={12: "5 6"}).publish(redis)
    assert [filled(limit) for limit in (1, 2, 4)] == ["0", "0", "1"]  # 1 and 4 are left of the slate, then comes 5


def test_a_long_feed_holds_nothing_that_the_user_acted_on(client: FlaskClient, redis: FakeRedis) -> None:
    Generation(id="next", users={"7": {12: "1 2"}}, popular={12: "3 4 5 6"}, user_acted={"7": "3 5"}).publish(redis)
    redis.delete(Keys().post("2"))
    query = {"id": "7", "time": "2021-12-20T12"}
    for limit, expected in (("2", [1, 4]), ("100", [1, 4, 6])):
        answer = client.get(URL, query_string=query | {"limit": limit})
        assert [post["id"] for post in answer.json or ()] == expected
        assert answer.headers["X-Hourfeed-Filled"] == str(len(expected) - 1)


def test_a_user_who_acted_on_everything_is_answered_by_an_empty_list(client: FlaskClient, redis: FakeRedis) -> None:
    Generation(id="next", users={"7": {12: ""}}, popular={12: "5 6"}, user_acted={"7": "5 6"}).publish(redis)
    answer = client.get(URL, query_string={"id": "7", "time": "2021-12-20T12"})
    assert (answer.status_code, answer.json) == (200, [])
    assert (answer.headers["X-Hourfeed-Rung"], answer.headers["X-Hourfeed-Filled"]) == ("popular", "0")


def test_ten_posts_are_given_where_no_limit_is_named_and_there_are_as_many(
    client: FlaskClient, redis: FakeRedis
) -> None:
    ids = [str(number) for number in range(10, 40)]
    put_posts(redis, ids)
    Generation(id="long", users={"7": {12: " ".join(ids)}}).publish(redis)
    answer = client.get(URL, query_string={"id": "7", "time": "2021-12-20T12"})
    assert [post["id"] for post in answer.json or ()] == list(range(10, 20))


def test_the_slash_at_the_end_may_be_left_out(client: FlaskClient) -> None:
    assert client.get("/post/recommendations?id=7").json == client.get("/post/recommendations/?id=7").json


def test_the_current_hour_is_meant_where_no_time_is_named(client: FlaskClient, redis: FakeRedis) -> None:
    Generation(id="all", users={"7": {hour: str(1 + hour % 2) for hour in range(24)}}).publish(redis)
    before = datetime.now(UTC).hour
    answer = client.get(URL, query_string={"id": "7", "limit": "1"})
    after = datetime.now(UTC).hour
    assert int(answer.headers["X-Hourfeed-Bucket"][-2:]) in {before, after}


def test_a_post_that_expired_is_left_out_and_the_next_one_takes_its_place(
    client: FlaskClient, redis: FakeRedis
) -> None:
    redis.delete(Keys().post("2"))
    answer = client.get(URL, query_string={"id": "7", "time": "2021-12-20T12", "limit": "2"})
    assert [post["id"] for post in answer.json or ()] == [1, 3]


def test_ids_that_are_strings_stay_strings(client: FlaskClient, redis: FakeRedis) -> None:
    strings = Generation(
        id="strings",
        users={"anna k/\u00e9": {12: "1 x:y"}},
        manifest={"user_id_type": "string", "post_id_type": "string"},
    )
    strings.publish(redis)
    put_posts(redis, ["x:y"])
    answer = client.get(URL, query_string={"id": "anna k/\u00e9", "time": "2021-12-20T12"})
    assert [post["id"] for post in answer.json or ()] == ["1", "x:y"]


@pytest.mark.parametrize("post_id", ["9223372036854775807", "-9223372036854775808", "18446744073709551616", "0"])
def test_an_integer_id_of_any_size_stays_exact(post_id: str) -> None:
    body = render_post(manifest_of(Generation()), post_id, 'say "hi"\n', "\u00e9")
    assert body.startswith(b'{"id":%b,' % post_id.encode())
    assert json.loads(body) == {"id": int(post_id), "text": 'say "hi"\n', "topic": "\u00e9"}


@given(st.text(st.characters(codec=None, categories=None)))
def test_whatever_a_post_id_is_the_answer_is_json(post_id: str) -> None:
    for kind in ("integer", "string"):
        post = json.loads(render_post(manifest_of(Generation(manifest={"post_id_type": kind})), post_id, "", ""))
        assert str(post["id"]) == post_id


@pytest.mark.parametrize(
    ("query", "field", "value"),
    [
        ("time=2021-12-20T12", "id", None),
        ("id=", "id", ""),
        ("id=x", "id", "x"),
        ("id=9223372036854775808", "id", "9223372036854775808"),
        ("id=7&limit=0", "limit", "0"),
        ("id=7&limit=" + "9" * 500, "limit", "9" * 100),
        ("id=7&limit=%D9%A5", "limit", "\u0665"),
        ("id=7&time=noon", "time", "noon"),
        ("id=7&id=8", "id", "7, 8"),
        ("id=%00", "id", "\x00"),
    ],
)
def test_a_bad_parameter_is_named_with_what_is_allowed(
    client: FlaskClient, query: str, field: str, value: str | None
) -> None:
    answer = client.get(f"{URL}?{query}")
    assert answer.status_code == 422
    assert answer.json is not None
    assert answer.json["error"].keys() == {"field", "value", "allowed"}
    assert (answer.json["error"]["field"], answer.json["error"]["value"]) == (field, value)
    assert answer.headers["Cache-Control"] == "no-store"


def test_bytes_that_are_no_text_are_refused(client: FlaskClient) -> None:
    answer = client.get(URL, environ_overrides={"QUERY_STRING": "id=\xff"})
    expected = {"field": "query string", "value": "id=\xff", "allowed": "UTF-8, percent-encoded"}
    assert (answer.status_code, answer.json) == (422, {"error": expected})


def test_a_limit_out_of_range_says_which_range(client: FlaskClient) -> None:
    expected = {"error": {"field": "limit", "value": "0", "allowed": "an integer from 1 to 100"}}
    assert client.get(f"{URL}?id=7&limit=0").json == expected


def test_a_plus_before_an_offset_may_be_unescaped(client: FlaskClient) -> None:
    answer = client.get(f"{URL}?id=7&time=2021-12-20T15:00:00+03:00")
    assert (answer.status_code, answer.headers["X-Hourfeed-Rung"]) == (200, "exact")


VALUES = st.one_of(
    st.binary(),
    st.text(st.characters(codec="utf-8")).map(str.encode),
    st.integers().map(lambda number: str(number).encode()),
    st.datetimes().map(lambda moment: moment.isoformat().encode()),
    st.sampled_from([b"%00", b"%ED%A0%80", b"%FF", b"%D9%A5", b"1e400", b"NaN", b"2021-W53-7", b"9999-12-31T24:00"]),
)
QUERIES = st.lists(st.tuples(st.sampled_from([b"id", b"time", b"limit", b"x"]), VALUES))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(QUERIES, st.booleans())
def test_no_query_string_breaks_the_server(client: FlaskClient, query: list[tuple[bytes, bytes]], known: bool) -> None:
    parts = [b"=".join(pair) for pair in query] + ([b"id=7"] if known else [])
    answer = client.get(URL, environ_overrides={"QUERY_STRING": b"&".join(parts).decode("latin-1")})
    assert answer.status_code in {200, 422}
    assert answer.json is not None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary())
def test_no_path_breaks_the_server(client: FlaskClient, path: bytes) -> None:
    answer = client.get("/", environ_overrides={"PATH_INFO": "/" + path.decode("latin-1")})
    assert answer.status_code in {404, 422}
    assert answer.is_json


def test_unknown_paths_and_wrong_methods_are_answered_in_json(client: FlaskClient) -> None:
    for answer, status in ((client.get("/nothing"), 404), (client.post(URL), 405), (client.get("//healthz"), 404)):
        assert answer.status_code == status
        assert answer.json is not None
        assert answer.json["error"].keys() == {"reason"}
    assert "GET" in client.post(URL).headers["Allow"]


def test_without_a_generation_the_answer_is_503_and_says_why(app: Flask) -> None:
    answer = app.test_client().get(URL, query_string={"id": "7"})
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.json == {"error": {"reason": "no generation is live yet; run `hourfeed batch`"}}


def test_bad_input_is_422_without_a_generation_too(app: Flask) -> None:
    assert app.test_client().get(URL, query_string={"id": "7", "limit": "0"}).status_code == 422


def test_while_redis_is_away_the_popular_posts_are_answered(client: FlaskClient, server: FakeServer) -> None:
    query = {"id": "7", "time": "2021-12-20T12", "limit": "2"}
    client.get(URL, query_string=query)
    server.connected = False
    answer = client.get(URL, query_string=query)
    assert (answer.status_code, answer.headers["X-Hourfeed-Rung"]) == (200, "memory")
    assert [post["id"] for post in answer.json or ()] == [5, 6]


def test_a_redis_that_was_never_seen_is_503(client: FlaskClient, server: FakeServer) -> None:
    server.connected = False
    answer = client.get(URL, query_string={"id": "7"})
    assert (answer.status_code, answer.json) == (503, {"error": {"reason": "Redis is away"}})


def test_a_feed_whose_posts_are_all_gone_is_503(client: FlaskClient, redis: FakeRedis) -> None:
    redis.delete(*(Keys().post(post_id) for post_id in "123456"))
    answer = client.get(URL, query_string={"id": "7"})
    assert answer.status_code == 503
    assert "Retry-After" in answer.headers


def test_what_cannot_be_read_in_redis_is_503_and_not_a_stack_trace(app: Flask, redis: FakeRedis) -> None:
    redis.hset(Keys().generation("strange"), "id", "strange")
    redis.set(Keys().current, "strange")
    answer = app.test_client().get(URL, query_string={"id": "7"})
    assert answer.status_code == 503
    redis.delete(Keys().generation("strange"))
    redis.set(Keys().generation("strange"), "no hash")
    assert app.test_client().get(URL, query_string={"id": "7"}).status_code == 503
