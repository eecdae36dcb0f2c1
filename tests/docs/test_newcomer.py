"""A reader who has never seen the project does what quickstart and connect.md say, block by block, and gets feeds."""

import contextlib
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import psycopg2
import pytest
from fences import ROOT, blocks, commands, golden
from psycopg2.extras import execute_values
from shell import free_port, make_place, which
from sqlalchemy import make_url

QUICK = {"HOURFEED_TREES": "5", "HOURFEED_TRAIN_GROUPS": "300", "HOURFEED_GATE_DAYS": "0", "HOURFEED_WORKERS": "1"}
CONNECT = ROOT / "docs/connect.md"
SECTIONS = ("news", "sport")
SHOWN_USER = UUID("0b6f8a3e-6d0f-4c39-9b1f-5f5d0d6f2a11")
"""The one whom the page shows."""


def feeds_in(printed: str) -> list[list[dict[str, Any]]]:
    """Return the feeds among what was printed, in order."""
    decoder = json.JSONDecoder()
    return [decoder.raw_decode(printed, found.start())[0] for found in re.finditer(r'\[\{"id":', printed)]


def test_the_quickstart_leads_from_an_empty_machine_to_feeds(tmp_path: Path) -> None:
    which("curl")
    port = free_port()
    page = ROOT / "docs/quickstart.md"
    assert all(not block.mark for block in commands(page))
    replaced = {"hourfeed demo": f"hourfeed demo --port {port} --users 850", ":8000/": f":{port}/"}
    steps = [block.text for block in commands(page)]
    for shown, real in replaced.items():
        assert any(shown in step for step in steps)
        steps = [step.replace(shown, real) for step in steps]
    place = make_place(tmp_path / "checkout", HOURFEED_PORT=str(port), **QUICK)
    printed = place.run(steps)
    of_demo, of_anna = feeds_in(printed)
    assert len(of_demo) == 2
    assert all(post["text"] and post["topic"] for post in of_demo)
    assert re.search(r"^user 1000, .* rung exact", printed, re.MULTILINE)
    (shown_answer,) = [block.text for block in blocks(page) if block.language == "json"]
    assert of_anna == json.loads(shown_answer)


@pytest.fixture
def own_database(postgres_url: str) -> Iterator[tuple[str, list[UUID], dict[UUID, set[UUID]]]]:
    """URL of the page's role, its users, and what each of them liked: two days of a site under names of its own."""
    random = Random(6)
    owner_url = postgres_url.replace("+psycopg2", "")
    users = [SHOWN_USER, *(UUID(int=random.getrandbits(128), version=4) for _ in range(59))]
    articles = [UUID(int=random.getrandbits(128), version=4) for _ in range(40)]
    now = datetime.now(UTC)
    members = [(str(user), ("NL", "DE")[n % 2], 1960 + n, n % 3 == 0, None, now) for n, user in enumerate(users)]
    posts = [(str(post), f"Article {n}", SECTIONS[n % 2], None, None, False) for n, post in enumerate(articles)]
    deeds, liked = [], {user: set[UUID]() for user in users}
    for n, user in enumerate(users):  # every other one likes news, the others sport, so a ranker can tell them apart
        for place in random.sample(range(len(articles)), 16):
            at, post = now - timedelta(minutes=random.randrange(1, 48 * 60)), articles[place]
            deeds.append((at, str(user), str(post), "seen"))
            if place % 2 == n % 2:
                deeds.append((at + timedelta(seconds=20), str(user), str(post), "liked"))
                liked[user].add(post)
    with contextlib.closing(psycopg2.connect(owner_url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(golden(CONNECT, "tables"))
        execute_values(cursor, "INSERT INTO app.member VALUES %s", members)
        execute_values(cursor, "INSERT INTO app.article VALUES %s", posts)
        execute_values(cursor, "INSERT INTO app.activity VALUES %s", deeds)
        cursor.execute(golden(CONNECT, "role"))
    yield make_url(owner_url).set(username="hourfeed", password="change-me").render_as_string(False), users, liked
    with contextlib.closing(psycopg2.connect(owner_url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("DROP OWNED BY hourfeed; DROP ROLE hourfeed")


def test_connect_leads_from_a_postgres_with_other_names_and_uuids_to_feeds(
    own_database: tuple[str, list[UUID], dict[UUID, set[UUID]]], redis_url: str, tmp_path: Path
) -> None:
    which("curl")
    port = free_port()
    url, users, liked = own_database
    replaced = {
        "postgresql://hourfeed:change-me@db.example.org:5432/app": url,
        "redis://127.0.0.1:6379/0": redis_url,
        "127.0.0.1:8000": f"127.0.0.1:{port}",
    }
    steps = [block.text for block in commands(CONNECT) if not block.mark]
    for shown, real in replaced.items():
        assert any(shown in step for step in steps)
        steps = [step.replace(shown, real) for step in steps]
    asked = [form for user in users[:10] for form in (str(user), str(user).upper())]
    address = f"http://127.0.0.1:{port}/post/recommendations/?limit=5&id="
    asks = [f"curl -w '\\nrung %header{{x-hourfeed-rung}}\\n' '{address}{identifier}'" for identifier in asked]
    place = make_place(tmp_path / "checkout", HOURFEED_PORT=str(port), **QUICK | {"HOURFEED_TREES": "40"})
    (place.folder / "hourfeed.toml").write_text(golden(CONNECT, "hourfeed.toml"))
    printed = place.run([*steps, *asks])

    by_page, *feeds = feeds_in(printed)
    assert len(feeds) == len(asked)
    assert by_page == feeds[0]
    assert printed.count("rung exact\n") == len(asked)
    for user, in_lower_case, in_upper_case in zip(users[:10], feeds[::2], feeds[1::2], strict=True):
        assert in_lower_case == in_upper_case
        posts = {UUID(post["id"]) for post in in_lower_case}
        assert len(posts) == 5
        assert not posts & liked[user]
        assert all(post["text"].startswith("Article ") for post in in_lower_case)
