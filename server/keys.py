"""Keys: who may ask for what. The server knows of a key its SHA-256 alone, so that its settings give none away.

A key is 32 random bytes, so a plain hash is enough: there is nothing to guess, unlike with passwords.
"""

import functools
import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, ParamSpec, TypeVar

from flask import request
from werkzeug.datastructures import Authorization

from server.settings import ServerSettings

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

Role = Literal["read", "write", "admin"]
ROLES: tuple[Role, ...] = ("read", "write", "admin")
"""Each may do what those before it may."""

_BYTES = 32

P = ParamSpec("P")
T = TypeVar("T")


class AccessError(Exception):
    """A request lacks a key (401), or its key or the server's settings do not allow it (403)."""

    def __init__(self, status: Literal[401, 403], reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


def new_key(role: Role) -> str:
    """Make a key; its beginning tells what it is to whoever finds it where it should not be."""
    return f"hourfeed_{role}_{secrets.token_urlsafe(_BYTES)}"


def hash_of(key: str) -> str:
    """Return what the settings hold of a key: SHA-256 in hexadecimal."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def what_anyone_may(settings: ServerSettings) -> list[str]:
    """Return what whoever reaches the server from another machine may do without a key, where that may surprise."""
    if settings.host in {"127.0.0.1", "::1", "localhost"}:
        return []
    whoever = f"whoever reaches {settings.host}, port {settings.port},"
    if settings.open:
        return [f"HOURFEED_OPEN is set: {whoever} may take posts down and erase users"]
    if settings.database_url and not settings.read_keys:
        return [f"{whoever} may read the profiles and events of all users: set HOURFEED_READ_KEYS (docs/api.md)"]
    return []


class Guard:
    """Lets requests through by their key.

    Reading needs a key where the settings have any for it; writing and administration always do, unless everything is
    open. Several keys for a role: an old one and its successor.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._hashes: dict[Role, tuple[str, ...]] = {
            "read": settings.read_keys,
            "write": settings.write_keys,
            "admin": settings.admin_keys,
        }
        self._is_open = settings.open

    def lets_anyone(self, role: Role) -> bool:
        """Say whether no key is needed for what `role` may do."""
        return self._is_open or (role == "read" and not self._hashes["read"])

    def needs(self, role: Role) -> Callable[[Callable[P, T]], Callable[P, T]]:
        """Decorate a view with a check; without cost where no key is needed."""

        def decorate(view: Callable[P, T]) -> Callable[P, T]:
            if self.lets_anyone(role):
                return view

            @functools.wraps(view)
            def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
                self.check(role)
                return view(*args, **kwargs)

            return guarded

        return decorate

    def caller(self) -> str | None:
        """Return a name for the key of this request that gives nothing away; None without a key that is known."""
        key = _key_given(request.environ)
        return hash_of(key)[:16] if key and self.role_of(hash_of(key)) else None

    def check(self, role: Role, environ: "WSGIEnvironment | None" = None) -> None:
        """Raise AccessError where a request may not do this; without `environ` that which Flask answers is meant."""
        if self.lets_anyone(role):
            return
        allowed = ROLES[ROLES.index(role) :]
        if not any(self._hashes[other] for other in allowed):
            raise AccessError(
                403,
                f"this server has no {role} key, so nobody may do this: make one with `hourfeed key new --role {role}` "
                f"and put its hash into HOURFEED_{role.upper()}_KEYS (HOURFEED_OPEN=1 opens everything, for a demo)",
            )
        key = _key_given(environ or request.environ)
        if key is None:
            raise AccessError(401, f"a {role} key is needed: send the header Authorization: Bearer KEY")
        held = self.role_of(hash_of(key))
        if held is None:
            raise AccessError(401, "this key is not known")
        if held not in allowed:
            raise AccessError(403, f"this needs a {role} key, and the one given is a {held} key")

    def role_of(self, digest: str) -> Role | None:
        """Return the highest role of a key by its hash; every known one is compared, so that the time tells nothing."""
        found: Role | None = None
        for role in ROLES:
            for known in self._hashes[role]:
                if hmac.compare_digest(known, digest):
                    found = role
        return found


def _key_given(environ: "WSGIEnvironment") -> str | None:
    given = Authorization.from_header(environ.get("HTTP_AUTHORIZATION"))
    return given.token if given is not None and given.type == "bearer" else None
