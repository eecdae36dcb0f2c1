"""Opens the connection to Redis; no other room does."""

from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from slates.errors import SlatesError

__all__ = ["RedisError", "connect"]


def connect(url: str, *, timeout_s: float = 5.0, retries: int = 3) -> Redis:
    """Return a client for `url` that answers bytes, gives up after `timeout_s` and retries broken connections.

    Nothing is sent before the first command. Raises SlatesError when the URL itself is wrong.
    """
    try:
        return Redis.from_url(
            url,
            protocol=2,
            decode_responses=False,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(ExponentialBackoff(cap=1.0, base=0.05), retries),
            health_check_interval=30,
        )
    except ValueError as error:
        msg = "REDIS_URL is not a Redis URL; it looks like redis://127.0.0.1:6379/0, rediss://… or unix:///path"
        raise SlatesError(msg) from error
