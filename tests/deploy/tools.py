"""Finds the tools that check deploy/, which `make test` installs: without one a test is skipped, but not in CI."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
BIN = Path(sys.executable).parent
UNPACKED = BIN.parent / "debian/usr/bin"
"""Programs of Debian's packages that are unpacked and not installed."""


def tool(name: str) -> str:
    """Return the path of a program: of the virtual environment, of an unpacked package, or on PATH."""
    places = os.pathsep.join([str(BIN), str(UNPACKED), os.environ["PATH"]])
    found = shutil.which(name, path=places)
    if found is None:
        reason = f"there is no {name}: `make deploy-tools` installs it"
        if os.environ.get("CI", "").lower() in {"1", "true"}:
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def run(name: str, *arguments: str | Path, cwd: Path = ROOT, env: dict[str, str] | None = None) -> str:
    """Run a tool and return all it printed; it must end with 0."""
    ended = run_any(name, arguments, cwd, env)
    assert ended.returncode == 0, f"{name}: {ended.stdout}{ended.stderr}"
    return ended.stdout + ended.stderr


def run_any(
    name: str, arguments: Sequence[str | Path], cwd: Path = ROOT, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a tool and return how it ended."""
    variables = {**os.environ, **(env or {})}
    return subprocess.run(
        [tool(name), *map(str, arguments)],
        cwd=cwd,
        env=variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
