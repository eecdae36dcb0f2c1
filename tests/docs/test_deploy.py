"""The files in deploy/: a real server takes redis.conf, and the example of hourfeed.toml shows the defaults."""

import contextlib
import re
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from fences import ROOT
from redis import Redis

from batch.settings import BatchSettings
from demo.held import Launch, hold_server, is_running
from demo.services import redis_binary
from server.settings import ServerSettings
from slates.client import RedisError, connect

CONF = ROOT / "deploy/redis.conf"
EXAMPLE = ROOT / "deploy/hourfeed.toml.example"


def answers(url: str) -> bool:
    with contextlib.closing(connect(url, timeout_s=1, retries=0)) as client:
        try:
            return bool(client.ping())
        except RedisError:
            return False


@pytest.fixture
def configured(tmp_path: Path) -> Iterator[Redis]:
    """Client of a server that was started with deploy/redis.conf, on a port and in a folder of its own."""
    folder = tmp_path / "redis"

    def launch(port: int) -> Launch:
        argv = (str(redis_binary()), str(CONF), "--port", str(port), "--dir", str(folder), "--daemonize", "no")
        return Launch(argv, f"redis://127.0.0.1:{port}/0", str(folder))

    with hold_server(folder, launch, answers) as server, contextlib.closing(connect(server.url)) as client:
        yield client
    deadline = time.monotonic() + 20
    while is_running(folder):
        assert time.monotonic() < deadline, "the server outlives its last client"
        time.sleep(0.02)


def test_a_real_server_takes_every_line_of_redis_conf(configured: Redis) -> None:
    lines = [line.split(maxsplit=1) for line in CONF.read_text().splitlines() if line and not line.startswith("#")]
    wanted = {name: value.strip('"') for name, value in lines} | {"maxmemory": str(2 * 2**30)}
    wanted.pop("port")
    assert {"hash-max-listpack-value", "maxmemory-policy", "appendonly", "bind"} <= wanted.keys()
    given = {name: cast("dict[bytes, bytes]", configured.config_get(name)) for name in wanted}
    assert {name: _text(found) for name, found in given.items()} == wanted
    assert wanted["hash-max-listpack-value"] == "1024"
    assert wanted["maxmemory-policy"] == "noeviction"


def _text(found: dict[Any, Any]) -> str:
    (value,) = found.values()
    return value.decode() if isinstance(value, bytes) else str(value)


def test_with_redis_conf_slates_are_stored_compactly(configured: Redis) -> None:
    week = {f"2021-12-{20 + hour // 24}T{hour % 24:02}": " ".join(["-9223372036854775808"] * 20) for hour in range(168)}
    configured.hset("week", items=[part for pair in week.items() for part in pair])
    configured.hset("uuids", "2021-12-20T15", " ".join(["0b6f8a3e-6d0f-4c39-9b1f-5f5d0d6f2a11"] * 20))
    assert configured.object("encoding", "week") == b"listpack"  # 20 × 20 digits and 19 spaces: 419 bytes
    assert configured.object("encoding", "uuids") == b"listpack"  # 20 × 36 characters and 19 spaces: 739 bytes


def test_the_example_shows_every_setting_with_its_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = re.sub(r"^#(?=[a-z\[])", "", EXAMPLE.read_text(), flags=re.MULTILINE)
    without_default = {
        "database_url",
        "drain_database_url",
        "arms",
        "arm",
        "redis_url",
        "acted_on",
        "shown",
        "scheduler",
    }
    fields = BatchSettings.model_fields.keys() | ServerSettings.model_fields.keys()
    assert tomllib.loads(shown).keys() == fields - without_default
    monkeypatch.chdir(tmp_path)
    defaults = BatchSettings(), ServerSettings()
    Path("hourfeed.toml").write_text(shown)
    assert (BatchSettings(), ServerSettings()) == defaults
    Path("hourfeed.toml").write_text(shown.replace("top_n = 20", "top_n = 7"))
    assert BatchSettings().top_n == 7


def test_the_example_changes_nothing_as_it_is() -> None:
    assert tomllib.loads(EXAMPLE.read_text()) == {}
