"""What `hourfeed export` and `hourfeed import` take: `python -m bench.move`; `--users 163205` is the reference scale.

Slates are drawn at random, so they are as hard to pack as slates can be; a post's text has 1.5 kB. Of both codecs:
seconds, processor time and memory of the commands, the file, and keys that differ after the way there and back.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from redis import Redis

from bench.figures import conclude, read_targets
from bench.publish import World, make_world, publish_one
from bench.service import HOURFEED, forget_own_settings
from bench.watched import Taken, watch
from demo.services import hold_redis
from slates.client import connect
from slates.generations import live_generation
from slates.keys import Keys

_USERS = 16_320  # a tenth of the reference scale
_TEXT_BYTES = 1_500


def measure(folder: Path, users: int) -> dict[str, float]:
    """Publish, export and import generations of both codecs."""
    world = make_world(users)
    figures: dict[str, float] = {"users": users}
    with hold_redis(folder) as held, connect(held.url, timeout_s=60) as redis:
        for post_id in map(str, world.posts.ids):
            redis.hset(Keys().post(post_id), mapping={"text": f"{post_id} ".ljust(_TEXT_BYTES, "x"), "topic": "t"})
        for codec in ("ids", "packed"):
            figures |= {
                f"{codec}.{name}": value for name, value in _move(folder, redis, held.url, world, codec).items()
            }
    return figures


def _move(folder: Path, redis: Redis, url: str, world: World, codec: str) -> dict[str, float]:
    publish_one(redis, Keys(), world, codec)
    file = folder / codec

    def run(*words: str, prefix: str = "hourfeed") -> Taken:
        there = {**os.environ, "REDIS_URL": url, "HOURFEED_STATE": str(folder), "HOURFEED_PREFIX": prefix}
        return watch([HOURFEED, *words], there, folder)

    taken = {
        "export": run("export", str(file)),
        "check": run("import", str(file), "--check"),
        "import": run("import", str(file), prefix="other"),
    }
    figures: dict[str, float] = {"file_mb": file.stat().st_size / 1e6}
    for name, one in taken.items():
        figures |= {f"{name}.wall_s": one.wall_s, f"{name}.cpu_s": one.cpu_s, f"{name}.peak_mb": one.peak_bytes / 1e6}
    figures["differing_keys"] = _differing(redis)
    return figures


def _differing(redis: Redis) -> int:
    """Count users whose values are not the same here and there."""
    here, there = live_generation(redis, Keys()), live_generation(redis, Keys("other"))
    assert here is not None  # noqa: S101 - it was published
    assert there is not None  # noqa: S101
    read: Any = redis.get if here.codec == "packed" else redis.hgetall
    users = [str(user) for user in range(here.users)]
    return sum(read(Keys().user(here.id, user)) != read(Keys("other").user(there.id, user)) for user in users)


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=_USERS)
    chosen = parser.parse_args(arguments)
    forget_own_settings()
    with tempfile.TemporaryDirectory() as folder:
        return conclude("move", measure(Path(folder), chosen.users), read_targets("move"))


if __name__ == "__main__":
    sys.exit(main())
