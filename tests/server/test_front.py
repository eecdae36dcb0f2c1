"""The front and Flask answer alike: whatever is asked, byte for byte."""

import itertools
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from fakeredis import FakeRedis, FakeServer
from flask import Flask
from published import Generation, put_posts
from werkzeug.test import create_environ, run_wsgi_app

from server.app import create_app
from server.keys import hash_of, new_key
from server.settings import ServerSettings
from slates.blocked import block
from slates.experiment import Experiment, keys_of_arm, start_experiment
from slates.keys import Keys
from slates.seen import note_seen

KEY = new_key("read")
WEEK = Generation(
    id="week",
    users={"7": {12: "1 2 3 4"}, "8": {12: "3 1"}},
    user_segments={"7": "women", "9": "women"},
    user_acted={"8": "5"},
    segments={"women": {12: "4 5"}},
    popular={12: "5 6"},
)
RECOMMENDATIONS = ["/post/recommendations/", "/post/recommendations", "/post/recommendations//"]
FEEDS = [
    f"/v1/users/{user}/feed{end}"
    for user in ("7", "8", "9", "007", "x", "", "a/b", "7%0A", "%37", "%C3%A9", "7" * 300)
    for end in ("", "/")
]
QUERIES = [
    *(f"id={user}" for user in ("7", "8", "9", "99", "007", "+7", " 7", "%37", "x", "", "7" * 300, "%FF", "%C3%A9")),
    *(f"id=7&limit={limit}" for limit in ("1", "3", "100", "0", "101", "-1", "%31", "", "x", "1&limit=2")),
    *(
        f"id=7&{name}={moment}"
        for name in ("time", "at")
        for moment in ("2021-12-20T12", "2021-12-20T12:30:00+00:00", "2021-12-22T12", "2021-12-20T15:30+03:00", "soon")
    ),
    *("", "id", "id=7&", "&id=7", "id==7", "id=7&id=8", "ID=7", "id=7;limit=1", "id=7&topic=topic%20of%201", "\xff"),
]


@dataclass
class Both:
    """An app whose every request is answered twice: as it comes, and with a header for which the front hands it on."""

    app: Flask
    by_flask: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.app.before_request(lambda: self.by_flask.append(""))

    def ask(self, path: str, query: str, method: str = "GET", **variables: str) -> tuple[str, str]:
        """Return the status, and who answered: `front` or `flask`."""
        environ = create_environ(path, method=method)
        environ["QUERY_STRING"] = query
        environ |= {"HTTP_X_REQUEST_ID": "given"} | variables
        before = len(self.by_flask)
        first = answer_of(self.app, dict(environ))
        who = "front" if len(self.by_flask) == before else "flask"
        second = answer_of(self.app, environ | {"HTTP_UPGRADE": "h2c"})
        assert len(self.by_flask) == before + (1 if who == "front" else 2)
        assert first == second, (path, query)
        return first[0], who


def answer_of(app: Flask, environ: dict[str, object]) -> tuple[str, list[tuple[str, str]], bytes]:
    """Return status, headers and body; of seconds since as-of, which go on between two answers, the place alone."""
    body, status, headers = run_wsgi_app(app, environ, buffered=True)
    told = [(name, "" if name == "X-Hourfeed-Age" else value) for name, value in headers]
    return status, told, re.sub(rb'"age_s":\d+', b'"age_s":0', b"".join(body))


@pytest.fixture
def redis(server: FakeServer) -> FakeRedis:
    redis = FakeRedis(server=server)
    put_posts(redis, "123456")
    WEEK.publish(redis)
    return redis


@pytest.fixture
def both(redis: FakeRedis) -> Both:
    return Both(create_app(ServerSettings(), redis))


def test_whatever_is_asked_both_ways_answer_alike(both: Both) -> None:
    seen = {both.ask(path, query) for path, query in itertools.product([*RECOMMENDATIONS, *FEEDS], QUERIES)}
    assert {status[:3] for status, _ in seen} == {"200", "404", "405", "422"}
    assert ("200 OK", "front") in seen
    assert {who for status, who in seen if status[:3] != "200"} == {"flask"}


@pytest.mark.parametrize("path", ["/post/recommendations/", "/v1/users/7/feed"])
def test_a_plain_request_never_enters_flask(both: Both, path: str) -> None:
    assert both.ask(path, "id=7&limit=2") == ("200 OK", "front")
    assert both.ask(path, "id=7&limit=2&time=2021-12-20T15:30%2B03:00") == ("200 OK", "front")


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "POST", "DELETE"])
def test_other_methods_are_flasks(both: Both, method: str) -> None:
    for path in ("/post/recommendations/", "/v1/users/7/feed"):
        assert both.ask(path, "id=7", method)[1] == "flask"


@pytest.mark.parametrize(
    ("host", "status"), [("feeds.example.org:8000", "200"), ("", "200"), ("a..b", "400"), ("x" * 64, "400")]
)
def test_a_host_that_flask_refuses_is_refused(both: Both, host: str, status: str) -> None:
    assert both.ask("/post/recommendations/", "id=7", HTTP_HOST=host)[0][:3] == status


def test_what_hides_posts_hides_them_both_ways(both: Both, redis: FakeRedis) -> None:
    block(redis, Keys(), ["1"])
    note_seen(redis, Keys(), [("7", "2")], int(datetime.now(UTC).timestamp()), 3_600)
    for path in ("/post/recommendations/", "/v1/users/7/feed"):
        environ = create_environ(path, query_string="id=7&time=2021-12-20T12&at=2021-12-20T12&limit=2")
        body = answer_of(both.app, environ)[2]
        assert re.findall(rb'"id":(\d+)', body) == [b"3", b"4"]
        assert both.ask(path, "id=7&limit=2") == ("200 OK", "front")


def test_keys_are_asked_for_both_ways(redis: FakeRedis) -> None:
    both = Both(create_app(ServerSettings(read_keys=(hash_of(KEY),)), redis))
    for path in ("/post/recommendations/", "/v1/users/7/feed"):
        asked = [both.ask(path, "id=7", HTTP_AUTHORIZATION=given) for given in (f"Bearer {KEY}", f"bearer {KEY}x", "x")]
        assert asked == [("200 OK", "front"), ("401 UNAUTHORIZED", "flask"), ("401 UNAUTHORIZED", "flask")]
        assert both.ask(path, "id=7") == ("401 UNAUTHORIZED", "flask")


def test_an_experiment_shows_in_both_and_every_exposure_is_noted_once(redis: FakeRedis) -> None:
    Generation(id="other", users={"7": {12: "4 3"}}, popular={12: "6"}).publish(redis, keys_of_arm(Keys(), "test"))
    redis.sadd(Keys().arms, "test")
    start_experiment(redis, Keys(), Experiment("trial", "salt", {"control": 0.5, "test": 0.5}, datetime.now(UTC)))
    both = Both(create_app(ServerSettings(), redis))
    for user in range(1, 20):
        assert both.ask("/post/recommendations/", f"id={user}") == ("200 OK", "front")
        assert both.ask(f"/v1/users/{user}/feed", "") == ("200 OK", "front")
    both.app.extensions["hourfeed.exposures"].flush()
    assert redis.xlen(Keys().exposures) == 2 * 19  # of the first path, once each way


def test_while_redis_is_away_both_answer_from_memory_or_say_why_not(both: Both, server: FakeServer) -> None:
    server.connected = False
    assert both.ask("/post/recommendations/", "id=7")[0] == "503 SERVICE UNAVAILABLE"
    server.connected = True
    later = Both(create_app(ServerSettings(), FakeRedis(server=server)))
    assert later.ask("/post/recommendations/", "id=7&limit=2") == ("200 OK", "front")
    server.connected = False
    for path in ("/post/recommendations/", "/v1/users/7/feed"):
        assert later.ask(path, "id=7&limit=2") == ("200 OK", "front")


def test_where_flask_adds_to_every_answer_it_gives_every_answer(redis: FakeRedis) -> None:
    for settings in (ServerSettings(rate_limit=1_000), ServerSettings(cors_origins=("https://app.example.org",))):
        both = Both(create_app(settings, redis))
        assert both.ask("/post/recommendations/", "id=7") == ("200 OK", "flask")
