"""Cases of the checker, asked one by one, so that answers can be compared case by case."""

import csv
import json
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode

from bench.errors import BenchError
from bench.service import open_connection

GENERATION_HEADER = "X-Hourfeed-Generation"
POINTER_TTL_S = 1.0
"""How long a worker may believe the generation before: the server's default."""
PROBES = 8


@dataclass(frozen=True)
class Case:
    """A user who asked for a feed at a time (ISO 8601, UTC), and the posts that were really liked then."""

    user_id: str
    time: str
    liked: frozenset[str]


@dataclass(frozen=True)
class Answer:
    """What the server said; `generation` and `rung` are "" where it did not tell."""

    status: int
    body: bytes
    generation: str
    rung: str

    def is_hit(self, case: Case, k: int) -> bool:
        """Say whether one of the first `k` posts was liked; an error is no hit."""
        if self.status != 200:
            return False
        return any(str(post["id"]) in case.liked for post in json.loads(self.body)[:k])


def read_cases(path: Path) -> list[Case]:
    """Read what the checker's make_cases.py printed."""
    with path.open(newline="", encoding="utf-8") as lines:
        return [Case(row["user_id"], row["time"], frozenset(row["post_ids"].split())) for row in csv.DictReader(lines)]


def ask_all(url: str, cases: Sequence[Case], k: int) -> list[Answer]:
    """Ask for the feed of every case, over one connection."""
    with closing(open_connection(url)) as connection:
        return [ask(connection, case, k) for case in cases]


def ask(connection: HTTPConnection, case: Case, k: int) -> Answer:
    """Ask for one feed of `k` posts."""
    query = urlencode({"id": case.user_id, "time": case.time, "limit": k})
    connection.request("GET", f"/post/recommendations/?{query}")
    response = connection.getresponse()
    body = response.read()
    generation, rung = (response.headers.get(name, "") for name in (GENERATION_HEADER, "X-Hourfeed-Rung"))
    return Answer(response.status, body, generation, rung)


def wait_for_generation(url: str, case: Case, generation: str, within_s: float = 30.0) -> None:
    """Return once all workers serve `generation`; raise BenchError when one does not in time.

    A worker keeps what it believes for POINTER_TTL_S, and a connection keeps its worker. So several connections are
    opened at a time, and asked again until they have told of nothing else for longer than that.
    """
    deadline = time.monotonic() + within_s
    only_since = None
    while True:
        told = _probe(url, case)
        now = time.monotonic()
        if told != {generation}:
            only_since = None
        elif only_since is None:
            only_since = now
        elif now - only_since > 1.2 * POINTER_TTL_S:
            return
        if now > deadline:
            msg = f"after {within_s:g} s the server still tells of {', '.join(sorted(told))}, not only of {generation}"
            raise BenchError(msg)


def _probe(url: str, case: Case) -> set[str]:
    with ExitStack() as stack:
        connections = [stack.enter_context(closing(open_connection(url))) for _ in range(PROBES)]
        for connection in connections:
            connection.connect()
        return {ask(connection, case, k=1).generation for connection in connections}
