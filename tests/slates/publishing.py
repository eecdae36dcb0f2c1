"""What the tests of publishing share: small generations whose slates name their generation, and bad connections."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, ClassVar, cast

from redis import Connection, ConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry

from slates.bucket import bucket_of
from slates.generations import GenerationWriter, Row, new_generation_id
from slates.keys import Keys
from slates.lock import RunLock
from slates.manifest import Manifest
from slates.standing import read_standing

KEYS = Keys()
AS_OF = datetime(2021, 12, 20, 15, tzinfo=UTC)
FIRST_BUCKET = bucket_of(AS_OF)
BUCKETS = ("2021122015", "2021122016")
USERS = tuple(f"u{number}" for number in range(10))
FIELDS = 10 * 3 + 2 + 2
"""Ten users with two slates and a segment each, two popular slates, two of the segment."""
LASTING = {"hourfeed:current", "hourfeed:generations", "hourfeed:seq"}
"""The keys of the contract that have no TTL."""


def manifest_of(seq: int, **changes: Any) -> Manifest:
    manifest = Manifest(
        id=new_generation_id(AS_OF, seq),
        seq=seq,
        state="writing",
        as_of=AS_OF,
        started_at=datetime(2021, 12, 20, 15, 0, seq % 60, tzinfo=UTC),
        built_at=None,
        first_bucket=FIRST_BUCKET,
        last_bucket=FIRST_BUCKET + 1,
        users=10,
        posts=2,
        slates=20,
        segments=1,
        shards=2,
        top_n=2,
        slate_bytes=0,
        codec="ids",
        ranker="newest",
        user_id_type="string",
        post_id_type="string",
    )
    return replace(manifest, **changes)


def slate_of(generation: str, user_id: str, bucket: str) -> list[str]:
    return [f"{generation}/{user_id}/{bucket[-2:]}/a", f"{generation}/{user_id}/{bucket[-2:]}/b"]


def rows_of(generation: str, user_ids: tuple[str, ...] = USERS) -> list[Row]:
    return [
        (
            KEYS.user(generation, user_id),
            {**{bucket: " ".join(slate_of(generation, user_id, bucket)) for bucket in BUCKETS}, "segment": "s"},
        )
        for user_id in user_ids
    ]


def write(redis: Redis, lock: RunLock, *, ttl_s: float = 3600, **changes: Any) -> GenerationWriter:
    """Write a whole generation, two shards of five users and the shared slates, up to before `verify`."""
    manifest = manifest_of(changes.pop("seq", lock.seq), **changes)
    writer = GenerationWriter(redis, KEYS, lock, manifest, ttl_s=ttl_s, batch=3)
    writer.begin()
    writer.write_posts([(KEYS.post("p"), {"text": "t", "topic": "o"})])
    shared = dict.fromkeys(BUCKETS, f"{manifest.id}/popular")
    writer.write_shared([(KEYS.popular(manifest.id), shared), (KEYS.segment(manifest.id, "s"), shared)])
    writer.write_shard(0, rows_of(manifest.id, USERS[:5]))
    writer.write_shard(1, rows_of(manifest.id, USERS[5:]))
    return writer


def publish(redis: Redis, **changes: Any) -> Manifest:
    with RunLock(redis, KEYS, wait_s=20) as lock:
        writer = write(redis, lock, **changes)
        writer.verify(FIELDS)
        return writer.flip(writer.manifest)


def leave_half_written(redis: Redis) -> str:
    """Leave what a run leaves that is killed between its two shards; return the generation's id."""
    with RunLock(redis, KEYS) as lock:
        writer = GenerationWriter(redis, KEYS, lock, manifest_of(lock.seq), ttl_s=3600, batch=3)
        writer.begin()
        writer.write_shard(0, rows_of(writer.manifest.id, USERS[:5]))
        return writer.manifest.id


def keys_in(redis: Redis) -> set[str]:
    return {key.decode() for key in redis.scan_iter()}


def keys_without_ttl(redis: Redis) -> set[str]:
    return {key for key in keys_in(redis) if redis.ttl(key) == -1}


def stored(redis: Redis, generation: str) -> dict[str, Any]:
    """All hashes of a generation's users, as they lie in Redis."""
    return {user_id: redis.hgetall(KEYS.user(generation, user_id)) for user_id in USERS}


def states(redis: Redis) -> dict[int, str]:
    """The state of each registered generation, by its run."""
    names = cast("list[bytes]", redis.zrange(KEYS.generations, 0, -1))
    found = [read_standing(redis, KEYS, name.decode()) for name in names]
    return {standing.seq: standing.state for standing in found}


class LossyConnection(Connection):
    """Loses the answer to the next request that holds `lose`, after the server has carried it out."""

    lose: ClassVar[bytes] = b""
    _losing = False

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        command = [command] if isinstance(command, (bytes, str)) else list(command)
        super().send_packed_command(command, check_health)  # type: ignore[no-untyped-call]
        if LossyConnection.lose and LossyConnection.lose in b"".join(command):
            LossyConnection.lose = b""
            self._losing = True

    def read_response(self, *args: Any, **options: Any) -> Any:
        response = super().read_response(*args, **options)
        if self._losing:
            self._losing = False
            while self.can_read(0.2):
                super().read_response(*args, **options)
            self.disconnect()  # type: ignore[no-untyped-call]
            raise RedisConnectionError("the answer was lost")
        return response


@contextmanager
def lossy_client(url: str) -> Iterator[Redis]:
    pool = ConnectionPool.from_url(url, connection_class=LossyConnection, protocol=2, retry=Retry(NoBackoff(), 3))
    with Redis(connection_pool=pool) as client:
        yield client
    pool.disconnect()
