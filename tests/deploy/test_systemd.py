"""The units of systemd: it takes them, finds them well shut in, and the server tells it when it listens."""

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from tools import BIN, DEPLOY, run, run_any

UNITS = DEPLOY / "systemd"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
TIMERS = sorted(path.name for path in UNITS.glob("*.timer"))
EXPOSURE = 15
"""The most of 100 that `systemd-analyze security` may find; 0 is out of all reach."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The units beside each other, with the hourfeed of this environment, since systemd looks whether it is there."""
    shutil.copytree(UNITS, tmp_path / "units")
    for name in SERVICES:
        unit = tmp_path / "units" / name
        unit.write_text(unit.read_text().replace("/opt/hourfeed/bin/hourfeed", str(BIN / "hourfeed")))
    return tmp_path / "units"


def test_systemd_takes_every_unit_without_a_warning(folder: Path) -> None:
    units = [folder / name for name in (*SERVICES, *TIMERS)]
    assert run("systemd-analyze", "verify", "--man=no", *units) == ""


def test_systemd_would_warn(folder: Path) -> None:
    unit = folder / "hourfeed-web.service"
    unit.write_text(unit.read_text().replace("MemoryMax=", "MemoryMaximum="))
    assert "MemoryMaximum" in run_any("systemd-analyze", ["verify", "--man=no", unit]).stderr


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_well_shut_in(folder: Path, name: str) -> None:
    run("systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE}", folder / name)


def test_the_user_of_the_services_can_be_made() -> None:
    run("systemd-sysusers", "--dry-run", UNITS / "hourfeed.sysusers.conf")


def test_each_timer_has_its_service_and_no_timer_runs_beside_the_worker() -> None:
    assert {Path(name).stem for name in TIMERS} < {Path(name).stem for name in SERVICES}
    conflicts = (UNITS / "hourfeed-worker.service").read_text().split("Conflicts=", 1)[1].splitlines()[0].split()
    assert set(conflicts) == {*TIMERS, "hourfeed-drain.service"}


def test_the_server_tells_systemd_when_it_listens(tmp_path: Path, redis_url: str) -> None:
    assert "Type=notify" in (UNITS / "hourfeed-web.service").read_text()
    where = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told, socket.create_server(("127.0.0.1", 0)) as probe:
        told.bind(str(where))
        told.settimeout(30)
        port = str(probe.getsockname()[1])
        probe.close()
        env = {**os.environ, "NOTIFY_SOCKET": str(where), "REDIS_URL": redis_url, "PORT": port}
        with subprocess.Popen([BIN / "hourfeed", "serve"], cwd=tmp_path, env=env, stderr=subprocess.DEVNULL) as process:
            try:
                assert b"READY=1" in told.recv(4096)
            finally:
                process.terminate()
                assert process.wait(30) == 0
