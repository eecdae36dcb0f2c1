"""Keeps how a run came out: in Redis for everybody, and in the state folder where Redis is away."""

import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from redis import Redis

from batch.deadline import StoppedError, Watch
from batch.errors import BatchError, SkippedError
from slates.client import REDIS_AWAY, RedisError
from slates.errors import CodecError, LockHeldError, SlatesError
from slates.keys import Keys
from slates.last_run import LastRun, begin_last_run, end_last_run
from slates.manifest import Manifest
from source.errors import SourceError


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


@dataclass
class RunRecord:
    """The record of one run, from its begin to its end.

    What cannot be written is left out: a run is not the worse for it.
    """

    state: Path
    redis: Redis
    keys: Keys
    run: Literal["full", "refresh"]
    as_of: datetime
    watch: Watch
    _told: LastRun = field(init=False)

    def __post_init__(self) -> None:
        """Nothing is written before the run has its turn."""
        self._told = LastRun(self.run, "running", socket.gethostname(), 0, self.as_of, _now())

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Note how the block ends; `begin` and `published` are called within."""
        self.watch.last_words.append(self._failed)
        try:
            yield
        except (SkippedError, LockHeldError):
            raise  # another's run is the latest
        except BaseException as error:
            self._failed(error)
            raise

    def begin(self, seq: int) -> None:
        """Note that the run has its turn, by its fencing number."""
        self._told = replace(self._told, seq=seq, begun_at=_now())
        with suppress(SlatesError, RedisError, *REDIS_AWAY):
            self._told = begin_last_run(self.redis, self.keys, self._told)
        self.stage("")

    def stage(self, name: str) -> None:
        """Note in the state folder which stage begins, for whoever looks after a kill."""
        self._told = replace(self._told, stage=name)
        self._write_file()

    def published(self, manifest: Manifest) -> None:
        """Note that the run has published."""
        self._end(replace(self._told, outcome="published", generation=manifest.id, stage="", failures=0))

    def _failed(self, error: BaseException) -> None:
        stopped = isinstance(error, StoppedError | KeyboardInterrupt)
        self._end(replace(self._told, outcome="stopped" if stopped else "failed", reason=reason_of(error)))

    def _end(self, told: LastRun) -> None:
        if self._told.outcome != "running":
            return  # it has been told: by force, or before an error on the way out
        self._told = replace(told, ended_at=_now())
        counted = told.failures + (told.outcome == "failed")
        with suppress(SlatesError, RedisError, *REDIS_AWAY):
            counted = end_last_run(self.redis, self.keys, self._told).failures
        self._told = replace(self._told, failures=counted)
        self._write_file()

    def _write_file(self) -> None:
        _write(record_file(self.state, self.keys), self._told)


def _write(path: Path, told: LastRun) -> None:
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(json.dumps(told.to_hash(), indent=1) + "\n", encoding="utf-8")
        unfinished.replace(path)


def record_file(state: Path, keys: Keys) -> Path:
    """Name the file of the latest run of a chain of generations by this machine."""
    return state / (f"last-run-{keys.arm}.json" if keys.arm else "last-run.json")


def read_record(state: Path, keys: Keys) -> LastRun | None:
    """Return what this machine's latest run has left in the state folder, None where that is nothing readable."""
    try:
        return LastRun.from_hash(json.loads(record_file(state, keys).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, CodecError):
        return None


def note_killed(state: Path, redis: Redis, keys: Keys, number: int) -> None:
    """Note that this machine's latest run, if it has not told its end itself, was killed by that signal."""
    told = read_record(state, keys)
    if told is None or told.outcome != "running":
        return
    short = "; was memory short?" if number == signal.SIGKILL else ""
    reason = f"the process was killed by {signal.Signals(number).name}{short}"
    told = replace(told, outcome="killed", ended_at=_now(), reason=reason, failures=told.failures + 1)
    with suppress(SlatesError, RedisError, *REDIS_AWAY):
        end_last_run(redis, keys, told)
    _write(record_file(state, keys), told)


def reason_of(error: BaseException) -> str:
    """Say in one line why a run ended."""
    if isinstance(error, REDIS_AWAY):
        return f"Redis does not answer ({error})"
    words = " ".join(str(error).split())
    is_told = isinstance(error, SlatesError | BatchError | SourceError)
    return words if is_told and words else f"{type(error).__name__}: {words}"
