"""An experiment: which users get whose generations. Written as JSON in one string, which every look-up reads."""

import hashlib
import itertools
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast

from redis import Redis

from slates.cluster import control
from slates.errors import CodecError, SlatesError
from slates.keys import Keys
from slates.moment import read_second, write_second
from slates.standing import read_live_id

CONTROL = "control"
"""The arm whose users get what everybody gets when no experiment runs."""
CANARY = "canary"
"""The arm, and the name of the experiment, by which a generation is tried before it goes live for all."""
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


class ExperimentError(SlatesError):
    """An experiment cannot be as it is wanted."""


@dataclass(frozen=True)
class Experiment:
    """Arms and their shares of the users, which sum up to 1. The same salt and shares give every user the same arm."""

    name: str
    salt: str
    shares: Mapping[str, float]
    started_at: datetime
    _ends: list[tuple[str, float]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check it; raise ExperimentError on names or shares that cannot be."""
        for name in (self.name, *self.shares):
            if not _NAME.fullmatch(name):
                msg = f"{name!r} is no name for an experiment or an arm; allowed are a-z, 0-9, - and _, up to 32"
                raise ExperimentError(msg)
        if CONTROL not in self.shares or len(self.shares) < 2:
            msg = f"an experiment compares the arm {CONTROL} with others; it has {', '.join(self.shares) or 'none'}"
            raise ExperimentError(msg)
        if min(self.shares.values()) <= 0 or not math.isclose(sum(self.shares.values()), 1, abs_tol=1e-6):
            told = ", ".join(f"{name} {share:g}" for name, share in self.shares.items())
            msg = f"the shares of the arms must be above 0 and sum up to 1; they are {told}"
            raise ExperimentError(msg)
        ends = itertools.accumulate(self.shares.values())
        object.__setattr__(self, "_ends", list(zip(self.shares, ends, strict=True)))

    @property
    def is_canary(self) -> bool:
        """Say whether it only tries a generation."""
        return self.name == CANARY

    def arm_of(self, user_id: str) -> str:
        """Return a user's arm."""
        digest = hashlib.blake2b(f"{self.salt}:{user_id}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
        place = int.from_bytes(digest, "big") / 2**64
        return next((arm for arm, end in self._ends if place < end), self._ends[-1][0])


def encode_experiment(experiment: Experiment) -> bytes:
    """Write an experiment."""
    told = {
        "name": experiment.name,
        "salt": experiment.salt,
        "arms": dict(experiment.shares),
        "started_at": write_second(experiment.started_at),
    }
    return json.dumps(told, separators=(",", ":")).encode()


def decode_experiment(value: bytes) -> Experiment:
    """Read an experiment; raise CodecError when it is none."""
    try:
        told = json.loads(value)
        started_at = read_second(told["started_at"])
        shares = {str(name): float(share) for name, share in told["arms"].items()}
        return Experiment(str(told["name"]), str(told["salt"]), shares, started_at)
    except (ValueError, KeyError, TypeError, AttributeError, ExperimentError) as error:
        msg = f"{value[:200]!r} is not an experiment: {error}"
        raise CodecError(msg) from error


def keys_of_arm(keys: Keys, arm: str) -> Keys:
    """Return the keys of an arm's generations."""
    return Keys(keys.prefix, keys.tagged, "" if arm == CONTROL else arm)


def running_experiment(redis: Redis, keys: Keys) -> Experiment | None:
    """Return the experiment that runs, None where none does."""
    value = cast("bytes | None", redis.get(keys.experiment))
    return decode_experiment(value) if value else None


def start_experiment(redis: Redis, keys: Keys, experiment: Experiment) -> None:
    """Start it; raise ExperimentError where another one runs, or an arm has no live generation."""
    for arm in experiment.shares:
        if not read_live_id(redis, keys_of_arm(keys, arm)):
            how = "hourfeed batch" if arm == CONTROL else f"hourfeed batch --arm {arm}"
            msg = f"the arm {arm} has no live generation; publish one with `{how}`"
            raise ExperimentError(msg)
    if not control(redis, keys).set(keys.experiment, encode_experiment(experiment), nx=True):
        running = running_experiment(redis, keys)
        name = "another experiment" if running is None else f"the experiment {running.name}"
        msg = f"{name} runs; end it first with `hourfeed experiment stop`"
        raise ExperimentError(msg)
    control(redis, keys).hset(keys.experiments, experiment.name, encode_experiment(experiment))


def find_experiment(redis: Redis, keys: Keys, name: str | None) -> Experiment:
    """Return the experiment of that name, started at some time; that which runs where no name is given."""
    if name is None:
        found = running_experiment(redis, keys)
        missing = "no experiment runs; name one that has ended"
    else:
        value = cast("bytes | None", redis.hget(keys.experiments, name))
        found = decode_experiment(value) if value else None
        known = cast("list[bytes]", redis.hkeys(keys.experiments))
        missing = f"there was no experiment {name!r}, only {', '.join(map(bytes.decode, known)) or 'none'}"
    if found is None:
        raise ExperimentError(missing)
    return found


def stop_experiment(redis: Redis, keys: Keys) -> Experiment:
    """End the experiment that runs, and return it: from the next look-up on everybody gets what control got."""
    running = running_experiment(redis, keys)
    if running is None:
        raise ExperimentError("no experiment runs")
    control(redis, keys).delete(keys.experiment)
    return running
