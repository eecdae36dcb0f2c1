"""How the latest run came out: a hash that runs write, for `hourfeed status`, metrics and alerts.

Its fields are strings that a person reads. Runs write it in the order of their fencing numbers: what a run that lost
its turn has to say never covers what a newer one said.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any, Literal, cast, get_args

from redis import Redis
from redis.exceptions import WatchError

from slates.cluster import control
from slates.errors import CodecError
from slates.keys import Keys
from slates.moment import read_second, write_second

Outcome = Literal["running", "published", "stopped", "failed", "killed"]
KILLED = "it ended without a word: the process was killed, or its machine lost"
LONGEST_REASON = 500
"""Characters of a reason that are kept."""


@dataclass(frozen=True)
class LastRun:
    """The latest run of a chain of generations.

    run : `full` or `refresh`, as it was asked for. seq : its fencing number, 0 where it failed before it had its turn.
    begun_at, ended_at : aware, in UTC, to the second; ended_at is None while it goes on, and where it was killed.
    stage : in which it ended. reason : why it published nothing, a sentence. generation : what it published.
    failures : runs in a row that failed or were killed, up to this one.
    """

    run: str
    outcome: Outcome
    host: str
    seq: int
    as_of: datetime
    begun_at: datetime
    ended_at: datetime | None = None
    stage: str = ""
    reason: str = ""
    generation: str = ""
    failures: int = 0

    @property
    def is_failure(self) -> bool:
        """Say whether it ended, and not as it was meant to."""
        return self.outcome in {"failed", "killed"}

    def to_hash(self) -> dict[str, str]:
        """Write it as the fields of a Redis hash, or of a JSON object."""
        return {entry.name: _write(getattr(self, entry.name)) for entry in fields(self)}

    @classmethod
    def from_hash(cls, texts: Mapping[str, str]) -> "LastRun":
        """Read what `to_hash` wrote, passing over unknown fields; raise CodecError where it is none."""
        try:
            found: dict[str, Any] = {entry.name: texts[entry.name] for entry in fields(cls) if entry.name in texts}
            for name in ("as_of", "begun_at", "ended_at"):
                found[name] = read_second(texts[name]) if texts[name] else None
            for name in ("seq", "failures"):
                found[name] = int(texts[name])
            run = cls(**found)
        except (KeyError, ValueError, TypeError) as error:
            msg = f"what is said of the last run cannot be read: {error!r}"
            raise CodecError(msg) from error
        if run.outcome not in get_args(Outcome) or None in (run.as_of, run.begun_at):
            msg = f"what is said of the last run cannot be read: outcome {run.outcome!r}, begun at {run.begun_at}"
            raise CodecError(msg)
        return run


def read_last_run(redis: Redis, keys: Keys) -> LastRun | None:
    """Return how the latest run came out, None where there was none; raise CodecError where it cannot be read.

    A run that has begun and not ended, while nobody holds the lock or a later run does, is told as killed. The later
    one may be of another arm: arms share the lock and its numbers, and each has a last run of its own.
    """
    found = _read(redis, keys)
    if found is not None and found.outcome == "running" and not _may_be_at_work(redis, keys, found):
        return _read(redis, keys, _ended)  # it may have ended in between, so look again
    return found


def begin_last_run(redis: Redis, keys: Keys, run: LastRun) -> LastRun:
    """Say that a run has begun, which holds the lock; return it with the failures before it."""

    def following(before: LastRun | None) -> LastRun:
        return replace(run, failures=_ended(before).failures if before else 0)

    return _put(redis, keys, run.seq, following)


def end_last_run(redis: Redis, keys: Keys, run: LastRun) -> LastRun:
    """Say how a run came out; return it with its failures in a row, as it stands there if no newer run has begun."""

    def following(before: LastRun | None) -> LastRun:
        earlier = before.failures if before else 0
        failures = {"published": 0, "failed": earlier + 1, "killed": earlier + 1}.get(run.outcome, earlier)
        return replace(run, failures=failures, reason=run.reason[:LONGEST_REASON])

    return _put(redis, keys, run.seq, following)


def _put(redis: Redis, keys: Keys, seq: int, following: Callable[[LastRun | None], LastRun]) -> LastRun:
    while True:
        with control(redis, keys).pipeline() as transaction:
            pipeline = cast("Any", transaction)
            pipeline.watch(keys.last_run)
            try:
                before = _read(pipeline, keys)
            except CodecError:
                before = None  # of another version: what follows takes its place
            new = following(before)
            if before is not None and (before.seq > seq > 0 or (seq == 0 and before.outcome == "running")):
                return new
            pipeline.multi()
            pipeline.hset(keys.last_run, mapping=new.to_hash())
            try:
                pipeline.execute()
            except WatchError:
                continue
            return new


def _read(redis: Any, keys: Keys, then: Callable[[LastRun], LastRun] = lambda run: run) -> LastRun | None:
    raw = cast("dict[bytes, bytes]", redis.hgetall(keys.last_run))
    texts = {name.decode(errors="replace"): value.decode(errors="replace") for name, value in raw.items()}
    return then(LastRun.from_hash(texts)) if texts else None


def _may_be_at_work(redis: Redis, keys: Keys, run: LastRun) -> bool:
    newest = int(cast("bytes | None", redis.get(keys.seq)) or 0)
    return newest <= run.seq and bool(redis.exists(keys.lock))


def _ended(run: LastRun) -> LastRun:
    """Return the run as it stands once nobody can be at it any more."""
    if run.outcome != "running":
        return run
    return replace(run, outcome="killed", reason=KILLED, failures=run.failures + 1)


def _write(value: Any) -> str:
    if value is None:
        return ""
    return write_second(value) if isinstance(value, datetime) else str(value)


def told(run: LastRun) -> str:
    """Say in a line how a run came out."""
    what = f"{run.run} of {write_second(run.begun_at)} on {run.host}"
    if run.outcome == "running":
        return f"{what} is at work"
    if run.outcome == "published":
        return f"{what} published {run.generation}"
    where = f" in the stage {run.stage}" if run.stage else ""
    often = f", {run.failures} in a row" if run.failures > 1 else ""
    return f"{what} {'was ' * (run.outcome in {'killed', 'stopped'})}{run.outcome}{where}{often}: {run.reason}"
