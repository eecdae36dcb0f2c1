"""Commands of the command line and a server, on a real Redis Cluster of three masters."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clusters import cluster_in

from demo.errors import DemoError
from server.app import create_app
from server.settings import ServerSettings

AS_OF = "2021-12-20T15:00"
WANTED = "/post/recommendations/?id=203&time=2021-12-20T16:30"
ROOT = Path(__file__).resolve().parents[2]
EVENTS = "timestamp,user_id,post_id,action\n" + "".join(
    f"2021-12-20T{10 + turn % 5}:{turn:02}:00,{200 + turn % 7},{1 + turn % 4},view\n" for turn in range(40)
)
POSTS = "post_id,text,topic\n" + "".join(f"{post},text of {post},news\n" for post in range(1, 9))
USERS = "user_id,gender\n" + "".join(f"{user},{user % 2}\n" for user in range(200, 207))


@pytest.fixture
def cluster_url(tmp_path: Path) -> Iterator[str]:
    try:
        with cluster_in(tmp_path / "cluster") as url:
            yield url
    except DemoError as error:
        pytest.skip(str(error))


def test_batches_of_both_codecs_a_server_and_a_rollback_work_on_a_cluster(cluster_url: str, tmp_path: Path) -> None:
    for name, text in (("users", USERS), ("posts", POSTS), ("events", EVENTS)):
        (tmp_path / "log").mkdir(exist_ok=True)
        (tmp_path / f"log/{name}.csv").write_text(text)

    def hourfeed(*arguments: str, codec: str = "ids") -> str:
        environment = {
            "PYTHONPATH": str(ROOT),
            "REDIS_URL": cluster_url,
            "HOURFEED_CODEC": codec,
            "HOURFEED_RANKER": "popular_24h",
        }
        argv = [sys.executable, "-m", "cli", *arguments]
        done = subprocess.run(
            argv, cwd=tmp_path, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    app = create_app(ServerSettings(redis_url=cluster_url))

    def served() -> tuple[list[int], str, str]:
        answer: Any = app.test_client().get(f"{WANTED}&limit=3")
        assert answer.status_code == 200, answer.text
        headers = answer.headers
        return [post["id"] for post in answer.json], headers["X-Hourfeed-Rung"], headers["X-Hourfeed-Generation"]

    assert app.test_client().get(WANTED).status_code == 503
    hourfeed("load", "log")
    hourfeed("batch", "--as-of", AS_OF, "--hours", "3")
    posts, rung, readable = served()
    assert (len(posts), rung) == (3, "exact")
    hourfeed("batch", "--as-of", AS_OF, "--hours", "3", codec="packed")
    again, rung, compact = served()
    assert (again, rung) == (posts, "exact")
    assert compact != readable
    told = json.loads(hourfeed("diff", "--json"))
    assert (told["before"], told["after"], told["users"], told["overlap"]) == (readable, compact, 7, 1.0)
    assert readable in hourfeed("rollback")
    assert served() == (posts, "exact", readable)
    assert [line.split()[1] for line in hourfeed("status").splitlines()[-2:]] == ["rolled_back", "live"]
