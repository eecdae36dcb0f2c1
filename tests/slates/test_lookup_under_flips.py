import threading

from published import FIRST, Generation
from redis import Redis

from slates.keys import Keys
from slates.lookup import Feed, Lookup

FLIPS = 60


def numbered(number: int) -> Generation:
    """Make the generation NUMBER, all of whose ids begin with `NUMBER.`."""
    own = " ".join(f"{number}.{place}" for place in range(5))
    return Generation(
        id=str(number),
        users={"7": {0: own}},
        user_segments={"8": "young"},
        segments={"young": {0: own}},
        popular={0: own},
        manifest={"previous": str(number - 1) if number else ""},
    )


def test_readers_see_whole_generations_while_they_are_flipped_and_unlinked(redis_client: Redis) -> None:
    numbered(0).publish(redis_client)
    lookup = Lookup(redis_client, Keys())
    feeds: list[Feed] = []
    failures: list[Exception] = []
    done = threading.Event()

    def read() -> None:
        try:
            while not done.is_set():
                feeds.extend(lookup.feed(user, FIRST, limit=5) for user in ("7", "8", "9"))
        except Exception as error:  # noqa: BLE001 - told by the test's own thread
            failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(1, FLIPS + 1):
        numbered(number).publish(redis_client)
        numbered(number - 1).unlink(redis_client)
    done.set()
    for reader in readers:
        reader.join()

    assert failures == []
    assert {feed.rung for feed in feeds} <= {"exact", "segment", "popular"}
    for feed in feeds:
        assert feed.post_ids == [f"{feed.generation}.{place}" for place in range(5)]
    assert len({feed.generation for feed in feeds}) > 1
