"""Exposures: what users of an experiment were shown, collected by the server and written to a stream in bulk."""

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from redis import Redis

from slates.batches import batches
from slates.circuit import REDIS_AWAY
from slates.codec import decode_slate, encode_slate
from slates.errors import CodecError
from slates.keys import Keys
from slates.moment import read_microsecond, write_microsecond
from slates.resp import command
from slates.wire import send

MOST_WAITING = 1_000_000
"""Entries of the stream; of more the oldest go."""
_MOST_KEPT = 50_000
_AT_ONCE = 500

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Exposure:
    """Posts that a user of an arm was shown at `at` (aware), in order."""

    at: datetime
    experiment: str
    arm: str
    user_id: str
    generation: str
    post_ids: tuple[str, ...]


def encode_exposure(exposure: Exposure) -> dict[str, str]:
    """Write the fields of an entry; the posts as a slate."""
    return {
        "at": write_microsecond(exposure.at),
        "experiment": exposure.experiment,
        "arm": exposure.arm,
        "user_id": exposure.user_id,
        "generation": exposure.generation,
        "posts": encode_slate(exposure.post_ids).decode(),
    }


def decode_exposure(entry: Mapping[bytes, bytes]) -> Exposure:
    """Read an entry; raise CodecError when it is none."""
    try:
        at = read_microsecond(entry[b"at"].decode())
        experiment, arm, user_id, generation = (
            entry[name].decode() for name in (b"experiment", b"arm", b"user_id", b"generation")
        )
        return Exposure(at, experiment, arm, user_id, generation, tuple(decode_slate(entry[b"posts"])))
    except (KeyError, ValueError) as error:
        msg = f"{dict(entry)!r:.200} is no exposure"
        raise CodecError(msg) from error


class ExposureLog:
    """Takes exposures without a round trip, and writes them from a thread, every `pause_s`.

    A server that is killed takes those of the last `pause_s` with it, as one does whose Redis is away for long.
    """

    def __init__(self, redis: Redis, keys: Keys, pause_s: float = 1.0) -> None:
        self._redis = redis
        self._keys = keys
        self._pause_s = pause_s
        self._lock = threading.Lock()
        self._waiting: list[Exposure] = []
        self._writer: threading.Thread | None = None

    def note(self, exposure: Exposure) -> None:
        """Take one; where too many wait it is dropped."""
        with self._lock:
            if len(self._waiting) < _MOST_KEPT:
                self._waiting.append(exposure)
            if self._writer is None:  # at the first one: a thread would not outlive the fork of a server's workers
                self._writer = threading.Thread(target=self._keep_writing, name="exposures", daemon=True)
                self._writer.start()

    def flush(self) -> None:
        """Write what waits; what Redis does not take waits on."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        key, name = self._keys.exposures, self._keys.exposures.encode()
        for chunk in batches(waiting, _AT_ONCE):
            entries = [[part.encode() for pair in encode_exposure(one).items() for part in pair] for one in chunk]
            add = (b"XADD", name, b"MAXLEN", b"~", b"%d" % MOST_WAITING, b"*")
            try:
                send(self._redis, [(key, command(*add, *entry), 1) for entry in entries])
            except REDIS_AWAY as error:
                _log.warning("exposures wait: %s", error)
                with self._lock:
                    self._waiting = [*chunk, *self._waiting][:_MOST_KEPT]

    def _keep_writing(self) -> None:
        pause = threading.Event()
        while not pause.wait(self._pause_s):
            self.flush()
