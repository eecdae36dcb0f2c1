"""The operations page without a browser: who may see and do what, and what it says."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from fakeredis import FakeRedis, FakeServer
from flask.testing import FlaskClient
from published import Generation, put_posts

from server.app import create_app
from server.keys import hash_of, new_key
from server.settings import ServerSettings
from slates.bucket import bucket_of

ADMIN, READ = new_key("admin"), new_key("read")
GATE = {
    "chosen": "lightgbm",
    "trained": 0.61,
    "baseline": "popular_24h",
    "of_baseline": 0.5,
    "difference": 0.11,
    "interval_95": 0.02,
    "cases": 900,
    "users": 80,
    "begin": "a",
    "as_of": "b",
}


@pytest.fixture
def redis(server: FakeServer) -> FakeRedis:
    redis = FakeRedis(server=server)
    put_posts(redis, "123456")
    now = datetime.now(UTC)  # of the test, not of the file: another hour may have begun since
    first = bucket_of(now) - 1
    about = {"as_of": now - timedelta(hours=2), "seconds": {"read": 1.5, "train": 20.0}, "gate": GATE}
    Generation(id="old", first=first, popular={0: "6"}, manifest={**about, "state": "superseded"}).publish(redis)
    about |= {"previous": "old", "by_bucket": {"coverage": [0.5] * 24, "overlap": [0.0] + [0.9] * 23}}
    slates = {hour: f"{1 + hour % 3} 4" for hour in range(24)}
    shift = first - Generation().first
    users = {"7": {hour + shift: ids for hour, ids in slates.items()}}
    Generation(id="new", first=first, users=users, popular={shift: "5 6"}, manifest=about).publish(redis)
    return redis


def visit(redis: FakeRedis, **settings: object) -> FlaskClient:
    return create_app(ServerSettings(**settings), redis).test_client()  # type: ignore[arg-type]


@pytest.fixture
def client(redis: FakeRedis) -> FlaskClient:
    return visit(redis, admin_keys=(hash_of(ADMIN),))


def csrf_of(client: FlaskClient) -> str:
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', client.get("/ops?user=7").text)
    assert found
    return found[1]


def post(client: FlaskClient, action: str, **form: str) -> int:
    return client.post(f"/ops/{action}", data={"csrf": csrf_of(client), **form}).status_code


def test_it_tells_of_the_live_generation_its_runs_and_its_buckets(client: FlaskClient) -> None:
    page = client.get("/ops").text
    assert "<b>new</b>" in page
    assert "fresh" in page
    assert "lightgbm chosen: hitrate@5 0.6100" in page
    assert "old: train 20.0 s" in page
    assert "trained ranker, " in page
    assert "Guards: not measured." in page
    assert ": 90.0 %</title>" in page


def test_it_shows_a_users_day_and_the_posts_of_the_hour(client: FlaskClient) -> None:
    page = client.get("/ops?user=7").text
    assert page.count('<th scope="row"><a href=') == 24
    assert "text of 2" in page  # the second bucket is now
    assert "ranked for this user and this hour" in page
    assert client.get("/ops?user=<script>").status_code == 422
    assert "<script>" not in client.get("/ops?user=<script>").text


def test_only_an_admin_key_shows_buttons_and_lets_them_work(client: FlaskClient, redis: FakeRedis) -> None:
    assert "Block</button>" not in client.get("/ops?user=7").text
    assert post(client, "block", subject="2") == 403
    assert post(client, "sign-in", key="hourfeed_admin_wrong") == 303
    assert post(client, "block", subject="2") == 403
    assert post(client, "sign-in", key=ADMIN) == 303
    assert "Block</button>" in client.get("/ops?user=7").text
    assert post(client, "block", subject="2") == 303
    assert redis.smembers("hourfeed:blocked") == {b"2"}
    assert "text of 2" not in client.get("/ops?user=7").text
    assert post(client, "unblock", subject="2") == 303
    assert post(client, "rollback", subject="old") == 303
    assert redis.get("hourfeed:current") == b"old"
    assert post(client, "sign-out") == 303
    assert post(client, "block", subject="2") == 403


def test_a_form_of_another_site_does_nothing(client: FlaskClient, redis: FakeRedis) -> None:
    post(client, "sign-in", key=ADMIN)
    token = csrf_of(client)
    assert client.post("/ops/block", data={"subject": "2"}).status_code == 403
    assert client.post("/ops/block", data={"subject": "2", "csrf": "0" * 64}).status_code == 403
    form = {"subject": "2", "csrf": token}
    assert client.post("/ops/block", data=form, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert redis.smembers("hourfeed:blocked") == set()
    assert client.post("/ops/block", data=form, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 303


def test_even_where_everything_is_open_forms_need_their_token(redis: FakeRedis) -> None:
    client = visit(redis, open=True)
    assert "Sign in" not in client.get("/ops").text
    assert client.post("/ops/block", data={"subject": "2"}).status_code == 403
    assert post(client, "block", subject="2") == 303


def test_where_reading_needs_a_key_the_page_shows_nothing_without(redis: FakeRedis) -> None:
    client = visit(redis, read_keys=(hash_of(READ),))
    assert "<b>new</b>" not in client.get("/ops").text
    post(client, "sign-in", key=READ)
    assert "<b>new</b>" in client.get("/ops").text
    assert post(client, "block", subject="2") == 403
    later = visit(redis, read_keys=(hash_of(new_key("read")),))  # the key was taken out of the settings
    cookie = client.get_cookie("hourfeed_ops", path="/ops")
    assert cookie is not None
    later.set_cookie("hourfeed_ops", cookie.value, path="/ops")
    assert "<b>new</b>" not in later.get("/ops").text


def test_the_cookie_is_kept_from_scripts_and_other_sites_and_redis_does_not_hold_it(
    client: FlaskClient, redis: FakeRedis
) -> None:
    post(client, "sign-in", key=ADMIN)
    header = client.get("/ops").headers["Set-Cookie"]
    assert "HttpOnly" in header
    assert "SameSite=Strict" in header
    cookie = client.get_cookie("hourfeed_ops", path="/ops")
    assert cookie is not None
    (name,) = redis.keys("hourfeed:session:*")
    assert cookie.value.encode() not in name
    assert redis.get(name) == hash_of(ADMIN).encode()
    assert 0 < redis.ttl(name) <= 8 * 3600


def test_without_redis_it_says_so(client: FlaskClient, server: FakeServer) -> None:
    server.connected = False
    answer = client.get("/ops?user=7")
    assert answer.status_code == 200
    assert "Redis is away" in answer.text
