"""Who is at the operations page: a session in a cookie, and a token in every form that shows that the page sent it."""

import hashlib
import hmac
import secrets

from flask import Response, request
from redis import Redis

from server.keys import ROLES, Guard, Role, hash_of
from slates.client import RedisError
from slates.keys import Keys
from slates.sessions import TTL_S, begin_session, end_session, key_hash_of

COOKIE = "hourfeed_ops"
_SAME_SITE = {None, "same-origin", "none"}
"""What Sec-Fetch-Site says of requests of the page itself; old browsers do not send it."""


class Visitor:
    """The browser that asks, as one request tells of it."""

    def __init__(self, redis: Redis, keys: Keys, guard: Guard) -> None:
        self._redis = redis
        self._keys = keys
        self._guard = guard
        self.token = request.cookies.get(COOKIE) or secrets.token_urlsafe(32)
        self.role = self._role()

    def may(self, role: Role) -> bool:
        """Say whether the visitor may do what `role` may."""
        return self._guard.lets_anyone(role) or (self.role is not None and ROLES.index(self.role) >= ROLES.index(role))

    @property
    def csrf(self) -> str:
        """Return what a form must hold: whoever cannot read the cookie cannot make it."""
        return hashlib.sha256(b"csrf:" + self.token.encode("utf-8", "surrogatepass")).hexdigest()

    def sent_this_form(self) -> bool:
        """Say whether the request is one of the page's own forms, and none that another site made the browser send."""
        given = request.form.get("csrf", "")
        same = hmac.compare_digest(given.encode("utf-8", "surrogatepass"), self.csrf.encode())
        return COOKIE in request.cookies and same and request.headers.get("Sec-Fetch-Site") in _SAME_SITE

    def sign_in(self, key: str) -> bool:
        """Begin a session with a key; say whether the key is known. The token is a new one."""
        if self._guard.role_of(hash_of(key)) is None:
            return False
        self.token = begin_session(self._redis, self._keys, hash_of(key))
        return True

    def sign_out(self) -> None:
        """End the session."""
        end_session(self._redis, self._keys, self.token)
        self.token = secrets.token_urlsafe(32)

    def remember(self, answer: Response) -> Response:
        """Give the browser its cookie: unreadable to scripts, never sent from another site."""
        answer.set_cookie(
            COOKIE, self.token, max_age=TTL_S, path="/ops", secure=request.is_secure, httponly=True, samesite="Strict"
        )
        return answer

    def _role(self) -> Role | None:
        """Return the role of the key that was shown; a key that is taken out of the settings ends its sessions."""
        if COOKIE not in request.cookies:
            return None
        try:
            key_hash = key_hash_of(self._redis, self._keys, self.token)
        except RedisError:
            return None
        return self._guard.role_of(key_hash) if key_hash else None
