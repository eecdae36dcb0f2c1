"""Fuzzes the API against its own OpenAPI document: `python -m bench.fuzz` makes 10,000 requests, counts what is wrong.

Requests are made by schemathesis, valid and invalid ones, and sent to the app in this process, with a real Redis and a
database in SQLite. Wrong are: a status of 5xx, one that the document does not declare, a content type or a body that is
not as declared.
"""

import argparse
import collections
import math
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import schemathesis
from flask import Flask
from hypothesis import HealthCheck, Phase, given, reject, seed, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from sqlalchemy import text

from bench.figures import conclude, read_targets
from demo.services import hold_redis
from server.app import create_app
from server.settings import ServerSettings
from slates.bucket import bucket_field, bucket_of
from slates.client import connect
from slates.keys import Keys
from slates.manifest import Manifest
from source.engine import open_engine

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
)
_KNOWN = {
    "id": "1000",
    "user_id": 1000,
    "post_id": 84,
    "post_ids": [84],
    "action": "like",
    "at": "2021-12-20T15:30",
    "time": "2021-12-20T15:30",
    "topic": "sport",
}
_TABLES = (
    "CREATE TABLE user_data (user_id INTEGER PRIMARY KEY, age INTEGER, city TEXT)",
    "CREATE TABLE post_text_df (post_id INTEGER PRIMARY KEY, text TEXT, topic TEXT)",
    "CREATE TABLE feed_data (timestamp TIMESTAMP, user_id INTEGER, post_id INTEGER, action TEXT, target INTEGER)",
    "INSERT INTO user_data VALUES (0, 24, 'Riga'), (1000, 30, NULL)",
    "INSERT INTO post_text_df VALUES (0, 'zero', 'politics'), (84, 'a text', 'sport'), (85, NULL, NULL)",
    "INSERT INTO feed_data VALUES ('2021-12-20 10:00:00', 0, 84, 'like', 0)",
    "INSERT INTO feed_data VALUES ('2021-12-20 10:00:00', 1000, 0, 'view', 0)",
)


@contextmanager
def small_app() -> Iterator[Flask]:
    """Yield an app with a small generation in a real Redis, and a small database; everything is open."""
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory()))
        redis_url = held.enter_context(hold_redis(folder)).url
        _publish(redis_url)
        database_url = f"sqlite:///{folder / 'fuzz.db'}"
        engine = open_engine(database_url, folder)
        with engine.begin() as connection:
            for statement in _TABLES:
                connection.execute(text(statement))
        engine.dispose()
        yield create_app(ServerSettings(open=True, redis_url=redis_url, database_url=database_url))


def _publish(redis_url: str) -> None:
    keys, now = Keys(), datetime.now(UTC).replace(microsecond=0)
    first = bucket_of(now)
    manifest = Manifest(
        id="fuzz",
        seq=1,
        state="live",
        as_of=now,
        started_at=now,
        built_at=now,
        first_bucket=first,
        last_bucket=first + 23,
        users=1,
        posts=3,
        slates=24,
        segments=0,
        shards=1,
        top_n=3,
        slate_bytes=1,
        codec="ids",
        ranker="popular_24h",
        user_id_type="integer",
        post_id_type="integer",
    )
    slates = {bucket_field(bucket): "84 85 0" for bucket in range(first, first + 24)}
    with connect(redis_url) as redis:
        redis.hset(keys.generation("fuzz"), mapping=manifest.to_hash())
        redis.hset(keys.popular("fuzz"), mapping=slates)
        redis.hset(keys.user("fuzz", "1000"), mapping=slates)
        for post_id, topic in (("0", "politics"), ("84", "sport"), ("85", "")):
            redis.hset(keys.post(post_id), mapping={"text": f"text of {post_id}", "topic": topic})
            redis.set(keys.similar("fuzz", post_id), "84 85")
        redis.set(keys.current, "fuzz")


def fuzz(app: Flask, requests: int, random_seed: int = 0) -> tuple[collections.Counter[str], list[str]]:
    """Send at least so many requests, as many to each operation; return statuses by operation, and what is wrong."""
    schema: Any = schemathesis.openapi.from_wsgi("/v1/openapi.json", app)
    operations = [found.ok() for found in schema.get_all_operations()]
    statuses: collections.Counter[str] = collections.Counter()
    failures: list[str] = []
    with_input = [found for found in operations if found.definition.raw.keys() & {"parameters", "requestBody"}]
    while statuses.total() < requests:  # more than once: some operations have few different requests
        each = math.ceil((requests - statuses.total()) / (2 * len(with_input)))
        for operation in operations:
            takes_input = operation in with_input
            for mode in schemathesis.GenerationMode if takes_input else [schemathesis.GenerationMode.POSITIVE]:
                _fuzz_one(operation, mode, each if takes_input else 1, random_seed, statuses, failures)
        random_seed += 1
    return statuses, failures


def _fuzz_one(
    operation: Any, mode: Any, examples: int, random_seed: int, statuses: collections.Counter[str], failures: list[str]
) -> None:
    @seed(random_seed)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode), st.booleans())
    def ask(case: Any, known: bool) -> None:
        if known and mode is schemathesis.GenerationMode.POSITIVE:
            _name_what_is_there(case)
        try:
            response = case.call()
        except ValueError as error:  # a list in a path, with an unescaped `?` in it, which werkzeug's client refuses
            if "Query string" not in str(error):
                raise
            reject()
        statuses[f"{operation.method.upper()} {operation.path} {response.status_code}"] += 1
        try:
            case.validate_response(response, checks=CHECKS)
        except BaseExceptionGroup as error:
            failures.extend(f"{operation.method.upper()} {operation.path}: {one}" for one in error.exceptions)

    ask()


def _name_what_is_there(case: Any) -> None:
    """Put ids and an action that the app knows into a valid request: chance hits few."""
    for parameters in (case.path_parameters, case.query):
        for name in (parameters or {}).keys() & _KNOWN.keys():
            parameters[name] = _KNOWN[name]
    items = case.body if isinstance(case.body, list) else [case.body]
    for item in items:
        if isinstance(item, dict):
            item.update({name: _KNOWN[name] for name in item.keys() & _KNOWN.keys()})


def main() -> int:
    """Run, print the figures, and fail where one misses its target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with small_app() as app:
        statuses, failures = fuzz(app, arguments.requests, arguments.seed)
    for failure in failures[:20]:
        print(failure, file=sys.stderr)
    figures = {"requests": statuses.total(), "wrong": len(failures), **_by_class(statuses)}
    return conclude("fuzz", figures, read_targets("fuzz"))


def _by_class(statuses: collections.Counter[str]) -> dict[str, int]:
    """Count answers by the first digit of their status."""
    counts: collections.Counter[str] = collections.Counter()
    for status, count in statuses.items():
        counts[f"answers.{status.rpartition(' ')[2][0]}xx"] += count
    return dict(sorted(counts.items()))


if __name__ == "__main__":
    sys.exit(main())
