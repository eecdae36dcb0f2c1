"""compose.yaml: it keeps to the specification, shows nothing to the network, and its Redis starts as written."""

import contextlib
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from redis import Redis
from redis.exceptions import AuthenticationError
from tools import DEPLOY, run

from demo.services import redis_binary

FILE = DEPLOY / "compose.yaml"
PASSWORD = "only-for-this-test"


@pytest.fixture(scope="module")
def rendered() -> Any:
    """The file as docker-compose reads it, variables filled in."""
    variables = {"POSTGRES_PASSWORD": PASSWORD, "REDIS_PASSWORD": PASSWORD}
    return yaml.safe_load(run("docker-compose", "--file", FILE, "config", cwd=DEPLOY, env=variables))


def test_the_file_keeps_to_the_compose_specification() -> None:
    assert "ok" in run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", FILE)


def test_only_the_server_is_published_and_to_this_machine_alone(rendered: Any) -> None:
    published = {name: service["ports"] for name, service in rendered["services"].items() if service.get("ports")}
    assert published.keys() == {"web"}
    assert "127.0.0.1:8000:8000" in str(published["web"]) or "host_ip: 127.0.0.1" in yaml.safe_dump(published["web"])
    assert rendered["networks"]["inside"]["internal"] is True
    assert [name for name, service in rendered["services"].items() if "outside" in service["networks"]] == ["web"]


def test_every_service_is_bounded_and_cannot_gain_privileges(rendered: Any) -> None:
    for name, service in rendered["services"].items():
        assert service["mem_limit"], name
        assert service["logging"]["options"]["max-size"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["restart"] == "unless-stopped", name
        assert not re.search(r":latest$", service["image"]), name
    assert all(rendered["services"][name]["read_only"] is True for name in ("web", "worker", "redis"))


def test_services_wait_for_what_they_need_to_be_healthy(rendered: Any) -> None:
    healthy = {name for name, service in rendered["services"].items() if "test" in service.get("healthcheck", {})}
    needs = {name: service.get("depends_on", {}) for name, service in rendered["services"].items()}
    assert {name: set(others) for name, others in needs.items() if others} == {
        "web": {"redis"},
        "worker": {"redis", "postgres"},
    }
    for others in needs.values():
        assert {condition["condition"] for condition in others.values()} <= {"service_healthy"}
        assert set(others) <= healthy


def test_both_parts_find_database_and_redis_by_the_passwords_of_env(rendered: Any) -> None:
    for name in ("web", "worker"):
        environment = rendered["services"][name]["environment"]
        assert environment["DATABASE_URL"] == f"postgresql://hourfeed:{PASSWORD}@postgres:5432/hourfeed"
        assert environment["REDIS_URL"] == f"redis://:{PASSWORD}@redis:6379/0"


def test_without_passwords_nothing_is_started() -> None:
    asked = set(re.findall(r"\$\{(\w+):\?", FILE.read_text()))
    lines = (DEPLOY / "compose.env.example").read_text().splitlines()
    shown = dict(line.split("=", 1) for line in lines if not line.startswith("#") and line)
    assert asked == {"POSTGRES_PASSWORD", "REDIS_PASSWORD"}
    assert shown.pop("COMPOSE_PROJECT_NAME") == "hourfeed"
    assert shown.keys() == set(re.findall(r"\$\{(\w+):", FILE.read_text()))
    assert not any(shown.values())


@contextlib.contextmanager
def redis_of_compose(tmp_path: Path) -> Iterator[Redis]:
    """Run the very command of the service `redis`, with the files of this machine in place of the container's."""
    (shell, option, script) = yaml.safe_load(FILE.read_text())["services"]["redis"]["command"]
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "redis-server").symlink_to(redis_binary())
    socket = tmp_path / "redis.sock"
    script = script.replace("$$", "$").replace("/etc/redis/redis.conf", str(DEPLOY / "redis.conf"))
    script = script.replace("/tmp/redis.conf", str(tmp_path / "redis.conf"))
    script = script.replace("bind * -::*", f"bind 127.0.0.1\\nport 0\\nunixsocket {socket}\\ndir {tmp_path}")
    env = {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "REDIS_PASSWORD": PASSWORD}
    with subprocess.Popen([shell, option, script], env=env, stdout=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 20
            while not socket.exists():
                assert process.poll() is None, "the server ended"
                assert time.monotonic() < deadline, "the server does not listen"
                time.sleep(0.02)
            assert str(process.pid) == server_of(socket)
            yield Redis(unix_socket_path=str(socket), protocol=2)
        finally:
            process.terminate()
            process.wait(20)


def server_of(socket: Path) -> str:
    """Return the process number that the server gives itself: the shell's, whose place it took."""
    with Redis(unix_socket_path=str(socket), password=PASSWORD, protocol=2) as client:
        return str(client.info("server")["process_id"])


def test_redis_starts_by_its_command_with_the_settings_of_redis_conf_and_asks_for_the_password(tmp_path: Path) -> None:
    with redis_of_compose(tmp_path) as stranger:
        with pytest.raises(AuthenticationError):
            stranger.ping()
        stranger.close()
        with Redis(unix_socket_path=str(tmp_path / "redis.sock"), password=PASSWORD, protocol=2) as client:
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
            assert client.config_get("hash-max-listpack-value") == {"hash-max-listpack-value": "1024"}
        assert (tmp_path / "redis.conf").stat().st_mode & 0o077 == 0
