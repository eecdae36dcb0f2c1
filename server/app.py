"""The Flask app: puts the look-up, the shelf of posts and the routes together."""

import logging
from functools import partial

from flask import Flask, Response
from redis import Redis
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix

from server.answers import json_answer
from server.blocking import blocking_routes
from server.database import TopPosts, database_routes, reader_of
from server.erase import erase_routes
from server.events import EventRules, event_routes
from server.feeds import UserFeeds, feed_routes
from server.front import Front
from server.headers import SecurityHeaders, allow_origins
from server.health import RETRY_AFTER_S, health_routes
from server.keys import AccessError, Guard
from server.limits import limit_requests
from server.metrics import Metrics, metrics_routes
from server.observe import Observed
from server.ops import OpsPage, ops_routes
from server.pages import page_routes
from server.parameters import ParameterError
from server.recommendations import Recommendations, recommendation_routes, render_post
from server.settings import ServerSettings
from server.traces import trace_requests
from server.warm import WarmFile, WarmKeeper, origin_of
from slates.arms import ArmsLookup
from slates.circuit import Circuit
from slates.client import RedisError, connect
from slates.cluster import keys_of
from slates.errors import SlatesError
from slates.event_stream import count_waiting
from slates.exposure import ExposureLog
from slates.generations import list_generations
from slates.last_run import read_last_run
from slates.lookup import Lookup, NoFeedError
from slates.posts import PostShelf
from slates.view import Kept
from source.errors import SourceError, TooSlowError

DEFAULT_REDIS_URL = "redis://127.0.0.1:6379/0"
LOOKUP = "hourfeed.lookup"
"""Where `app.extensions` holds the look-up."""
EXPOSURES = "hourfeed.exposures"
"""Where `app.extensions` holds the log of exposures."""

WARM = "hourfeed.warm"
"""Where `app.extensions` holds what keeps popular posts on disk, None where nothing does."""

_log = logging.getLogger(__name__)


def create_app(settings: ServerSettings | None = None, redis: Redis | None = None) -> Flask:
    """Return the app; Redis is first asked by the first request, so each worker has connections of its own."""
    settings = settings or ServerSettings()
    redis_url = settings.redis_url or DEFAULT_REDIS_URL
    if redis is None:
        redis = connect(redis_url, timeout_s=settings.redis_timeout_s, retries=1, may_wait=False)
    keys = keys_of(redis, settings.prefix)
    shelf = PostShelf(redis, keys, render_post)
    metrics = Metrics()
    circuit = Circuit(on_failure=metrics.redis_failed)
    warm = _warm_file(settings, redis_url)

    def from_disk() -> Kept | None:
        found = warm.read() if warm else None
        if found is None:
            return None
        shelf.stock(found.kept.view.manifest, found.posts)
        return found.kept

    lookup = Lookup(redis, keys, circuit=circuit, on_view=shelf.restock, on_cold=from_disk)
    arms, exposures = ArmsLookup(redis, keys, lookup, circuit), ExposureLog(redis, keys)

    app = Flask(__name__, static_folder=None)
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    app.extensions |= {LOOKUP: lookup, EXPOSURES: exposures}
    app.extensions[WARM] = WarmKeeper(warm, redis, keys, lookup) if warm else None
    guard = Guard(settings)
    recommendations = Recommendations(lookup, arms, exposures, shelf, guard)
    feeds = UserFeeds(lookup, arms, shelf, guard)
    front = Front(recommendations, feeds)
    if settings.proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=settings.proxies)  # type: ignore[method-assign]
    app.wsgi_app = SecurityHeaders(app.wsgi_app)  # type: ignore[method-assign]
    if settings.cors_origins:
        allow_origins(app, settings.cors_origins)
    if settings.rate_limit:
        limit_requests(app, redis, keys, guard, settings.rate_limit, circuit)
    reader = reader_of(settings)
    top = None if reader is None else TopPosts(reader, lookup.blocked)
    app.register_blueprint(recommendation_routes(recommendations, guard, top))
    app.register_blueprint(database_routes(reader, guard))
    app.register_blueprint(feed_routes(feeds, lookup, shelf, guard))
    app.register_blueprint(blocking_routes(redis, keys, lookup, guard))
    app.register_blueprint(page_routes())
    app.register_blueprint(health_routes(lookup, settings.fresh_for_h))
    page = OpsPage(redis, keys, lookup, shelf, guard, metrics)
    app.register_blueprint(ops_routes(page, settings.fresh_for_h))
    held = partial(list_generations, redis, keys)
    last_run, waiting = partial(read_last_run, redis, keys), partial(count_waiting, redis, keys)
    app.register_blueprint(metrics_routes(metrics, lookup, guard, settings.fresh_for_h, held, last_run, waiting))
    app.register_blueprint(event_routes(redis, keys, lookup, guard, _event_rules(settings)))
    app.register_blueprint(erase_routes(redis, keys, lookup, guard))
    app.register_error_handler(AccessError, _no_access)
    app.register_error_handler(ParameterError, _bad_parameter)
    app.register_error_handler(NoFeedError, _nothing_to_answer)

    def unreadable(error: Exception) -> Response:
        metrics.redis_failed()
        return _unreadable(error)

    app.register_error_handler(SlatesError, unreadable)
    app.register_error_handler(RedisError, unreadable)
    app.register_error_handler(SourceError, _database_fails)
    app.register_error_handler(HTTPException, _http_error)
    if settings.traces:
        trace_requests(app)
    adds = settings.cors_origins or settings.rate_limit or settings.traces  # in hooks of Flask
    observed = Observed(app.wsgi_app, metrics, None if adds else front.answer)  # outermost, so that it sees all
    app.wsgi_app = observed  # type: ignore[method-assign]
    return app


def _warm_file(settings: ServerSettings, redis_url: str) -> WarmFile | None:
    if not settings.warm_file:
        return None
    return WarmFile(settings.state / settings.warm_file, origin_of(redis_url, settings.prefix))


def _event_rules(settings: ServerSettings) -> EventRules:
    hiding = settings.actions if settings.acted_on is None else settings.acted_on
    return EventRules(settings.actions, hiding, round(settings.seen_ttl_h * 3600), settings.events_waiting)


def _no_access(error: AccessError) -> Response:
    answer = json_answer({"error": {"reason": error.reason}}, error.status)
    if error.status == 401:
        answer.headers["WWW-Authenticate"] = "Bearer"
    return answer


def _bad_parameter(error: ParameterError) -> Response:
    return json_answer({"error": {"field": error.field, "value": error.value, "allowed": error.allowed}}, 422)


def _nothing_to_answer(error: NoFeedError) -> Response:
    return json_answer({"error": {"reason": str(error)}}, 503, retry_after_s=RETRY_AFTER_S)


def _unreadable(error: Exception) -> Response:
    _log.error("what lies in Redis cannot be served: %s", error)
    reason = "what lies in Redis cannot be served; the server's log says why"
    return json_answer({"error": {"reason": reason}}, 503, retry_after_s=RETRY_AFTER_S)


def _database_fails(error: SourceError) -> Response:
    _log.error("the database: %s", error)
    reason = str(error) if isinstance(error, TooSlowError) else "the database cannot answer; the server's log says why"
    return json_answer({"error": {"reason": reason}}, 503, retry_after_s=RETRY_AFTER_S)


def _http_error(error: HTTPException) -> Response:
    answer = json_answer({"error": {"reason": error.name}}, error.code or 500)
    allowed = getattr(error, "valid_methods", None)
    if allowed:
        answer.headers["Allow"] = ", ".join(sorted(allowed))
    return answer
