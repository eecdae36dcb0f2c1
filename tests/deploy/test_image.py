"""The image: its Dockerfile is sound, and what it puts into the image runs outside of the checkout."""

import contextlib
import http.client
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from tools import DEPLOY, ROOT, run, run_any

DOCKERFILE = DEPLOY / "Dockerfile"
LET_IN = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
ROOMS = ("batch", "charts", "cli", "demo", "server", "slates", "source")


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    assert run("hadolint", DOCKERFILE) == ""


def test_hadolint_would_find_something(tmp_path: Path) -> None:
    careless = tmp_path / "Dockerfile"
    careless.write_text("FROM python\nRUN cd /tmp && pip install flask\n")
    assert run_any("hadolint", [careless]).returncode != 0


def test_the_image_runs_as_nobody_in_particular_and_keeps_no_secret() -> None:
    lines = DOCKERFILE.read_text().splitlines()
    assert [line for line in lines if line.startswith("USER ")] == ["USER 10001:10001"]
    assert not re.search(r"^(ENV|ARG)[^#]*(PASSWORD|SECRET|KEY|_URL)", DOCKERFILE.read_text(), re.MULTILINE)
    assert 'ENTRYPOINT ["hourfeed"]' in lines
    assert 'CMD ["serve"]' in lines
    assert sum("--require-hashes" in line for line in lines) == 1
    from_lines = [line for line in lines if line.startswith("FROM ")]
    assert all(re.match(r"FROM python:\$\{PYTHON\}-(slim-)?bookworm", line) for line in from_lines)


def test_the_context_holds_the_packages_and_what_they_are_built_by() -> None:
    assert set(LET_IN) == {*ROOMS, "pyproject.toml", "README.md", "requirements.lock"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that `pip install .` makes of the build context and nothing else."""
    context = tmp_path_factory.mktemp("context")
    for name in tracked(*LET_IN):
        target = context / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        "dist",
    ]
    subprocess.run([*command, "."], cwd=context, check=True, timeout=120)
    (made,) = (context / "dist").glob("*.whl")
    return made


def tracked(*names: str) -> list[str]:
    """Return the files of the repository below these names."""
    listed = subprocess.run(["git", "ls-files", *names], cwd=ROOT, capture_output=True, text=True, check=True)
    return listed.stdout.splitlines()


def test_the_wheel_holds_every_file_of_the_packages_also_pages_and_style_sheets(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == set(tracked(*ROOMS))
    assert {Path(name).suffix for name in held} >= {".py", ".html", ".css"}


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`bin` of an environment that has the wheel, and the locked packages of this one, but not the checkout."""
    home = tmp_path_factory.mktemp("installed")
    venv.create(home, with_pip=False, symlinks=True)
    (site,) = home.glob("lib/python3*/site-packages")
    here = next(path for path in map(Path, sys.path) if path.name == "site-packages")
    (site / "packages.pth").write_text(f"{here}\n")  # .pth files in there are not followed: they lead to the checkout
    pip = [sys.executable, "-m", "pip", "--python", str(home), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--ignore-installed", str(wheel)], check=True, timeout=120)
    return home / "bin"


@contextlib.contextmanager
def serving(installed: Path, folder: Path, redis_url: str) -> Iterator[int]:
    """Run the image's command in an empty folder, and return its port."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    env = bare_environment(folder) | {"REDIS_URL": redis_url, "PORT": str(port)}
    process = subprocess.Popen([installed / "hourfeed", "serve"], cwd=folder, env=env, stderr=subprocess.DEVNULL)
    try:
        yield port
    finally:
        process.terminate()
        assert process.wait(30) == 0


def bare_environment(folder: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOURFEED_STATE": str(folder), "TMPDIR": str(folder), "LANG": "C.UTF-8"}


def ask(port: int, path: str) -> tuple[int, bytes]:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_what_is_installed_serves_its_pages_without_the_checkout(
    installed: Path, tmp_path: Path, redis_url: str, redis_client: Redis
) -> None:
    where = "import cli, server; print(cli.__file__, server.__file__)"
    found = subprocess.check_output([installed / "python", "-c", where], cwd=tmp_path, env=bare_environment(tmp_path))
    assert found.decode().count(str(installed.parent)) == 2
    with serving(installed, tmp_path, redis_url) as port:
        wait_until_it_answers(port)
        assert ask(port, "/healthz")[0] == 200
        assert ask(port, "/readyz")[0] == 503  # nothing is published here
        for page in ("/docs", "/ops"):
            status, body = ask(port, page)
            assert status == 200, page
            assert b"<html" in body
        styles = re.findall(rb'href="([^"]+\.css)"', ask(port, "/ops")[1])
        assert styles
        assert all(ask(port, style.decode())[0] == 200 for style in styles)


def wait_until_it_answers(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        with contextlib.suppress(OSError):
            ask(port, "/healthz")
            return
        assert time.monotonic() < deadline, "the server does not answer"
        time.sleep(0.05)


def test_the_images_health_check_tells_a_server_that_answers_from_none(
    installed: Path, tmp_path: Path, redis_url: str
) -> None:
    (code,) = re.findall(r'CMD \["python", "-c", "(from urllib[^"]+)"\]', DOCKERFILE.read_text())
    with serving(installed, tmp_path, redis_url) as port:
        wait_until_it_answers(port)
        assert checked(code.replace(":8000/", f":{port}/")) == 0
    assert checked(code.replace(":8000/", f":{port}/")) != 0


def checked(code: str) -> int:
    return subprocess.run([sys.executable, "-c", code], stderr=subprocess.DEVNULL, check=False, timeout=30).returncode
