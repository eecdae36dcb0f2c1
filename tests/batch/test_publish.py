from collections import Counter
from typing import cast
from urllib.parse import unquote

import numpy as np
import pytest
from numpy.typing import NDArray
from redis import Redis

from batch import publish
from batch.encode import IdsEncoder
from batch.publish import (
    Shared,
    acted_in_shared,
    bucket_fields,
    post_rows,
    shared_rows,
    similar_strings,
    unlink_old,
    user_entries,
)
from batch.slate import ActedOn, Chunk
from batch.tables import Events, Posts, Tables, Users
from slates.bucket import parse_bucket
from slates.keys import Keys

KEYS = Keys()
NAMES = ["2021122015", "2021122016"]
POSTS = ("7", "with space", "a:b", "100%", "пост", "{x}", "%20")
USERS = ("1", "Ann Lee", "u:2", "50%", "ключ")


def ids_of(names: tuple[str, ...]) -> NDArray[np.object_]:
    return np.array(names, dtype=object)


def make_posts(names: tuple[str, ...] = POSTS) -> Posts:
    n_posts = len(names)
    text, topic, author = (np.full(n_posts, word, dtype=object) for word in ("a text", "a topic", ""))
    times = np.zeros(n_posts)
    return Posts(ids_of(names), text, topic, author, np.zeros(n_posts, dtype=bool), times, times)


def make_tables(users: tuple[str, ...] = USERS) -> Tables:
    none = np.zeros(0, dtype=np.int64)
    events = Events(none, none.astype(np.int32), none.astype(np.int32), none.astype(np.int8))
    return Tables(Users(ids_of(users), {}), make_posts(), events, ("view",), np.array([1]), 0, 0)


def make_shared(segment_of_user: tuple[int, ...] = (0, 1, -1, 0, 1)) -> Shared:
    return Shared(
        np.array([4, 1]), [np.array([2]), np.array([3, 0])], ["young", "old & wise"], np.array(segment_of_user)
    )


def make_acted(*of_users: list[int]) -> ActedOn:
    posts = np.array([post for of_user in of_users for post in of_user], dtype=np.int64)
    return ActedOn(np.cumsum([0, *map(len, of_users)]), posts)


NOBODY_ACTED = make_acted(*[[]] * 5)


def slates(*of_users: list[list[int]]) -> NDArray[np.int32]:
    return np.array(of_users, dtype=np.int32)


def key_of(user_id: str) -> str:
    return KEYS.user("g", user_id)


ENCODER = IdsEncoder(make_posts(), NAMES, ttl_s=3600)


def rows_of(chunk: Chunk, shared: Shared, acted: ActedOn) -> list[tuple[str, dict[str, bytes]]]:
    """What the entries of a chunk write."""
    entries = list(user_entries(chunk, make_tables().users, shared, acted, key_of, ENCODER))
    stored = [cast("dict[bytes, bytes]", entry.stored()) for entry in entries]
    fields = [{name.decode(): value for name, value in hash_.items()} for hash_ in stored]
    return [(entry.key, found) for entry, found in zip(entries, fields, strict=True)]


def test_a_users_hash_holds_a_slate_for_each_bucket_and_the_segment_if_there_is_one() -> None:
    chunk = Chunk(1, slates([[0, 2], [2, 0]], [[0, -1], [-1, -1]]))
    assert rows_of(chunk, make_shared(), NOBODY_ACTED) == [
        (
            "hourfeed:gen:g:user:Ann%20Lee",
            {"2021122015": b"7 a%3Ab", "2021122016": b"a%3Ab 7", "segment": b"old & wise"},
        ),
        ("hourfeed:gen:g:user:u%3A2", {"2021122015": b"7", "2021122016": b""}),
    ]


def test_a_users_hash_holds_what_is_in_shared_slates_and_not_to_be_shown_if_there_is_any() -> None:
    chunk = Chunk(1, slates([[0], [2]], [[0], [-1]]))
    acted = make_acted([6], [3, 1], [], [0], [])
    rows = rows_of(chunk, make_shared(), acted)
    assert [fields.get("acted") for _, fields in rows] == [b"100%25 with%20space", None]


@pytest.mark.parametrize("users_at_once", [1, 2, 5, 4096])
def test_acted_on_posts_are_cut_down_to_the_popular_slate_and_the_segments_own(
    users_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # popular 4 1; young 2; old & wise 3 0; nowhere 5 6
    monkeypatch.setattr(publish, "_USERS", users_at_once)
    everything = [0, 1, 2, 3, 4, 5, 6]
    acted = make_acted(everything, everything, everything, [0, 3, 5, 6], [0, 5])
    found = acted_in_shared(acted, make_shared((0, 1, -1, 0, 1)), len(POSTS))
    of_users = [found.post[found.begin[user] : found.begin[user + 1]].tolist() for user in range(5)]
    assert of_users == [[1, 2, 4], [0, 1, 3, 4], [1, 4], [], [0]]


def test_nobody_acting_and_no_users_at_all_are_fine() -> None:
    found = acted_in_shared(NOBODY_ACTED, make_shared(), len(POSTS))
    assert (found.begin.tolist(), found.post.tolist()) == ([0] * 6, [])
    found = acted_in_shared(make_acted(), make_shared(()), len(POSTS))
    assert (found.begin.tolist(), found.post.tolist()) == ([0], [])


def test_every_user_of_all_chunks_gets_a_key_that_names_them_alone() -> None:
    chunks = [Chunk(0, slates(*[[[0], [0]]] * 3)), Chunk(3, slates(*[[[0], [0]]] * 2))]
    shared, acted = make_shared(), make_acted([0], [], [1, 2], [], [])
    rows = [row for chunk in chunks for row in rows_of(chunk, shared, acted)]
    assert [unquote(key.removeprefix("hourfeed:gen:g:user:")) for key, _ in rows] == list(USERS)
    assert all(key.count(":") == 4 and " " not in key and key.isascii() for key, _ in rows)
    # 5 users × 2 buckets, 4 of the users have a segment, and 2 have acted: what `verify` is told to expect.
    assert sum(len(fields) for _, fields in rows) == 5 * 2 + 4 + 2
    assert Counter("segment" in fields for _, fields in rows) == {True: 4, False: 1}


def test_shared_slates_are_the_same_for_every_bucket() -> None:
    rows = dict(shared_rows(KEYS, "g", make_posts(), make_shared(), NAMES))
    assert rows == {
        "hourfeed:gen:g:popular": dict.fromkeys(NAMES, b"%D0%BF%D0%BE%D1%81%D1%82 with%20space"),
        "hourfeed:gen:g:segment:young": dict.fromkeys(NAMES, b"a%3Ab"),
        "hourfeed:gen:g:segment:old%20&%20wise": dict.fromkeys(NAMES, b"100%25 7"),
    }
    assert sum(len(fields) for fields in rows.values()) == 2 * (1 + 2)  # what `verify` is told to expect


def test_a_posts_hash_holds_text_and_topic_of_the_wanted_posts_alone() -> None:
    assert list(post_rows(KEYS, make_posts(), np.array([2, 0]))) == [
        ("hourfeed:post:a%3Ab", {"text": "a text", "topic": "a topic"}),
        ("hourfeed:post:7", {"text": "a text", "topic": "a topic"}),
    ]


def test_buckets_are_named_over_midnight() -> None:
    assert bucket_fields(parse_bucket("2021-12-31T23"), 2) == ["2021123123", "2022010100"]


def test_unlinking_reaches_the_keys_of_users_and_segments_with_any_name(redis_client: Redis) -> None:
    tables, shared = make_tables(), make_shared()
    for seq in (1, 2, 3):
        generation = f"g{seq}"
        rows = [
            *((KEYS.user(generation, user_id), {NAMES[0]: b"7"}) for user_id in USERS),
            *shared_rows(KEYS, generation, tables.posts, shared, NAMES),
            (KEYS.generation(generation), {"state": "superseded", "seq": str(seq), "previous": f"g{seq - 1}"}),
        ]
        for key, fields in rows:
            redis_client.hset(key, items=[part for pair in fields.items() for part in pair])
        strings = dict(similar_strings(KEYS, generation, tables.posts, np.arange(2), [np.array([1]), np.array([0])]))
        for name, value in strings.items():
            redis_client.set(name, value)
        redis_client.zadd(KEYS.generations, {generation: seq})
        assert (len(rows), len(strings)) == (9, 2)
    redis_client.set(KEYS.current, "g3")
    assert unlink_old(redis_client, KEYS, 2, tables, shared.segment_names, 3) == ["g1"]
    left = Counter(key.decode().split(":")[2] for key in redis_client.scan_iter("hourfeed:gen:*"))
    assert left == {"g2": 11, "g3": 11}
