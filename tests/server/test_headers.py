import pytest
from fakeredis import FakeRedis
from flask.testing import FlaskClient
from published import Generation, put_posts
from pydantic import ValidationError

from server.app import create_app
from server.settings import ServerSettings

URL = "/post/recommendations/?id=7&time=2021-12-20T12"
SITE = "https://app.example.org"


def client_of(*origins: str) -> FlaskClient:
    redis = FakeRedis()
    put_posts(redis, "1")
    Generation(users={"7": {12: "1"}}, popular={12: "1"}).publish(redis)
    return create_app(ServerSettings(cors_origins=origins), redis).test_client()


@pytest.mark.parametrize("path", [URL, "/healthz", "/nothing", "/post/recommendations/", "/readyz"])
def test_every_answer_tells_browsers_to_do_nothing_with_it(path: str) -> None:
    answer = client_of().get(path)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert answer.headers["Referrer-Policy"] == "no-referrer"


def test_without_the_setting_no_site_may_read_answers() -> None:
    answer = client_of().get(URL, headers={"Origin": SITE})
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name[0].startswith("Access-Control")]


def test_a_site_of_the_setting_may_and_another_may_not() -> None:
    client = client_of(SITE)
    answer = client.get(URL, headers={"Origin": SITE})
    assert answer.headers["Access-Control-Allow-Origin"] == SITE
    assert "X-Hourfeed-Rung" in answer.headers["Access-Control-Expose-Headers"]
    other = client.get(URL, headers={"Origin": "https://other.example.org"})
    assert "Access-Control-Allow-Origin" not in other.headers
    assert (answer.headers["Vary"], other.headers["Vary"]) == ("Origin", "Origin")


def test_a_browser_that_asks_first_is_told_which_headers_it_may_send() -> None:
    headers = {"Origin": SITE, "Access-Control-Request-Method": "GET"}
    answer = client_of(SITE).options(URL, headers=headers)
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == SITE
    assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
    assert "DELETE" in answer.headers["Access-Control-Allow-Methods"]


def test_all_sites_may_where_the_setting_is_a_star() -> None:
    answer = client_of("*").get(URL, headers={"Origin": "null"})
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("origin", ["app.example.org", "https://app.example.org/", "ftp://x", "https://a b"])
def test_what_is_no_origin_is_refused(origin: str) -> None:
    with pytest.raises(ValidationError, match="an origin is"):
        ServerSettings(cors_origins=(origin,))
