"""Every shell block of the pages is run, or says in a comment before it why not, or which test runs it.

Blocks of a page share a shell and a folder. There is a small network in a database, a live generation of it in a real
Redis, and a server where the page asks one. What a page tells its reader to replace is replaced, and `SMALLER` says
what is cut down so that it takes seconds.
"""

import contextlib
import re
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest
from fences import PAGES, ROOT, commands
from fences import blocks as all_blocks
from redis import Redis
from shell import Place, free_port, make_place, which

from batch.pipeline import run_batch
from batch.settings import BatchSettings
from demo.parameters import Parameters
from demo.simulate import simulate
from server.keys import hash_of, new_key
from slates.client import connect
from source.engine import open_engine

QUICK = {"HOURFEED_TREES": "5", "HOURFEED_TRAIN_GROUPS": "300", "HOURFEED_GATE_DAYS": "0"}
SMALLER: dict[str, list[tuple[str, str]]] = {
    "docs/evaluation.md": [("--to 2021-12-27", "--to 2021-12-20T02:00 --ranker popular_24h")],
}
"""Page → what stands there, what is run."""
OF_THE_READER = "postgresql://hourfeed:change-me@db.example.org:5432/app"
LOG_END = datetime(2021, 12, 28, tzinfo=UTC)
NETWORK = Parameters(users=850, posts=150, days=10, activity=0.05, end=LOG_END)
"""Has a user 1000 and a post 84, as the pages have."""

BEFORE = {"deploy/README.md": ["hourfeed batch"]}
"""What is taken for granted there: another generation to go back from."""
RUN_ELSEWHERE = {"docs/quickstart.md", "docs/connect.md"}
"""Whole pages that test_newcomer.py runs, each in a place of its own."""
SETTINGS = {"docs/experiments.md"}
"""Pages whose blocks of TOML are the hourfeed.toml that their commands are run with."""

RUN_HERE = [
    page
    for page in PAGES
    if any(not block.mark for block in commands(page)) and str(page.relative_to(ROOT)) not in RUN_ELSEWHERE
]


@dataclass(frozen=True)
class Site:
    """What every page finds: a state folder with database and models, and all that is in Redis."""

    state: Path
    values: list[tuple[bytes, int, bytes]]


class _Silent:
    def stage(self, name: str, done: int, total: int | None) -> None: ...

    def note(self, text: str) -> None: ...


@pytest.fixture(scope="module")
def site(_redis_server: str, tmp_path_factory: pytest.TempPathFactory) -> Site:
    state = tmp_path_factory.mktemp("site")
    settings = BatchSettings(state=state, ranker="popular_24h", hours=3)
    engine = open_engine(None, state)
    with contextlib.closing(connect(_redis_server)) as redis:
        redis.flushall()
        simulate(NETWORK, engine, settings.source, state, keep_end=True)
        run_batch(settings, engine, redis, datetime.now(UTC).replace(microsecond=0), _Silent())
        engine.dispose()
        keys = list(redis.scan_iter(count=1000))
        dumps = [(key, max(0, redis.pttl(key)), cast("bytes", redis.dump(key))) for key in keys]
    return Site(state, dumps)


def put_back(redis: Redis, site: Site) -> None:
    pipeline = redis.pipeline(transaction=False)
    for key, ttl_ms, value in site.values:
        pipeline.restore(key, ttl_ms, value)
    pipeline.execute()


@pytest.fixture
def place(site: Site, redis_url: str, redis_client: Redis, tmp_path: Path) -> Place:
    """Return the folder that a page's commands run in; what they do to it, to database and Redis ends with the test."""
    put_back(redis_client, site)
    key = new_key("admin")
    folder = tmp_path / "checkout"
    shutil.copytree(site.state, folder / ".hourfeed")
    variables = {"REDIS_URL": redis_url, "REDIS_CLI_URL": redis_url, "KEY": key, "HOURFEED_PORT": str(free_port())}
    return make_place(folder, **variables, **QUICK, HOURFEED_ADMIN_KEYS=f'["{hash_of(key)}"]', HOURFEED_WORKERS="1")


@pytest.mark.parametrize("page", [str(page.relative_to(ROOT)) for page in RUN_HERE])
def test_the_commands_of_a_page_run(page: str, place: Place) -> None:
    which("curl")
    port = place.variables["HOURFEED_PORT"]
    blocks = [block.text for block in commands(ROOT / page) if not block.mark]
    replaced = {OF_THE_READER: f"sqlite:///{place.folder}/.hourfeed/hourfeed.db"}
    replaced |= {"redis://127.0.0.1:6379/0": place.variables["REDIS_URL"]}
    replaced |= {"redis://new.example.org:6379/0": place.variables["REDIS_URL"].removesuffix("/0") + "/1"}
    replaced |= {"20211220T150000-7": "$(redis-cli ZREVRANGE hourfeed:generations 0 0)"}
    replaced |= {"127.0.0.1:8000": f"127.0.0.1:{port}", "--port 8000": f"--port {port}"}
    replaced |= dict(SMALLER.get(page, []))
    before = "\n".join(blocks)
    for shown, real in replaced.items():
        blocks = [block.replace(shown, real) for block in blocks]
    if page in SETTINGS:
        settings = [block.text for block in all_blocks(ROOT / page) if block.language == "toml"]
        (place.folder / "hourfeed.toml").write_text("\n".join(settings))
    for shown, _ in SMALLER.get(page, []):
        assert shown in before, f"{page} does not say {shown!r} any more"
    first_asked, first_served = (
        before.find("127.0.0.1:8000"),
        re.search(r"^hourfeed (serve|demo)\b", before, re.MULTILINE),
    )
    if first_asked >= 0 and (first_served is None or first_asked < first_served.start()):
        blocks.insert(0, "hourfeed serve")  # the page takes for granted that one runs
    place.run([*BEFORE.get(page, []), *blocks])


def test_most_blocks_are_run() -> None:
    found = [block for page in PAGES for block in commands(page)]
    assert len(found) > 20
    assert sum(block.mark != "not run" for block in found) >= 0.7 * len(found)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_block_that_is_not_run_says_why(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    marked = [block for block in commands(page) if block.mark]
    assert len(re.findall(r"^<!-- ?(?:not run|run by)", text, re.MULTILINE)) == len(marked), "a mark before no block"
    for block in marked:
        if block.mark == "not run":
            assert len(block.why.split()) >= 3, f"{page.name}: why is this not run?\n{block.text}"
        else:
            file, _, name = block.why.partition("::")
            assert f"\ndef {name}(" in (ROOT / file).read_text(encoding="utf-8"), f"there is no test {block.why}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_shell_blocks_are_marked_as_such(page: Path) -> None:
    for language, text in re.findall(
        r"^```(\w*)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    ):
        assert language not in {"bash", "shell", "console", "zsh"}, f"{page.name}: write ```sh"
        if language != "sh":
            command = re.search(r"^(\$ |hourfeed |make |curl |pip |redis-cli )", text, re.MULTILINE)
            assert command is None, f"{page.name}: {text}"
