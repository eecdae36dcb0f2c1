"""The rate limit: so many requests a minute by key, or by address for callers without one."""

import logging
import time

from flask import Flask, Response, request
from redis import Redis

from server.answers import json_answer
from server.keys import Guard
from slates.circuit import Circuit
from slates.client import REDIS_AWAY, RedisError
from slates.keys import Keys
from slates.rate import count_request

WINDOW_S = 60
_EXEMPT = {"health"}
"""Blueprints that whoever watches the process must always reach."""

_log = logging.getLogger(__name__)


def limit_requests(app: Flask, redis: Redis, keys: Keys, guard: Guard, most: int, circuit: Circuit) -> None:
    """Answer 429 to callers beyond `most` requests a minute; while Redis is away everything is let through.

    Windows are fixed, begin with the minute, and are counted in Redis, so for all workers and servers together. That
    is a round trip of its own. `circuit` is that of the look-ups, so that a request waits for no Redis twice.
    """

    @app.before_request
    def refuse_what_is_too_much() -> Response | None:
        if request.blueprint in _EXEMPT or not circuit.lets_through():
            return None
        caller = guard.caller() or request.remote_addr or "unknown"
        now = int(time.time())
        try:
            count = count_request(redis, keys, caller, now // WINDOW_S, WINDOW_S)
        except (*REDIS_AWAY, RedisError) as error:
            if isinstance(error, REDIS_AWAY):
                circuit.failed()
            _log.warning("requests are not limited: %s", error)
            return None
        circuit.worked()
        if count <= most:
            return None
        reason = f"more than {most} requests in a minute"
        return json_answer({"error": {"reason": reason}}, 429, retry_after_s=WINDOW_S - now % WINDOW_S)
