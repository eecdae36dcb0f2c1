"""Constant look-ups: every answer is held against what its generation must hold, whatever is being spoiled."""

import contextlib
import http.client
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from redis import Redis

from bench.chaos_world import KEYS, LIMIT, World, asked_at, get, input_of
from bench.errors import BenchError
from bench.service import open_connection
from slates.client import RedisError
from slates.standing import read_live_id

THREADS = 2
PAUSE_S = 0.005
_ON_ONE_CONNECTION = 50
_EXAMPLES = 5
_SETTLE_S = 2.5
"""After a fault: a server's pause before it asks Redis again, and its own look at the live generation."""
_FOLLOWS_WITHIN_S = 1.0
"""Within this a server follows the pointer: while one thread loads a new generation, the others serve the old one."""
_WHOLE = {"right", "with_gaps"}
"""The latter while something is spoiled: posts whose texts cannot be read then are left out, and the next stand in."""
_OF_USER = {"exact", "same_hour", "previous"}


@dataclass
class Watch:
    """Since when nothing is spoiled, None while something is; and when a worker was killed last."""

    calm_since: float | None = None
    worker_killed_at: float = -60.0

    def is_calm(self) -> bool:
        """Say whether answers must be the very best."""
        since = self.calm_since
        return since is not None and time.monotonic() - since > _SETTLE_S

    @contextlib.contextmanager
    def spoiled(self) -> Iterator[None]:
        """Expect less for as long as the block runs."""
        self.calm_since = None
        try:
            yield
        finally:
            self.calm_since = time.monotonic()


@dataclass
class Seen:
    """What came of the look-ups: counts of outcomes and of rungs, the seconds of each, and the first bad answers."""

    outcomes: Counter[str] = field(default_factory=Counter)
    rungs: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)


class LookUps:
    """Asks feeds in threads for as long as the block runs; `seen` tells what came."""

    def __init__(self, world: World, watch: Watch) -> None:
        self._world, self._watch = world, watch
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._path = f"&limit={LIMIT}&time={asked_at():%Y-%m-%dT%H:%M}"
        self._broken: list[Exception] = []
        self._threads = [threading.Thread(target=self._guarded, args=(n,), name=f"asks-{n}") for n in range(THREADS)]
        self.seen = Seen()

    def __enter__(self) -> "LookUps":
        """Begin."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self._broken:
            raise BenchError("what asks for feeds broke off") from self._broken[0]

    def _guarded(self, number: int) -> None:
        try:
            self._run(number)
        except Exception as error:  # noqa: BLE001 - raised again in the main thread
            self._broken.append(error)

    def _run(self, number: int) -> None:
        connection, live = open_connection(self._world.server.url), _LiveLately()
        with self._world.client() as redis:
            for turn, user_id in enumerate(itertools.cycle(self._world.user_ids[number::THREADS])):
                if self._stop.wait(PAUSE_S):
                    break
                if turn % _ON_ONE_CONNECTION == 0:  # a connection stays with the worker that took it
                    connection.close()
                calm = self._watch.is_calm()
                live.saw(_pointer(redis) if calm else None)
                begun = time.perf_counter()
                outcome, rung, told = self._ask(connection, user_id)
                seconds = time.perf_counter() - begun
                if outcome in _WHOLE and calm and self._watch.is_calm():
                    live.saw(_pointer(redis))
                    outcome = _held_against_best(outcome, rung, told, live)
                self._note(outcome, rung, seconds, f"{user_id}: {outcome}, rung {rung}, {told}")
        connection.close()

    def _ask(self, connection: http.client.HTTPConnection, user_id: str) -> tuple[str, str, str]:
        """Return the outcome, the rung, and the generation or what went wrong."""
        path = f"/post/recommendations/?id={user_id}{self._path}"
        for is_last in (False, True):
            try:
                status, headers, body = get(connection, path)
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                # A connection ends with the worker at its other end; a client asks once more, on another one.
                if is_last or time.monotonic() - self._watch.worker_killed_at > _SETTLE_S:
                    return "lost", "none", repr(error)
                self._note("asked_again", "none", 0.0, "")
                continue
            if status != http.HTTPStatus.OK:
                return "lost", "none", f"{status} {body[:200]!r}"
            rung, generation = headers["X-Hourfeed-Rung"], headers["X-Hourfeed-Generation"]
            outcome = self._judge(user_id, rung, generation, body)
            return outcome, rung, generation if outcome in _WHOLE else f"{generation} {body[:1_000]!r}"
        raise AssertionError("the loop returns")

    def _judge(self, user_id: str, rung: str, generation: str, body: bytes) -> str:
        posts = json.loads(body)
        ids = [str(post["id"]) for post in posts]
        if len(ids) < LIMIT:
            return "partial"
        number = input_of(generation)
        expected = self._world.expected[number] if number >= 0 else None
        if expected is None or any(
            self._world.texts.get(i) != post["text"] for i, post in zip(ids, posts, strict=True)
        ):
            return "mixed"
        of_user = [expected.feeds[user_id]] if rung in _OF_USER else []
        slates = of_user or (expected.segments if rung == "segment" else [expected.popular])
        if any(ids == list(slate[:LIMIT]) for slate in slates):
            return "right"
        return "with_gaps" if any(_in_order(ids, [*slate, *expected.popular]) for slate in slates) else "mixed"

    def _note(self, outcome: str, rung: str, seconds: float, told: str) -> None:
        with self._lock:
            self.seen.outcomes[outcome] += 1
            if outcome == "asked_again":
                return
            self.seen.rungs[rung] += 1
            self.seen.seconds.append(seconds)
            if outcome not in _WHOLE and self.seen.outcomes[outcome] <= _EXAMPLES:
                self.seen.examples.append(f"{time.strftime('%H:%M:%S')} {told}")


def _pointer(redis: Redis) -> str | None:
    with contextlib.suppress(RedisError):
        return read_live_id(redis, KEYS) or None
    return None


class _LiveLately:
    """Which generations were live during the last second, by what one thread has seen of the pointer."""

    def __init__(self) -> None:
        self._seen: dict[str, float] = {}

    def saw(self, generation: str | None) -> None:
        """Note what is live now; None where that is not known."""
        if generation is not None:
            self._seen[generation] = time.monotonic()

    def has(self, generation: str) -> bool:
        return time.monotonic() - self._seen.get(generation, -_FOLLOWS_WITHIN_S) < _FOLLOWS_WITHIN_S


def _in_order(ids: Sequence[str], slate: Sequence[str]) -> bool:
    """Say whether all ids come in that order in a slate, between others perhaps."""
    rest = iter(slate)
    return all(post_id in rest for post_id in ids)


def _held_against_best(outcome: str, rung: str, generation: str, live: _LiveLately) -> str:
    """Return what an answer is at a time when nothing is spoiled."""
    if not live.has(generation):
        return "stale"
    return outcome if (outcome, rung) == ("right", "exact") else "low_rung"
