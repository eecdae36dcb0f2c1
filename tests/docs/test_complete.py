"""What a user meets is named on some page: settings, commands, headers, metrics, fields, words. Keys: docs/redis.md."""

import re
from functools import cache

import click
import pytest
from fakeredis import FakeRedis
from fences import PAGES, ROOT
from published import Generation, put_posts

from batch.settings import BatchSettings, Ranker
from cli.main import COMMANDS, main
from server.app import create_app
from server.settings import ServerSettings
from slates.feed import Rung
from slates.manifest import Manifest, State


@cache
def text() -> str:
    """Return all pages but the changelog and the records, as one."""
    shown = [page for page in PAGES if page.name != "CHANGELOG.md" and "decisions" not in page.parts]
    return "\n".join(page.read_text(encoding="utf-8") for page in shown)


def missing(names: set[str]) -> list[str]:
    assert names
    return sorted(name for name in names if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text()))


def test_every_setting_is_named() -> None:
    assert missing(set(BatchSettings.model_fields) | set(ServerSettings.model_fields)) == []


def test_every_command_and_every_group_member_is_named() -> None:
    context = click.Context(main)
    named = set()
    for name in COMMANDS:
        command = main.get_command(context, name)
        below = command.list_commands(context) if isinstance(command, click.Group) else []
        named |= {f"hourfeed {name} {member}" for member in below} or {f"hourfeed {name}"}
    assert missing(named) == []


def test_every_header_that_the_server_speaks_of_is_named() -> None:
    found = {
        name for path in (ROOT / "server").glob("*.py") for name in re.findall(r"\bX-[A-Z][\w-]+\w", path.read_text())
    }
    assert {"X-Hourfeed-Rung", "X-Request-Id"} <= found
    assert missing(found) == []


def test_every_metric_is_named_in_full() -> None:
    redis = FakeRedis()
    put_posts(redis, "123")
    Generation(popular=dict.fromkeys(range(24), "1 2 3")).publish(redis)
    client = create_app(ServerSettings(), redis).test_client()
    client.get("/post/recommendations/?id=1")
    told = set(re.findall(r"^# TYPE (\w+)", client.get("/metrics").text, re.MULTILINE))
    found = {name for name in told if not name.endswith("_created")}  # the library's own: when counting began
    assert {"hourfeed_requests_total", "hourfeed_generation_age_seconds"} <= found
    assert missing(found) == []


@pytest.mark.parametrize("kind", [Rung, Ranker, State], ids=["rungs", "rankers", "states"])
def test_every_word_of_a_kind_is_named(kind: object) -> None:
    assert missing(set(kind.__args__)) == []  # type: ignore[attr-defined]


def test_every_field_of_the_manifest_is_named() -> None:
    assert missing(set(Manifest.__dataclass_fields__)) == []


def test_the_glossary_is_in_order_and_has_no_word_that_neither_pages_nor_code_use() -> None:
    terms = _terms()
    firsts = [re.split(r", | \(", term)[0].lower() for term in terms]
    assert firsts == sorted(firsts)
    code = [path for room in ("batch", "server", "slates", "source") for path in (ROOT / room).rglob("*.py")]
    used = (path.read_text(encoding="utf-8") for path in (*PAGES, *code) if path.name != "glossary.md")
    others = " ".join(" ".join(used).lower().replace("_", " ").split())
    words = {re.sub(r" \(.*\)$", "", word).lower() for term in terms for word in term.split(", ")}
    assert [word for word in sorted(words) if word not in others] == []


def _terms() -> list[str]:
    rows = re.findall(r"^\| (.+?) \|", (ROOT / "docs/glossary.md").read_text(encoding="utf-8"), re.MULTILINE)
    return rows[2:]
