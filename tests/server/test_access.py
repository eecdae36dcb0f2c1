import re
from typing import Any

import pytest
from click.testing import CliRunner
from fakeredis import FakeRedis
from flask.testing import FlaskClient
from published import Generation, put_posts

from cli.key import command
from server.app import create_app
from server.keys import ROLES, AccessError, Guard, hash_of, new_key, what_anyone_may
from server.settings import ServerSettings

URL = "/post/recommendations/?id=7&time=2021-12-20T12"
KEYS: dict[str, str] = {role: new_key(role) for role in ROLES}


def client_of(**settings: object) -> FlaskClient:
    redis = FakeRedis()
    put_posts(redis, "1")
    Generation(users={"7": {12: "1"}}, popular={12: "1"}).publish(redis)
    return create_app(ServerSettings(**settings), redis).test_client()  # type: ignore[arg-type]


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def refusal(settings: ServerSettings, role: str, headers: dict[str, str]) -> int | None:
    """Return the status with which a view that needs a role is refused, None where it is not."""
    guarded = Guard(settings).needs(role)(lambda: None)  # type: ignore[arg-type]
    with create_app(settings, FakeRedis()).test_request_context(headers=headers):
        try:
            guarded()
        except AccessError as error:
            return error.status
    return None


def test_without_keys_anyone_reads_and_nobody_writes() -> None:
    assert client_of().get(URL).status_code == 200
    for role in ("write", "admin"):
        assert refusal(ServerSettings(), role, bearer(KEYS["admin"])) == 403


def test_the_refusal_says_what_to_set() -> None:
    guarded = Guard(ServerSettings()).needs("write")(lambda: None)
    with pytest.raises(AccessError, match=r"hourfeed key new --role write.*HOURFEED_WRITE_KEYS.*HOURFEED_OPEN=1"):
        guarded()


def test_open_needs_no_key_for_anything() -> None:
    settings = ServerSettings(open=True, read_keys=(hash_of(KEYS["read"]),))
    assert [refusal(settings, role, {}) for role in ROLES] == [None, None, None]


@pytest.mark.parametrize(
    ("needed", "given", "status"),
    [
        ("read", "read", None),
        ("read", "write", None),
        ("read", "admin", None),
        ("write", "read", 403),
        ("write", "write", None),
        ("write", "admin", None),
        ("admin", "read", 403),
        ("admin", "write", 403),
        ("admin", "admin", None),
        ("read", "unknown", 401),
        ("admin", "unknown", 401),
        ("read", None, 401),
        ("admin", None, 401),
    ],
)
def test_a_role_may_do_what_those_before_it_may(needed: str, given: str | None, status: int | None) -> None:
    settings = ServerSettings(
        read_keys=(hash_of(KEYS["read"]),), write_keys=(hash_of(KEYS["write"]),), admin_keys=(hash_of(KEYS["admin"]),)
    )
    headers = {} if given is None else bearer(KEYS.get(given, "hourfeed_admin_guessed"))
    assert refusal(settings, needed, headers) == status


def test_with_an_admin_key_alone_writing_takes_that() -> None:
    settings = ServerSettings(admin_keys=(hash_of(KEYS["admin"]),))
    assert refusal(settings, "write", bearer(KEYS["admin"])) is None
    assert refusal(settings, "write", {}) == 401


def test_while_a_key_is_replaced_old_and_new_one_hold() -> None:
    old, new, gone = (new_key("read") for _ in range(3))
    client = client_of(read_keys=(hash_of(old), hash_of(new)))
    assert [client.get(URL, headers=bearer(key)).status_code for key in (old, new, gone)] == [200, 200, 401]


@pytest.mark.parametrize("value", ["Basic YTpi", "Bearer", "Bearer ", "bearer \xff", "", "Bearer a b"])
def test_what_is_no_key_is_401_and_says_how_to_give_one(value: str) -> None:
    answer = client_of(read_keys=(hash_of(KEYS["read"]),)).get(URL, headers={"Authorization": value})
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert answer.json is not None
    assert answer.json["error"].keys() == {"reason"}


def test_the_scheme_is_read_in_any_case_and_whoever_watches_needs_no_key() -> None:
    client = client_of(read_keys=(hash_of(KEYS["read"]),))
    assert client.get(URL, headers={"Authorization": f"bearer {KEYS['read']}"}).status_code == 200
    assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize("listed", ["{0},{1}", "{0} {1}", '["{0}", "{1}"]', " {0} ,\n{1} "])
def test_the_environment_lists_hashes_as_people_write_lists(monkeypatch: pytest.MonkeyPatch, listed: str) -> None:
    hashes = hash_of("a"), hash_of("b")
    monkeypatch.setenv("HOURFEED_WRITE_KEYS", listed.format(*hashes))
    assert ServerSettings().write_keys == hashes


def test_a_key_where_its_hash_belongs_is_refused() -> None:
    with pytest.raises(ValueError, match="hourfeed key new"):
        ServerSettings(read_keys=(KEYS["read"],))


def test_the_command_prints_a_key_and_the_hash_that_lets_it_in() -> None:
    printed = CliRunner().invoke(command, ["new", "--role", "write"])
    found = re.fullmatch(r"key   (hourfeed_write_[\w-]{43})\nhash  ([0-9a-f]{64})\n", printed.stdout)
    assert found
    assert refusal(ServerSettings(write_keys=(found[2],)), "write", bearer(found[1])) is None
    assert "HOURFEED_WRITE_KEYS" in printed.stderr
    assert found[1] not in CliRunner().invoke(command, ["new", "--role", "write"]).stdout


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"host": "127.0.0.1", "open": True}, ""),
        ({"host": "0.0.0.0"}, ""),
        ({"host": "0.0.0.0", "open": True}, "may take posts down"),
        ({"host": "0.0.0.0", "database_url": "sqlite:///x.db"}, "may read the profiles"),
        ({"host": "0.0.0.0", "database_url": "sqlite:///x.db", "read_keys": ("0" * 64,)}, ""),
    ],
)
def test_what_anyone_may_do_from_elsewhere_is_told_where_it_may_surprise(settings: dict[str, Any], told: str) -> None:
    told_now = what_anyone_may(ServerSettings(**settings))
    assert told in " ".join(told_now)
    assert bool(told_now) == bool(told)
