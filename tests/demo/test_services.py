import contextlib
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import IO
from urllib.parse import urlsplit

import pytest
from redis import Redis

import demo.services
from demo.errors import DemoError
from demo.held import Launch, hold_server, is_running
from demo.services import hold_redis, redis_binary
from slates.client import RedisError, connect

ROOT = Path(__file__).resolve().parents[2]
HOLD = "import os, pathlib, sys, demo.services; s = demo.services.hold_redis(pathlib.Path(sys.argv[1])); "
SAY_AND_WAIT = "print(s.url, flush=True); sys.stdin.read()"
FORK_AND_LEAVE = "os.fork() and (s.close(), os._exit(0)); " + SAY_AND_WAIT


@contextlib.contextmanager
def client_process(state: Path, then: str = SAY_AND_WAIT) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the Redis of `state` until its standard input is closed."""
    command = [sys.executable, "-c", HOLD + then, str(state)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def read_line(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.readline().strip()


def close(stream: IO[str] | None) -> None:
    assert stream is not None
    stream.close()


def eventually(condition: Callable[[], bool], within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not so within {within_s} s"
        time.sleep(0.02)


def ended(state: Path) -> Callable[[], bool]:
    return lambda: not is_running(state / "redis")


def endpoint(state: Path) -> SimpleNamespace:
    return SimpleNamespace(**json.loads((state / "redis/endpoint.json").read_text()))


@contextlib.contextmanager
def talk(url: str) -> Iterator[Redis]:
    with contextlib.closing(connect(url, retries=0)) as client:
        yield client


def answers(url: str) -> bool:
    try:
        with talk(url) as client:
            return bool(client.ping())
    except RedisError:
        return False


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A state folder of its own, left only when its server has ended."""
    yield tmp_path / "state"
    eventually(ended(tmp_path / "state"))


def test_two_processes_share_one_server(state: Path) -> None:
    with client_process(state) as first, client_process(state) as second:
        url = read_line(first.stdout)
        assert read_line(second.stdout) == url
        with hold_redis(state) as third:
            assert third.url == url
            assert answers(url)


def test_processes_that_start_at_the_same_instant_get_one_server(state: Path) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(client_process(state)) for _ in range(4)]
        assert len({read_line(client.stdout) for client in clients} - {""}) == 1


def test_server_ends_when_the_last_of_two_clients_ends(state: Path) -> None:
    with client_process(state) as first, client_process(state) as second:
        url = read_line(first.stdout)
        read_line(second.stdout)
        close(first.stdin)
        assert first.wait(20) == 0
        assert answers(url)
        assert is_running(state / "redis")
        close(second.stdin)
        eventually(ended(state))
        assert not answers(url)


def test_server_ends_when_its_only_client_is_killed(state: Path) -> None:
    with client_process(state) as client:
        url = read_line(client.stdout)
        assert answers(url)
        client.kill()
        eventually(ended(state))
        assert not answers(url)


def test_forked_worker_keeps_hold_when_its_parent_has_gone(state: Path) -> None:
    with client_process(state, FORK_AND_LEAVE) as parent:
        url = read_line(parent.stdout)
        assert parent.wait(20) == 0
        server = endpoint(state).pid
        for _ in range(2):  # a server that nobody held would have been stopped before we get hold of one
            with hold_redis(state) as service:
                assert service.url == url
                assert endpoint(state).pid == server
        close(parent.stdin)  # the worker's too
        eventually(ended(state))


def test_close_in_one_holder_leaves_the_other_its_server(state: Path) -> None:
    first, second = hold_redis(state), hold_redis(state)
    first.close()
    first.close()
    assert answers(second.url)
    second.close()
    eventually(ended(state))


def test_server_ends_with_its_supervisor_and_the_next_client_revives_it_at_the_same_url(state: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux tells a child that its parent died")
    with hold_redis(state) as outlived:
        os.kill(endpoint(state).supervisor, signal.SIGKILL)
        eventually(ended(state))
        assert not answers(outlived.url)
        with hold_redis(state) as revived:
            assert revived.url == outlived.url
            assert answers(outlived.url)


def test_supervisor_ends_when_the_server_dies_and_the_next_client_starts_another(state: Path) -> None:
    with hold_redis(state):
        os.kill(endpoint(state).pid, signal.SIGKILL)
        eventually(ended(state))
        with hold_redis(state) as second:
            assert answers(second.url)


def test_supervisor_that_is_asked_to_end_stops_the_server_cleanly(state: Path) -> None:
    with hold_redis(state):
        os.kill(endpoint(state).supervisor, signal.SIGTERM)
        eventually(ended(state))
        assert "bye bye" in (state / "redis/server.log").read_text()


def test_supervisor_is_out_of_reach_of_the_clients_terminal(state: Path) -> None:
    with hold_redis(state):
        assert os.getsid(endpoint(state).supervisor) != os.getsid(0)
        assert os.getsid(endpoint(state).pid) != os.getsid(0)


def test_data_survive_stop_and_start(state: Path) -> None:
    with hold_redis(state) as service, talk(service.url) as client:
        client.set("hourfeed:current", "g7")
    eventually(ended(state))
    with hold_redis(state) as service, talk(service.url) as client:
        assert client.get("hourfeed:current") == b"g7"


def test_slates_of_1024_bytes_stay_compact_and_nothing_is_left_to_chance(state: Path) -> None:
    with hold_redis(state) as service, talk(service.url) as client:
        settings = client.config_get(
            "hash-max-listpack-value",
            "hash-max-listpack-entries",
            "appendonly",
            "appendfsync",
            "save",
            "protected-mode",
        )
        client.hset("compact", "2021-12-20T15", "1" * 1024)
        client.hset("spread", "2021-12-20T15", "1" * 1025)
        assert client.object("ENCODING", "compact") == b"listpack"
        assert client.object("ENCODING", "spread") == b"hashtable"
    assert settings == {
        "hash-max-listpack-value": "1024",
        "hash-max-listpack-entries": "1024",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "protected-mode": "yes",
    }


def test_server_listens_on_one_loopback_address_alone(state: Path) -> None:
    with hold_redis(state) as service:
        port = urlsplit(service.url).port
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
        for address in ("127.0.0.2", "::1"):
            with pytest.raises(OSError, match=r"refused|assign|unreachable|timed out|not supported"):
                socket.create_connection((address, port), timeout=2).close()


def test_nobody_gets_in_without_the_password(state: Path) -> None:
    with hold_redis(state) as service:
        address = urlsplit(service.url)
        assert not answers(f"redis://127.0.0.1:{address.port}/0")
        assert answers(service.url)


def test_password_is_in_no_command_line_and_in_no_file_that_others_may_read(state: Path) -> None:
    with hold_redis(state) as service:
        password = urlsplit(service.url).password or ""
        lines = subprocess.run(["ps", "-ww", "-eo", "args"], capture_output=True, text=True, check=True).stdout
        assert "supervisor.py" in lines
        assert f"127.0.0.1:{urlsplit(service.url).port}" in lines  # as the server shows itself
        assert len(password) >= 32
        assert password not in lines
        assert stat.S_IMODE(state.stat().st_mode) == 0o700
        assert stat.S_IMODE((state / "redis").stat().st_mode) == 0o700
        files = [path for path in (state / "redis").iterdir() if path.is_file()]
        assert {"endpoint.json", "password", "server.conf"} <= {path.name for path in files}
        assert {path.name for path in files if stat.S_IMODE(path.stat().st_mode) != 0o600} == set()


@pytest.mark.parametrize(
    "left_over", ['{"url": "redis://:old@127.0.0.1:1/0", "pid": 1, "supervisor": 1}', "", "{", "[]"]
)
def test_dead_endpoint_file_is_no_obstacle(state: Path, left_over: str) -> None:
    (state / "redis").mkdir(parents=True)
    (state / "redis/endpoint.json").write_text(left_over)
    with hold_redis(state) as service:
        assert answers(service.url)


def test_port_that_a_stranger_took_meanwhile_is_given_up(state: Path) -> None:
    hold_redis(state).close()
    eventually(ended(state))
    port = urlsplit(endpoint(state).url).port
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.bind(("127.0.0.1", port))
        stranger.listen()
        with hold_redis(state) as service:
            assert urlsplit(service.url).port != port
            assert answers(service.url)


def test_server_that_cannot_bind_is_tried_again_on_another_port(tmp_path: Path) -> None:
    tried: list[int] = []

    def launch(port: int) -> Launch:
        tried.append(port)
        ends_at_once, stays = ("false",), ("sleep", "600")
        return Launch(stays if len(tried) == 3 else ends_at_once, f"port {port}", str(tmp_path))

    with hold_server(tmp_path / "service", launch, lambda url: len(tried) == 3) as held:
        assert held.url == f"port {tried[2]}"
        assert len(set(tried)) > 1
    eventually(lambda: not is_running(tmp_path / "service"))


def test_server_that_always_ends_is_an_error_that_shows_its_log(tmp_path: Path) -> None:
    argv = (sys.executable, "-c", "print('no room for port 7')")
    with pytest.raises(DemoError, match=r"ended 3 times right after its start.*no room for port 7"):
        hold_server(tmp_path / "service", lambda port: Launch(argv, "url", str(tmp_path)), lambda url: False)
    eventually(lambda: not is_running(tmp_path / "service"))


def test_server_that_never_answers_is_an_error_and_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="did not answer in time"):
        hold_server(
            tmp_path / "service",
            lambda port: Launch(("sleep", "600"), "url", str(tmp_path)),
            lambda url: False,
            timeout_s=2,
        )
    eventually(lambda: not is_running(tmp_path / "service"))


def test_program_that_is_missing_is_an_error_that_names_it(tmp_path: Path) -> None:
    missing = (str(tmp_path / "no-such-server"),)
    with pytest.raises(DemoError, match=r"no-such-server.*No such file"):
        hold_server(tmp_path / "service", lambda port: Launch(missing, "", str(tmp_path)), lambda url: False)


def test_state_folder_that_is_a_file_is_an_error_that_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(DemoError, match=r"state/redis cannot hold a server.*HOURFEED_STATE"):
        hold_redis(tmp_path / "state")


def test_without_any_redis_the_error_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DemoError, match=r"Set REDIS_URL, or install one of them"):
        redis_binary()


def test_redis_on_path_comes_before_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert redis_binary().name in {"redis-server", "valkey-server"}
    (tmp_path / "redis-server").write_text("#!/bin/sh\n")
    (tmp_path / "redis-server").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert redis_binary() == tmp_path / "redis-server"


@pytest.mark.parametrize(
    ("version", "name"),
    [
        ("Redis server v=6.2.7 sha=00000000:0", "ziplist"),
        ("Redis server v=7.0.15 sha=00000000:0", "listpack"),
        ("Valkey server v=10.0.1 sha=00000000:0", "listpack"),
    ],
)
def test_compact_hashes_are_set_by_the_name_that_the_version_knows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str, name: str
) -> None:
    server = tmp_path / "redis-server"
    server.write_text(f"#!/bin/sh\necho '{version}'\n")
    server.chmod(0o755)
    monkeypatch.setattr(demo.services, "redis_binary", lambda: server)
    demo.services._launch_redis(tmp_path, 7)
    lines = (tmp_path / "server.conf").read_text().splitlines()
    assert [line for line in lines if line.startswith("hash-max")] == [
        f"hash-max-{name}-value 1024",
        f"hash-max-{name}-entries 1024",
    ]


TEST_THAT_NEVER_ENDS = """
import pathlib, signal
def test(redis_url, postgres_url):
    pathlib.Path("urls.new").write_text(redis_url + "\\n" + postgres_url)
    pathlib.Path("urls.new").rename("urls")
    signal.pause()
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A temporary folder that the user of the tests' Postgres may enter."""
    folder = Path(tempfile.mkdtemp(prefix="hourfeed-killed-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_servers_of_the_tests_end_when_pytest_is_killed(tmp_path: Path, open_folder: Path, postgres_url: str) -> None:
    (tmp_path / "test_never_ends.py").write_text(TEST_THAT_NEVER_ENDS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "test_never_ends.py"]
    search = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": search, "TMPDIR": str(open_folder)}
    urls = tmp_path / "urls"
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL) as session:
        try:
            eventually(lambda: urls.exists() or session.poll() is not None, within_s=60)
        finally:
            session.kill()
    redis_port, postgres_port = (urlsplit(url).port for url in urls.read_text().split())
    eventually(lambda: not _is_open(redis_port))
    eventually(lambda: not _is_open(postgres_port))
    folders = [lock.parent for lock in open_folder.rglob("server.lock")]
    assert len(folders) == 2
    eventually(lambda: not any(is_running(folder) for folder in folders))


def _is_open(port: int | None) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except OSError:
        return False
    return True
