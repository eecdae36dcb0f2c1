from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from published import Generation, put_posts
from redis import Redis

from server.app import create_app
from server.settings import ServerSettings
from slates.event_stream import count_waiting, next_events
from slates.keys import Keys

URL = "/v1/events"
FEED = "/post/recommendations/?id=7&time=2021-12-20T12&limit=3"
KEYS = Keys()
LIKE = {"event_id": "e1", "user_id": 7, "post_id": 2, "action": "like"}


@pytest.fixture
def client(redis_client: Redis) -> FlaskClient:
    put_posts(redis_client, "12345")
    Generation(id="tuesday", users={"7": {12: "1 2 3"}}, popular={12: "4 5"}).publish(redis_client)
    settings = ServerSettings(open=True, acted_on=("like",), events_waiting=5)
    return create_app(settings, redis_client).test_client()


def ids(client: FlaskClient) -> list[int]:
    return [post["id"] for post in client.get(FEED).json or ()]


def errors_of(client: FlaskClient, body: Any) -> list[tuple[int | None, str, Any]]:
    answer = client.post(URL, json=body)
    assert answer.status_code == 422
    assert answer.json is not None
    assert all(item["allowed"] for item in answer.json["error"]["items"])
    return [(item["index"], item["field"], item["value"]) for item in answer.json["error"]["items"]]


def test_a_post_that_was_acted_on_is_gone_at_the_next_request(client: FlaskClient) -> None:
    assert ids(client) == [1, 2, 3]
    answer = client.post(URL, json=LIKE)
    assert (answer.status_code, answer.json) == (202, {"accepted": 1, "known": 0})
    assert ids(client) == [1, 3, 4]


def test_an_action_after_which_posts_are_shown_again_hides_nothing(client: FlaskClient) -> None:
    assert client.post(URL, json=LIKE | {"action": "view"}).status_code == 202
    assert ids(client) == [1, 2, 3]


def test_events_wait_for_the_database_as_they_were_sent(client: FlaskClient, redis_client: Redis) -> None:
    before = datetime.now(UTC)
    sent = [LIKE | {"user_id": "007", "time": "2021-12-20T15:00:00.5+03:00"}, LIKE | {"event_id": "e2"}]
    assert client.post(URL, json=sent).json == {"accepted": 2, "known": 0}
    first, second = [waiting.event for waiting in next_events(redis_client, KEYS, 10, 1)]
    assert first is not None
    assert second is not None
    assert (first.user_id, first.at) == ("7", datetime(2021, 12, 20, 12, 0, 0, 500_000, tzinfo=UTC))
    assert before <= second.at <= datetime.now(UTC)


def test_a_retry_counts_once(client: FlaskClient, redis_client: Redis) -> None:
    client.post(URL, json=[LIKE])
    answer = client.post(URL, json=[LIKE, LIKE | {"event_id": "e2"}])
    assert answer.json == {"accepted": 1, "known": 1}
    assert count_waiting(redis_client, KEYS) == 2


def test_each_error_is_named_with_its_item_and_nothing_is_taken_in(client: FlaskClient, redis_client: Redis) -> None:
    late = (datetime.now(UTC) + timedelta(minutes=6)).isoformat()
    bad = [
        LIKE,
        LIKE | {"action": "lik", "user_id": True},
        {"event_id": "", "user_id": 2**63, "post_id": 1.5, "action": "like", "time": late},
        LIKE | {"colour": "red"},
        7,
        LIKE | {"time": "1969-12-31"},
        LIKE | {"event_id": "nul\0", "time": 5},
    ]
    assert errors_of(client, bad) == [
        (1, "user_id", "true"),
        (1, "action", "lik"),
        (2, "event_id", ""),
        (2, "user_id", "9223372036854775808"),
        (2, "post_id", "1.5"),
        (2, "time", late),
        (3, "colour", "red"),
        (4, "event", "7"),
        (5, "time", "1969-12-31"),
        (6, "event_id", "nul\0"),
        (6, "time", "5"),
    ]
    assert count_waiting(redis_client, KEYS) == 0
    assert ids(client) == [1, 2, 3]


@pytest.mark.parametrize(("body", "value"), [([], "0 events"), ([LIKE] * 1_001, "1001 events")])
def test_a_request_holds_from_one_to_a_thousand_events(client: FlaskClient, body: Any, value: str) -> None:
    assert errors_of(client, body) == [(None, "body", value)]


def test_bodies_that_are_no_json_are_refused(client: FlaskClient) -> None:
    def status(data: bytes, content_type: str = "application/json") -> int:
        return client.post(URL, data=data, content_type=content_type).status_code

    assert status(b"{") == status(b"\xff") == status(b"[" * 100_000) == 422
    assert status(b"{}", "text/plain") == 415
    assert status(b" " * ((1 << 20) + 1)) == 413
    assert client.get(URL).status_code == 405


def test_what_does_not_fit_is_to_be_sent_again_later(client: FlaskClient, redis_client: Redis) -> None:
    answer = client.post(URL, json=[LIKE | {"event_id": f"e{number}"} for number in range(6)])
    assert (answer.status_code, int(answer.headers["Retry-After"]) > 0) == (503, True)
    assert answer.json == {
        "error": {
            "reason": "the events were not taken in: 5 events wait for the database already; does `hourfeed drain` run?"
        }
    }
    assert (count_waiting(redis_client, KEYS), ids(client)) == (0, [1, 2, 3])


def test_before_the_first_batch_events_are_taken_in_as_they_come(redis_client: Redis) -> None:
    client = create_app(ServerSettings(open=True), redis_client).test_client()
    assert client.post(URL, json=LIKE | {"user_id": "anna"}).status_code == 202
