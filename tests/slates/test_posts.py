from datetime import UTC, datetime
from unittest.mock import patch

import pytest
from fakeredis import FakeRedis, FakeServer
from published import FIRST, Generation, manifest_of, put_posts

from slates.feed import Feed, Rung
from slates.keys import Keys
from slates.lookup import Lookup
from slates.manifest import Manifest
from slates.posts import PostShelf
from slates.view import View

KEYS = Keys()


@pytest.fixture
def redis(server: FakeServer) -> FakeRedis:
    return FakeRedis(server=server)


@pytest.fixture
def shelf(redis: FakeRedis) -> PostShelf[str]:
    return PostShelf(redis, KEYS, as_text)


def as_text(manifest: Manifest, post_id: str, text: str, topic: str) -> str:
    return f"{manifest.id}/{post_id}/{text}/{topic}"


def view(generation: str = "g1", popular: str = "") -> View:
    return View(manifest_of(Generation(id=generation)), {0: popular.split()}, None)


def feed(post_ids: str, rest: str = "", rung: Rung = "exact") -> Feed:
    slate = post_ids.split()
    return Feed(slate, rung, 0, "g1", datetime(2021, 12, 20, tzinfo=UTC), slate, iter(rest.split()))


def shown(posts: dict[str, str]) -> str:
    assert all(post.split("/")[1] == post_id for post_id, post in posts.items())
    return " ".join(posts)


def test_posts_come_in_the_order_of_the_feed_with_text_and_topic(redis: FakeRedis, shelf: PostShelf[str]) -> None:
    put_posts(redis, "12")
    shelf.restock(view())
    posts = shelf.take(feed("2 1"), limit=2)
    assert list(posts.items()) == [("2", "g1/2/text of 2/topic of 2"), ("1", "g1/1/text of 1/topic of 1")]


def test_empty_texts_are_texts(redis: FakeRedis, shelf: PostShelf[str]) -> None:
    redis.hset(KEYS.post("1"), mapping={"text": "", "topic": ""})
    redis.hset(KEYS.post("2"), "text", b"\xff?")
    shelf.restock(view())
    assert shelf.take(feed("1 2"), limit=2) == {"1": "g1/1//", "2": "g1/2/\ufffd?/"}


def test_a_post_is_read_once(redis: FakeRedis, shelf: PostShelf[str]) -> None:
    put_posts(redis, "123")
    shelf.restock(view())
    shelf.take(feed("1 2"), limit=2)
    with patch.object(redis, "pipeline", wraps=redis.pipeline) as pipeline:
        shelf.take(feed("2 1"), limit=2)
        assert pipeline.call_count == 0
        shelf.take(feed("1 2 3"), limit=3)
        assert pipeline.call_count == 1


def test_the_next_posts_of_the_feed_stand_in_for_those_that_are_gone(redis: FakeRedis, shelf: PostShelf[str]) -> None:
    put_posts(redis, "1356")
    shelf.restock(view())
    assert shown(shelf.take(feed("1 2 3", rest="4 5 6"), limit=3)) == "1 3 5"
    assert shown(shelf.take(feed("1 2 3", rest="4"), limit=3)) == "1 3"


def test_what_the_user_acted_on_does_not_stand_in_for_a_post_that_is_gone(
    redis: FakeRedis, shelf: PostShelf[str]
) -> None:
    put_posts(redis, "1345")
    Generation(users={"7": {0: "1 2"}}, popular={0: "3 4 5"}, user_acted={"7": "3 5"}).publish(redis)
    found = Lookup(redis, KEYS, on_view=shelf.restock).feed("7", FIRST, limit=2)
    assert found.post_ids == ["1", "2"]
    assert shown(shelf.take(found, limit=3)) == "1 4"


def test_a_post_that_is_gone_is_asked_for_once_a_generation(redis: FakeRedis, shelf: PostShelf[str]) -> None:
    shelf.restock(view())
    assert shelf.take(feed("1"), limit=1) == {}
    put_posts(redis, "1")
    assert shelf.take(feed("1"), limit=1) == {}
    shelf.restock(view("g2"))
    assert shelf.take(feed("1"), limit=1) == {"1": "g2/1/text of 1/topic of 1"}


def test_a_new_generation_clears_the_shelf(redis: FakeRedis, shelf: PostShelf[str]) -> None:
    put_posts(redis, "1")
    shelf.restock(view())
    shelf.take(feed("1"), limit=1)
    redis.hset(KEYS.post("1"), "text", "edited")
    shelf.restock(view("g2"))
    assert shelf.take(feed("1"), limit=1) == {"1": "g2/1/edited/topic of 1"}


def test_while_redis_is_away_known_posts_and_the_popular_ones_are_shown(
    redis: FakeRedis, server: FakeServer, shelf: PostShelf[str]
) -> None:
    put_posts(redis, "12345")
    shelf.restock(view(popular="4 5"))
    shelf.take(feed("1"), limit=1)
    server.connected = False
    assert shown(shelf.take(feed("1 2 3", rest="4 5"), limit=3)) == "1 4 5"
    assert shown(shelf.take(feed("4 2", rest="5", rung="memory"), limit=2)) == "4 5"
    server.connected = True
    assert shown(shelf.take(feed("1 2 3"), limit=3)) == "1 2 3"


def test_a_feed_from_memory_asks_redis_for_nothing(redis: FakeRedis, shelf: PostShelf[str]) -> None:
    put_posts(redis, "1")
    shelf.restock(view())
    assert shelf.take(feed("1", rung="memory"), limit=1) == {}


def test_a_full_shelf_begins_anew_with_the_popular_posts(redis: FakeRedis) -> None:
    shelf = PostShelf(redis, KEYS, as_text, most=4)
    put_posts(redis, "1234567")
    shelf.restock(view(popular="6 7"))
    shelf.take(feed("1 2"), limit=2)
    assert shown(shelf.take(feed("1 2 3"), limit=3)) == "1 2 3"
    assert set(shelf._posts) == {"6", "7", "3"}
