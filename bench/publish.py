"""Publishing at the reference scale: slates a second, bytes a slate by Redis's own figures, and what readers notice.

Slates are drawn at random, since how they were picked makes no difference to Redis: `python -m bench.publish`. The
limit is the same commands, made beforehand, through a bare socket.
"""

import argparse
import contextlib
import gc
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from redis import Redis

from batch import publish
from batch.encode import IdsEncoder, PackedEncoder, UserEncoder
from batch.slate import ActedOn, Chunk
from batch.tables import Posts, Users
from bench.figures import conclude, read_targets
from demo.services import hold_redis
from slates import packed
from slates.bucket import bucket_of
from slates.client import connect
from slates.codec import CODEC as IDS
from slates.generations import GenerationWriter, new_generation_id, retire
from slates.keys import Keys
from slates.lock import RunLock
from slates.manifest import Manifest

CODECS = (IDS, packed.CODEC)
AS_OF = datetime(2021, 12, 20, 15, tzinfo=UTC)
HOURS, TOP_N, N_POSTS, LAST_ID = 24, 20, 7_023, 7_319
TTL_S = 72 * 3600.0
CHUNK = 1_120
"""Users at once, as many as a run has with that catalogue."""
AT_ONCE = 500
"""Users in one round trip."""
IDLE_S = 5.0
READER = """
import sys, time
from slates.client import connect
from slates.lookup import Lookup
from slates.keys import Keys
lookup, users, bucket = Lookup(connect(sys.argv[1]), Keys()), int(sys.argv[2]), int(sys.argv[3])
turn = 0
lookup.feed("0", bucket, 5)
print("ready", flush=True)
while True:
    turn += 1
    begun = time.perf_counter()
    lookup.feed(str(turn * 7919 % users), bucket + turn % 24, 5)
    took = time.perf_counter() - begun
    sys.stdout.write(f"{begun:.6f} {took:.7f}\\n")
    time.sleep(0.002)
"""


@dataclass(frozen=True)
class World:
    """Users and posts of the reference scale, and a chunk of slates for each turn."""

    users: Users
    posts: Posts
    shared: publish.Shared
    acted: ActedOn

    def chunks(self, seed: int) -> Iterator[Chunk]:
        """Yield random slates of all users."""
        rng = np.random.default_rng(seed)
        for begin in range(0, len(self.users.ids), CHUNK):
            size = min(CHUNK, len(self.users.ids) - begin)
            yield Chunk(begin, rng.integers(0, N_POSTS, (size, HOURS, TOP_N), dtype=np.int32))


def make_world(n_users: int) -> World:
    """Return users with ids from 0 on and one of 48 segments, a third of whom have acted on popular posts."""
    rng = np.random.default_rng(7)
    ids = np.sort(rng.choice(np.arange(1, LAST_ID + 1), N_POSTS, replace=False))
    empty, zeros = np.full(N_POSTS, "", dtype=object), np.zeros(N_POSTS)
    posts = Posts(ids, empty, empty, empty, zeros.astype(bool), zeros, zeros)
    names = [f"gender={gender}&age={age}..{age + 4}" for gender in range(2) for age in range(14, 62, 2)]
    slates = [rng.choice(N_POSTS, 100, replace=False) for _ in range(len(names) + 1)]
    shared = publish.Shared(slates[0], slates[1:], names, rng.integers(0, len(names), n_users))
    begin = np.concatenate(([0], np.cumsum(rng.integers(0, 4, n_users) * (rng.random(n_users) < 1 / 3))))
    return World(Users(np.arange(n_users), {}), posts, shared, ActedOn(begin, rng.choice(slates[0], begin[-1])))


@dataclass
class Timing:
    """Seconds of one generation, and Redis's memory around it."""

    encode_s: float = 0.0
    write_s: float = 0.0
    verify_s: float = 0.0
    server_cpu_s: float = 0.0
    client_cpu_s: float = 0.0
    bytes: int = 0


def publish_one(redis: Redis, keys: Keys, world: World, codec: str) -> Timing:
    """Publish a generation and make it live; slates are drawn outside what is timed."""
    timing = Timing(server_cpu_s=server_cpu_s(redis))
    before = used_memory(redis)
    with RunLock(redis, keys) as lock:
        manifest = manifest_of(world, lock.seq, codec)
        writer = GenerationWriter(redis, keys, lock, manifest, ttl_s=TTL_S)
        writer.begin()
        names = publish.bucket_fields(manifest.first_bucket, HOURS)
        writer.write_shared(publish.shared_rows(keys, manifest.id, world.posts, world.shared, names))
        encoder = encoder_of(world, manifest)
        if codec == packed.CODEC:
            writer.write_list_of_posts(map(str, world.posts.ids))
        key_of = partial(keys.user, manifest.id)
        for shard, chunk in enumerate(world.chunks(lock.seq)):
            begun, cpu_begun = time.perf_counter(), time.process_time()
            entries = list(publish.user_entries(chunk, world.users, world.shared, world.acted, key_of, encoder))
            encoded = time.perf_counter()
            writer.write_shard(shard, entries)
            timing.encode_s += encoded - begun
            timing.write_s += time.perf_counter() - encoded
            timing.client_cpu_s += time.process_time() - cpu_begun
        timing.bytes = used_memory(redis) - before
        timing.server_cpu_s = server_cpu_s(redis) - timing.server_cpu_s
        begun = time.perf_counter()
        writer.verify(writer.written.values)
        timing.verify_s = time.perf_counter() - begun
        writer.flip(manifest)
    return timing


def bare_protocol_s(redis: Redis, keys: Keys, world: World, codec: str) -> float:
    """Return the seconds that the same commands take, all made beforehand, by a bare socket: the protocol's limit.

    The keys are removed again.
    """
    manifest = replace(manifest_of(world, 1, codec), id="bare")
    encoder = encoder_of(world, manifest)
    key_of = partial(keys.user, manifest.id)
    sent, names, replies = [], [], 0
    for chunk in world.chunks(0):
        entries = list(publish.user_entries(chunk, world.users, world.shared, world.acted, key_of, encoder))
        sent += [b"".join(entry.commands for entry in entries[at : at + AT_ONCE]) for at in range(0, CHUNK, AT_ONCE)]
        replies += sum(entry.replies for entry in entries)
        names += [entry.key for entry in entries]
    connection: Any = redis.connection_pool.get_connection()
    try:
        connection.connect()
        socket = connection._sock  # noqa: SLF001 - the bare socket, with nothing of the client in between
        marker = b"hourfeed-bench-end"
        begun = time.perf_counter()
        with ThreadPoolExecutor(1) as reader:
            read = reader.submit(_read_until, socket, marker)
            for commands in sent:
                socket.sendall(commands)
            socket.sendall(b"*2\r\n$4\r\nECHO\r\n$%d\r\n%s\r\n" % (len(marker), marker))
            read.result()
        seconds = time.perf_counter() - begun
    finally:
        connection.disconnect()
        redis.connection_pool.release(connection)
    for begin in range(0, len(names), 1_000):
        redis.unlink(*names[begin : begin + 1_000])
    return seconds


def _read_until(socket: Any, end: bytes) -> None:
    tail = b""
    while end not in tail:
        tail = tail[-len(end) :] + socket.recv(2**20)


def encoder_of(world: World, manifest: Manifest) -> UserEncoder:
    """Return the encoder of the manifest's codec."""
    if manifest.codec == packed.CODEC:
        return PackedEncoder(packed.Layout.of(manifest), np.arange(N_POSTS), N_POSTS, TTL_S)
    return IdsEncoder(world.posts, publish.bucket_fields(manifest.first_bucket, HOURS), TTL_S)


def unlink_all_but_two(redis: Redis, keys: Keys, world: World) -> float:
    """Unlink all but the live generation and the one before it; return the seconds."""
    begun = time.perf_counter()
    retire(redis, keys, keep=1, user_ids=map(str, world.users.ids), segments=world.shared.segment_names)
    return time.perf_counter() - begun


def manifest_of(world: World, seq: int, codec: str) -> Manifest:
    """Return the manifest of a generation that is being written."""
    first, n_users = bucket_of(AS_OF), len(world.users.ids)
    return Manifest(
        id=new_generation_id(AS_OF, seq),
        seq=seq,
        state="writing",
        as_of=AS_OF,
        started_at=datetime.now(UTC),
        built_at=None,
        first_bucket=first,
        last_bucket=first + HOURS - 1,
        users=n_users,
        posts=N_POSTS,
        slates=n_users * HOURS,
        segments=len(world.shared.segment_names),
        shards=0,
        top_n=TOP_N,
        slate_bytes=0,
        codec=codec,
        ranker="random",
        user_id_type="integer",
        post_id_type="integer",
    )


def server_cpu_s(redis: Redis) -> float:
    """Return the processor seconds that Redis has taken."""
    cpu = redis.info("cpu")
    return float(cpu["used_cpu_user"] + cpu["used_cpu_sys"])


def await_rewrite(redis: Redis) -> None:
    """Wait until Redis does not rewrite its append-only file: the process that does takes a core."""
    while (told := redis.info("persistence"))["aof_rewrite_in_progress"] or told["aof_rewrite_scheduled"]:
        time.sleep(0.05)


def used_memory(redis: Redis) -> int:
    """Return Redis's figure without buffers, once nothing is left to be freed in the background."""
    while redis.info("memory")["lazyfree_pending_objects"]:
        time.sleep(0.01)
    found = redis.info("memory")
    return int(found["used_memory"] - found["mem_not_counted_for_evict"] - found["mem_clients_normal"])


@contextlib.contextmanager
def reading(url: str, n_users: int, out: Path) -> Iterator[None]:
    """Let a process of its own look feeds up, about 400 a second, and note when and how long each took."""
    with out.open("w") as file:
        argv = [sys.executable, "-c", READER, url, str(n_users), str(bucket_of(AS_OF))]
        reader = subprocess.Popen(argv, stdout=file, env={**os.environ, "OMP_NUM_THREADS": "1"})
    try:
        while "ready" not in out.read_text():
            if reader.poll() is not None:
                msg = "the reader ended before it had read anything"
                raise RuntimeError(msg)
            time.sleep(0.05)
        yield
    finally:
        reader.terminate()
        reader.wait(10)


@contextlib.contextmanager
def niced() -> Iterator[None]:
    """Give way to servers, as a batch beside them should."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    os.nice(10)
    try:
        yield
    finally:
        with contextlib.suppress(PermissionError):  # only the superuser may go back
            os.setpriority(os.PRIO_PROCESS, 0, before)


def p99_ms(out: Path, begin_s: float, end_s: float) -> float:
    """Return the 99th percentile of what began in a span of time, in milliseconds."""
    lines = [line.split() for line in out.read_text().splitlines()[1:-1]]
    took = [float(took) for begun, took in lines if begin_s <= float(begun) < end_s]
    return float(np.percentile(took, 99)) * 1000


def measure(n_users: int, state: Path) -> dict[str, float]:
    """Publish by each codec: alone, for speed and bytes, then beside a reader."""
    world, keys, figures = make_world(n_users), Keys(), dict[str, float]()
    with hold_redis(state) as service, contextlib.closing(connect(service.url, timeout_s=60)) as redis:
        warm = make_world(100)
        for codec in CODECS:
            publish_one(redis, keys, warm, codec)
        for codec in CODECS:
            redis.flushall()
            gc.collect()
            alone = publish_one(redis, keys, world, codec)
            seconds = alone.encode_s + alone.write_s
            bare_s = bare_protocol_s(redis, keys, world, codec)
            figures |= {
                f"{codec}.slates_per_s": round(n_users * HOURS / seconds),
                f"{codec}.bytes_per_slate": round(alone.bytes / (n_users * HOURS), 2),
                f"{codec}.slates_per_cpu_s": round(n_users * HOURS / (alone.client_cpu_s + alone.server_cpu_s)),
                f"{codec}.client_cpu_s": round(alone.client_cpu_s, 2),
                f"{codec}.server_cpu_s": round(alone.server_cpu_s, 2),
                f"{codec}.encode_s": round(alone.encode_s, 2),
                f"{codec}.write_s": round(alone.write_s, 2),
                f"{codec}.verify_s": round(alone.verify_s, 2),
                f"{codec}.limit.slates_per_s": round(n_users * HOURS / bare_s),
                f"{codec}.limit.share": round(bare_s / seconds, 3),
            }
            out = state / f"{codec}.txt"
            await_rewrite(redis)
            with reading(service.url, n_users, out), niced():
                begun = time.perf_counter()
                time.sleep(IDLE_S)  # the reader alone: what is measured
                busy, forks = time.perf_counter(), redis.info("stats")["total_forks"]
                publish_one(redis, keys, world, codec)
                ended, forks = time.perf_counter(), redis.info("stats")["total_forks"] - forks
            publish_one(redis, keys, warm, codec)
            idle_ms, busy_ms = p99_ms(out, begun, busy), p99_ms(out, busy, ended)
            figures |= {
                f"{codec}.unlink_s": round(unlink_all_but_two(redis, keys, world), 2),
                f"{codec}.reader_p99_idle_ms": round(idle_ms, 3),
                f"{codec}.reader_p99_publishing_ms": round(busy_ms, 3),
                f"{codec}.reader_p99_ratio": round(busy_ms / idle_ms, 2),
                f"{codec}.rewrites_meanwhile": forks,
            }
            print(codec, {name: value for name, value in figures.items() if name.startswith(codec)}, flush=True)
    return figures


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; exit status 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=163_205)
    parser.add_argument("--smoke", action="store_true", help="few users, and bytes alone are judged")
    given = parser.parse_args(arguments)
    name, n_users = ("publish_smoke", 4_000) if given.smoke else ("publish", given.users)
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(n_users, Path(folder))
    return conclude(name, {"users": n_users, **figures}, read_targets(name))


if __name__ == "__main__":
    sys.exit(main())
