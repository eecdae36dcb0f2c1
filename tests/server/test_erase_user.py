from datetime import UTC, datetime

import pytest
from flask.testing import FlaskClient
from published import Generation
from redis import Redis

from server.app import create_app
from server.keys import hash_of
from server.settings import ServerSettings
from slates.erase import erase_user, erased_users, settle_erased
from slates.event import Event
from slates.event_stream import add_events
from slates.exposure import Exposure, ExposureLog
from slates.keys import Keys
from slates.seen import note_seen

KEYS = Keys()


@pytest.fixture
def client(redis_client: Redis) -> FlaskClient:
    users = {"7": {12: "1 2"}, "8": {12: "3"}}
    Generation(id="monday", users=users, popular={12: "9"}, manifest={"state": "superseded"}).publish(redis_client)
    Generation(id="tuesday", users=users, popular={12: "9"}, manifest={"previous": "monday"}).publish(redis_client)
    at = datetime(2021, 12, 20, tzinfo=UTC)
    add_events(redis_client, KEYS, [Event(f"e{user}", user, "5", "like", at) for user in ("7", "8")], 10)
    exposures = ExposureLog(redis_client, KEYS)
    for user in ("7", "8"):
        exposures.note(Exposure(at, "e", "control", user, "tuesday", ("1",)))
    exposures.flush()
    note_seen(redis_client, KEYS, [("7", "5"), ("7", "6"), ("8", "5")], 1_000, 600)
    return create_app(ServerSettings(open=True), redis_client).test_client()


def of_user(redis: Redis, user_id: str) -> list[str]:
    own = [KEYS.user("monday", user_id), KEYS.user("tuesday", user_id), KEYS.seen(user_id)]
    return [key for key in own if redis.exists(key)]


def test_a_user_is_erased_from_redis_and_from_nobody_elses_keys(client: FlaskClient, redis_client: Redis) -> None:
    answer = client.delete("/v1/users/007")
    assert answer.status_code == 200
    assert answer.json is not None
    assert answer.json["user_id"] == "7"
    assert answer.json["removed"] == {"slates": 2, "seen": 2, "waiting_events": 1, "waiting_exposures": 1}
    assert any("event log" in left for left in answer.json["left"])
    assert (of_user(redis_client, "7"), len(of_user(redis_client, "8"))) == ([], 3)
    assert erased_users(redis_client, KEYS) == ["7"]
    again = client.delete("/v1/users/7")
    assert again.json is not None
    assert set(again.json["removed"].values()) == {0}


def test_what_a_run_publishes_meanwhile_goes_after_its_flip(client: FlaskClient, redis_client: Redis) -> None:
    before = erased_users(redis_client, KEYS)
    client.delete("/v1/users/7")
    Generation(id="wednesday", users={"7": {12: "1"}, "8": {12: "1"}}).publish(redis_client)
    settle_erased(redis_client, KEYS, before, ())
    assert redis_client.exists(KEYS.user("wednesday", "7"), KEYS.user("wednesday", "8")) == 1
    assert erased_users(redis_client, KEYS) == ["7"]  # the run had read before
    settle_erased(redis_client, KEYS, ["7"], ["7"])
    assert erased_users(redis_client, KEYS) == ["7"]  # it has found the user in the database
    settle_erased(redis_client, KEYS, ["7"], ())
    assert erased_users(redis_client, KEYS) == []


def test_only_an_admin_may_erase(client: FlaskClient, redis_client: Redis) -> None:
    guarded = create_app(
        ServerSettings(write_keys=(hash_of("writer"),), admin_keys=(hash_of("chief"),)), redis_client
    ).test_client()
    for headers, status in (
        ({}, 401),
        ({"Authorization": "Bearer writer"}, 403),
        ({"Authorization": "Bearer chief"}, 200),
    ):
        assert guarded.delete("/v1/users/7", headers=headers).status_code == status


@pytest.mark.parametrize("user_id", ["anna", "9223372036854775808", "x" * 201])
def test_an_id_that_is_none_is_refused(client: FlaskClient, user_id: str) -> None:
    answer = client.delete(f"/v1/users/{user_id}")
    assert answer.status_code == 422


def test_an_id_with_slashes_and_spaces_is_erased(redis_client: Redis) -> None:
    strings = {"user_id_type": "string", "post_id_type": "string"}
    Generation(id="strings", users={"a b/c": {12: "1"}}, manifest=strings).publish(redis_client)
    client = create_app(ServerSettings(open=True), redis_client).test_client()
    assert client.delete("/v1/users/a%20b%2Fc").status_code == 200
    assert not redis_client.exists(KEYS.user("strings", "a b/c"))
    assert erase_user(redis_client, KEYS, "a b/c").slates == 0
