"""The operations page in a real Chromium, on a real server and Redis."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from browsing import Watched, chromium, fits_the_screen, serious, shoot
from playwright.sync_api import Browser
from published import Generation, put_posts
from redis import Redis
from test_serving import BIN, port, running

from server.keys import hash_of, new_key
from slates.bucket import bucket_name, bucket_of

__all__ = ["port"]  # the fixture

ADMIN = new_key("admin")
NOW = datetime.now(UTC)
FIRST = bucket_of(NOW) - 1
OWN = "text of 7"
"""In the user's slates of now and of the next hours, which may begin while the tests run; in no shared slate."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def publish(redis: Redis) -> None:
    put_posts(redis, map(str, range(1, 31)))
    stages = {"read": 12.0, "features": 6.5, "gate": 20.0, "train": 31.0, "slate": 14.0, "publish": 9.0, "verify": 1.0}
    shift = FIRST - Generation().first
    for age in (3, 2, 1):
        gate = {"chosen": "lightgbm", "trained": 0.64 - age / 50, "baseline": "popular_24h", "of_baseline": 0.5}
        gate |= {"difference": 0.1, "interval_95": 0.02, "cases": 900, "users": 80, "begin": "a", "as_of": "b"}
        about: dict[str, Any] = {"as_of": NOW - timedelta(hours=age), "seconds": stages, "gate": gate}
        about |= {"state": "superseded", "posts": 30, "ranker": "lightgbm", "slate_bytes": 123_456, "alike": 0.03}
        if age == 1:
            shares = {"coverage": [0.4 + hour / 60 for hour in range(24)], "overlap": [0.0] + [0.85] * 23}
            about |= {"state": "live", "previous": "g2", "by_bucket": shares}
        slates = {shift + hour: " ".join(str(1 + (hour + at) % 30) for at in range(12)) for hour in range(24)}
        popular = {shift + hour: "1 2 3" for hour in range(24)}
        users = {"1000": slates}
        Generation(id=f"g{age}", first=FIRST, users=users, popular=popular, manifest=about).publish(redis)
        redis.zadd("hourfeed:generations", {f"g{age}": -age})


@pytest.fixture
def url(redis_url: str, redis_client: Redis, port: int, tmp_path: Path) -> Iterator[str]:
    publish(redis_client)
    command = [str(BIN / "hourfeed"), "serve", "--port", str(port)]
    variables: Any = {"REDIS_URL": redis_url, "HOURFEED_ADMIN_KEYS": hash_of(ADMIN), "HOURFEED_WORKERS": "1"}
    with running(command, port, tmp_path, **variables) as server:
        server.wait_for("/healthz", 200)
        for user in ("1000", "1000", "2"):
            server.get(f"/post/recommendations/?id={user}")
        yield f"http://127.0.0.1:{port}"


def test_an_operator_finds_a_user_changes_the_hour_blocks_a_post_and_rolls_back(url: str, browser: Browser) -> None:
    watched = Watched(browser, color_scheme="light", viewport={"width": 1200, "height": 900})
    page = watched.page
    page.goto(f"{url}/ops")
    page.get_by_role("textbox", name="Key").fill(ADMIN)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("textbox", name="User").fill("1000")
    page.get_by_role("button", name="Show").click()
    page.get_by_text(OWN, exact=True).wait_for()
    shoot(page, "light")
    assert serious(page) == []
    hour = bucket_name(FIRST + 6)
    page.get_by_role("combobox", name="Hour").select_option(hour)
    page.get_by_role("button", name="Show").click()
    page.get_by_role("heading", name=hour).wait_for()
    page.get_by_role("button", name="Block post 7", exact=True).click()
    page.get_by_text("The post is taken down").wait_for()
    assert page.get_by_text("text of 7", exact=True).count() == 0
    assert page.get_by_role("heading", name=hour).count() == 1  # still there
    page.get_by_role("button", name="Put back post 7").click()
    page.get_by_text("The post is back").wait_for()
    page.get_by_role("button", name="Serve again g2").click()
    page.get_by_text("The generation is live again").wait_for()
    assert page.locator("#live b").first.inner_text() == "g2"
    assert watched.is_clean(url)
    page.context.close()


@pytest.mark.parametrize(
    ("scheme", "width"), [("dark", 1200), ("dark", 390), ("light", 390)], ids=["dark", "dark-phone", "phone"]
)
def test_it_is_readable_in_the_dark_and_on_a_phone(url: str, browser: Browser, scheme: Any, width: int) -> None:
    watched = Watched(browser, color_scheme=scheme, viewport={"width": width, "height": 844})
    watched.page.goto(f"{url}/ops?user=1000")
    shoot(watched.page, f"{scheme}-{width}")
    assert serious(watched.page) == []
    assert fits_the_screen(watched.page)
    assert watched.is_clean(url)
    watched.page.context.close()


def test_the_keyboard_alone_is_enough(url: str, browser: Browser) -> None:
    watched = Watched(browser)
    page = watched.page
    page.goto(f"{url}/ops")
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "find":
            break
    page.keyboard.type("1000")
    page.keyboard.press("Enter")
    page.get_by_text(OWN, exact=True).wait_for()
    assert watched.is_clean(url)
    page.context.close()
