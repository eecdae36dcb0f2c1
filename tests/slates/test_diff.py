"""Two small generations, and how they differ, worked out by hand; on a real Redis."""

from dataclasses import replace
from urllib.parse import urlsplit

import pytest
from published import Generation, put_packed
from redis import Redis

from slates.client import connect
from slates.diff import Difference, Moved, compare
from slates.errors import CodecError, SlatesError
from slates.generations import read_manifest
from slates.keys import Keys
from slates.sample import sample_users

BEFORE = Generation(
    "before",
    hours=2,
    users={"1": {0: "1 2 3 4", 1: "1 2"}, "2": {0: "1 2 3 4 5 6"}, "3": {0: "1"}},
    manifest={"state": "superseded"},
)
AFTER = Generation(
    "after",
    hours=2,
    users={"1": {0: "4 3 2 9", 1: "7 8"}, "2": {0: "1 2 4 3 5 6"}, "4": {0: "1"}},
    manifest={"seq": 2, "previous": "before"},
)
POSTS = [str(number) for number in range(1, 10)]
BY_HAND = Difference(
    before="before",
    after="after",
    users=2,
    only_before=1,
    only_after=1,
    hours=2,
    overlap=0.5833,  # (3/4 + 0 + 1) / 3; the empty hour of user 2 does not count
    churn=0.3333,  # only the second hour of user 1 has nothing in common
    order=-0.0286,  # (-1 for 4 3 2, and 1 - 6 * 2 / (6 * 35) for two neighbours that changed places) / 2
    posts_before=6,
    posts_after=9,
    top_before=1.0,
    top_after=1.0,
    overlap_by_bucket={"2021-12-20T00": 0.875, "2021-12-20T01": 0.0},
    churn_by_bucket={"2021-12-20T00": 0.0, "2021-12-20T01": 1.0},
    overlap_by_user=[0, 0, 0, 1, 0, 0, 0, 0, 0, 1],
    risen=[Moved("7", 0.0, 0.3333), Moved("8", 0.0, 0.3333), Moved("9", 0.0, 0.3333)],
    fallen=[Moved("1", 1.0, 0.3333), Moved("2", 1.0, 0.6667)],
)


def difference(redis: Redis, before: str = "before", after: str = "after") -> Difference:
    old, new = read_manifest(redis, Keys(), before), read_manifest(redis, Keys(), after)
    assert old is not None
    assert new is not None
    return compare(redis, Keys(), old, new, ["1", "2", "3", "4", "5"])


def put(redis: Redis, generation: Generation, codec: str) -> None:
    if codec == "packed":
        put_packed(redis, generation, POSTS)
    else:
        generation.publish(redis)


@pytest.mark.parametrize("codecs", [("ids", "ids"), ("packed", "packed"), ("ids", "packed"), ("packed", "ids")])
def test_two_generations_of_any_codecs_differ_as_worked_out_by_hand(
    redis_client: Redis, codecs: tuple[str, str]
) -> None:
    put(redis_client, BEFORE, codecs[0])
    put(redis_client, AFTER, codecs[1])
    assert difference(redis_client) == BY_HAND


def test_a_generation_does_not_differ_from_itself(redis_client: Redis) -> None:
    BEFORE.publish(redis_client)
    found = difference(redis_client, "before", "before")
    assert (found.users, found.overlap, found.churn, found.order) == (3, 1.0, 0.0, 1.0)
    assert (found.risen, found.fallen) == ([], [])


def test_only_the_hours_that_both_have_are_compared(redis_client: Redis) -> None:
    BEFORE.publish(redis_client)
    replace(AFTER, first=AFTER.first + 1, users={"1": {1: "2 1", 2: "1 2"}}).publish(redis_client)
    found = difference(redis_client)
    assert (found.hours, found.overlap, list(found.overlap_by_bucket)) == (1, 1.0, ["2021-12-20T01"])
    replace(AFTER, first=AFTER.first + 9, users={"1": {9: "2 1"}}).publish(redis_client)
    found = difference(redis_client)
    assert (found.users, found.hours, found.overlap, found.churn, found.order) == (1, 0, None, None, None)


def test_longer_slates_are_cut_to_the_posts_that_both_have(redis_client: Redis) -> None:
    replace(BEFORE, users={"1": {0: "1 2 3 4"}}).publish(redis_client)
    replace(AFTER, users={"1": {0: "1 3 2 4"}}, manifest={**AFTER.manifest, "top_n": 2}).publish(redis_client)
    assert difference(redis_client).overlap == 0.5


def test_what_is_no_packed_slate_is_a_codec_error(redis_client: Redis) -> None:
    put_packed(redis_client, BEFORE, POSTS)
    AFTER.publish(redis_client)
    redis_client.set(Keys().user("before", "1"), b"\x01")
    with pytest.raises(CodecError, match="is not 2 × 20 packed posts"):
        difference(redis_client)
    redis_client.delete(Keys().posts("before"))
    with pytest.raises(CodecError, match="lists 0 posts, not 9"):
        difference(redis_client)


@pytest.mark.parametrize("prefix", ["hourfeed", "a[b]*?-^\\c"])
def test_a_sample_holds_users_of_that_generation_alone(redis_client: Redis, prefix: str) -> None:
    keys = Keys(prefix)
    ids = {"eu:anna smith", "Анна", *map(str, range(40))}
    Generation("g", users={user_id: {0: "1"} for user_id in ids}).publish(redis_client, keys)
    Generation("gg", users={"other": {0: "1"}}).publish(redis_client, keys)
    Generation("g", users={"stranger": {0: "1"}}).publish(redis_client, Keys("aXb"))
    assert set(sample_users(redis_client, keys, "g", 1_000)) == ids
    some = sample_users(redis_client, keys, "g", 10)
    assert len(some) == len(set(some)) == 10
    assert sample_users(redis_client, keys, "g", 10) == some
    assert sample_users(redis_client, keys, "none", 10) == []


def test_a_user_of_redis_who_may_not_list_keys_is_told_so(redis_client: Redis, redis_url: str) -> None:
    BEFORE.publish(redis_client)
    redis_client.acl_setuser("guest", enabled=True, passwords=["+secret"], keys=["*"], commands=["+@all", "-scan"])
    try:
        guest = urlsplit(redis_url)
        url = guest._replace(netloc=f"guest:secret@{guest.hostname}:{guest.port}").geturl()
        with connect(url) as client, pytest.raises(SlatesError, match=r"allow it \+scan"):
            sample_users(client, Keys(), "before", 10)
    finally:
        redis_client.acl_deluser("guest")
