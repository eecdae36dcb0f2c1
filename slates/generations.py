"""Generations: tell which there are, go back to an earlier one, unlink the old. slates.writer makes them."""

import itertools
import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from redis import Redis
from redis.exceptions import RedisError, WatchError

from slates.batches import batches
from slates.cluster import control
from slates.entry import Row, expiry_s
from slates.errors import CodecError, NoGenerationError, SlatesError
from slates.keys import Keys
from slates.manifest import Manifest
from slates.refusal import refusal_explained
from slates.resp import command
from slates.standing import names_by_run, read_live_id, read_standing
from slates.wire import send
from slates.writer import GenerationWriter

__all__ = [
    "GenerationWriter",
    "Row",
    "execute_unless_published",
    "expiry_s",
    "list_generations",
    "listpack_warning",
    "live_generation",
    "made_since",
    "new_generation_id",
    "read_manifest",
    "release",
    "retire",
    "rollback",
]

_log = logging.getLogger(__name__)
_CLOCKS_DIFFER = timedelta(minutes=1)
"""How far the clocks of two machines may be apart before their ticks are no longer taken for the same."""


def live_generation(redis: Redis, keys: Keys) -> Manifest | None:
    """Return the live generation's manifest, None where nothing is live (or where it has expired)."""
    live_id = read_live_id(redis, keys)
    return read_manifest(redis, keys, live_id) if live_id else None


def read_manifest(redis: Redis, keys: Keys, generation: str) -> Manifest | None:
    """Return a generation's manifest, None when Redis holds none of that id; CodecError when it cannot be read."""
    raw = cast("dict[bytes, bytes]", redis.hgetall(keys.generation(generation)))
    try:
        return Manifest.from_hash(raw) if raw else None
    except CodecError as error:
        msg = f"generation {generation}: {error}"
        raise CodecError(msg) from error


def list_generations(redis: Redis, keys: Keys) -> list[Manifest]:
    """Return the manifests that Redis still holds, newest run first; unreadable ones are logged and passed over."""
    found: list[Manifest | None] = []
    for name in names_of_generations(redis, keys):
        try:
            found.append(read_manifest(redis, keys, name))
        except CodecError as error:
            _log.warning("a generation is passed over: %s", error)
    # By the fencing number, as the times of clocks, which the sorted set has, may be set back.
    return sorted((manifest for manifest in found if manifest is not None), key=lambda manifest: -manifest.seq)


def made_since(
    redis: Redis, keys: Keys, moment: datetime, now: datetime, *, full: bool = False, blocked: bool = True
) -> Manifest | None:
    """Return a generation that was published as of `moment` or later, with `full` by a full run; None without one.

    One that a guard has `blocked` counts too, unless that is off: the same run once more would be blocked once more.
    One as of later than `now`, and more than clocks may differ, does not count: a clock was wrong when it was made.
    """
    states = {"live", "superseded", "rolled_back", *(("blocked",) if blocked else ())}
    for manifest in list_generations(redis, keys):
        in_time = moment <= manifest.as_of <= now + _CLOCKS_DIFFER
        if in_time and manifest.state in states and (manifest.run == "full" or not full):
            return manifest
    return None


def rollback(redis: Redis, keys: Keys, to: str | None = None) -> Manifest:
    """Make an earlier generation live again: `to`, or by default the one that was live before; return its manifest.

    Raises NoGenerationError when it cannot be served, SlatesError when a run publishes at the same instant.
    """
    with refusal_explained(), control(redis, keys).pipeline() as transaction:
        pipeline = cast("Any", transaction)
        pipeline.watch(keys.current)
        live_id = read_live_id(pipeline, keys)
        pipeline.watch(keys.generation(live_id))
        live = read_standing(pipeline, keys, live_id)
        target_id = to or live.previous
        pipeline.watch(keys.generation(target_id))
        target = read_manifest(redis, keys, target_id) if target_id else None
        if target is None or target.state in {"writing", "complete", "blocked"}:
            raise NoGenerationError(_why_not(redis, keys, target_id))
        if target_id == live_id:
            return target
        pipeline.multi()
        # A candidate has followed nothing yet; what it takes the place of must stay to go back to.
        follows = live_id if target.state == "candidate" else target.previous
        pipeline.hset(keys.generation(target_id), mapping={"state": "live", "previous": follows})
        if live.state:
            pipeline.hset(keys.generation(live_id), "state", "rolled_back")
        pipeline.set(keys.current, target_id)
        execute_unless_published(pipeline, "rolled back")
    return replace(target, state="live", previous=follows)


def release(redis: Redis, keys: Keys, generation: str) -> Manifest:
    """Make a blocked generation live, and return its manifest.

    Raises NoGenerationError when it is not blocked, or older than what is live; SlatesError when a run publishes at the
    same instant.
    """
    with refusal_explained(), control(redis, keys).pipeline() as transaction:
        pipeline = cast("Any", transaction)
        pipeline.watch(keys.current, keys.generation(generation))
        live_id = read_live_id(pipeline, keys)
        if live_id:
            pipeline.watch(keys.generation(live_id))
        live, target = read_standing(pipeline, keys, live_id), read_manifest(redis, keys, generation)
        if target is None or target.state != "blocked" or target.seq < live.seq:
            raise NoGenerationError(_why_not_released(redis, keys, generation, live.seq))
        released = replace(target, state="live", previous=live_id, guards={**target.guards, "released": True})
        pipeline.multi()
        pipeline.hset(keys.generation(generation), mapping=released.to_hash())
        if live.state:
            pipeline.hset(keys.generation(live_id), "state", "superseded")
        pipeline.set(keys.current, generation)
        execute_unless_published(pipeline, "released")
    return released


def execute_unless_published(pipeline: Any, what: str) -> None:
    """Execute a transaction; raise SlatesError, nothing being done, when what it watches has changed meanwhile.

    what : in words, such as "rolled back".
    """
    try:
        pipeline.execute()
    except WatchError as error:
        msg = f"nothing was {what}: a run published at the same instant; see `hourfeed status`, then try again"
        raise SlatesError(msg) from error


def _why_not_released(redis: Redis, keys: Keys, generation: str, live_seq: int) -> str:
    blocked = [m.id for m in list_generations(redis, keys) if m.state == "blocked" and m.seq > live_seq]
    return (
        f"generation {generation!r} is no blocked one that is newer than what is live; Redis holds these: "
        f"{', '.join(blocked) or 'none'}. An earlier generation goes live by `hourfeed rollback`"
    )


def _why_not(redis: Redis, keys: Keys, target_id: str) -> str:
    held = ", ".join(
        m.id for m in list_generations(redis, keys) if m.state in {"candidate", "superseded", "rolled_back"}
    )
    wanted = f"generation {target_id!r} cannot be served" if target_id else "no generation was live before"
    return f"{wanted}; Redis holds these to go back to: {held or 'none'}"


def retire(
    redis: Redis,
    keys: Keys,
    *,
    keep: int,
    user_ids: Iterable[str],
    segments: Iterable[str],
    post_ids: Iterable[str] = (),
    batch: int = 500,
    run: int | None = None,
    spare: Collection[str] = (),
) -> list[str]:
    """Unlink generations beyond the `keep` newest ones, the live one and the one before it; return their ids.

    What runs before `run` (a seq; that of the live generation by default) left half-written goes too, but what is to be
    spared. A blocked one counts as any other, but only the newest stays, and none where the live one and the one before
    it are all. Names of keys come from `user_ids`, `segments` and `post_ids`, never from a SCAN; what they miss ends by
    its TTL.
    """
    live_id = read_live_id(redis, keys)
    live = read_standing(redis, keys, live_id)
    run = live.seq if run is None else run
    kept: list[str] = []
    doomed: list[str] = []
    blocked = keep > len({live_id, live.previous} - {""})  # the newest one, if there is a place for it
    for name, (state, seq, _) in names_by_run(redis, keys):
        if name in spare or (state == "writing" and seq >= run):
            continue  # a newer run is at it: this one lost its lock after it had published
        worth_keeping = state not in {"", "writing"} and len(kept) < keep and (blocked or state != "blocked")
        blocked = blocked and state != "blocked"
        (kept if worth_keeping or name in {live_id, live.previous} else doomed).append(name)
    if not doomed:
        return []
    users, groups, posts = list(user_ids), list(segments), list(post_ids)
    return [name for name in doomed if _unlink(redis, keys, name, users, groups, posts, batch)]


def _unlink(
    redis: Redis,
    keys: Keys,
    name: str,
    user_ids: Sequence[str],
    segments: Sequence[str],
    post_ids: Sequence[str],
    batch: int,
) -> bool:
    """Unlink a generation unless somebody makes it live meanwhile; say whether it went."""
    with control(redis, keys).pipeline() as pipeline:
        cast("Any", pipeline).watch(keys.current)
        if read_live_id(pipeline, keys) == name:
            return False
        pipeline.multi()
        pipeline.unlink(keys.generation(name))  # first: without it nobody can roll back to what is going
        try:
            pipeline.execute()
        except WatchError:
            return False
    owned = [
        keys.popular(name),
        keys.posts(name),
        keys.shards(name),
        *(keys.segment(name, segment) for segment in segments),
        *(keys.similar(name, post_id) for post_id in post_ids),
    ]
    for chunk in batches(itertools.chain(owned, (keys.user(name, user_id) for user_id in user_ids)), batch):
        send(redis, [(key, command(b"UNLINK", key.encode()), 1) for key in chunk])
    redis.zrem(keys.generations, name)  # last: until then the next run finds what this one leaves
    return True


def listpack_warning(redis: Redis, slate_bytes: int) -> str | None:
    """Say what it costs when Redis does not keep slates compact, None when it does or will not tell."""
    try:
        answer = cast("dict[Any, Any]", redis.config_get("hash-max-*-value"))
    except RedisError:
        return None
    limits = [int(value) for value in answer.values()]
    if not limits or max(limits) >= slate_bytes:
        return None
    return (
        f"Redis has hash-max-listpack-value {max(limits)}, a slate takes {slate_bytes} bytes: the slates take about "
        f"1.5 times the memory. Set it with: redis-cli CONFIG SET hash-max-listpack-value {max(128, 2 * slate_bytes)}"
    )


def new_generation_id(as_of: datetime, seq: int) -> str:
    """Name a generation by its as-of time and its run: `20211220T150000-7`."""
    return f"{as_of.astimezone(UTC):%Y%m%dT%H%M%S}-{seq}"


def names_of_generations(redis: Redis, keys: Keys) -> list[str]:
    return [name.decode() for name in cast("list[bytes]", redis.zrevrange(keys.generations, 0, -1))]
