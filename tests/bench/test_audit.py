"""The audit finds what is planted, and says what it could not look up."""

import subprocess
import sys
from pathlib import Path

import pytest
from extras import needs

from bench import audit
from bench.audit import Audited, audit_packages, audit_secrets, read_audit

needs("detect_secrets")
KEY = "AKIA" + "Q3EGRZ7XWPLM2N4B"  # in two parts, so that the scan of this tree passes it over


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / "old.py").write_text(f'example = "{KEY}"\n')
    subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
    assert audit_secrets(tmp_path, accept=True) == 0
    return tmp_path


def test_a_new_secret_fails_and_a_known_example_does_not_wherever_its_line_moves(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tree / "page.md").write_text("postgresql://me:change-me@db/app, or redis://me:password@host")
    (tree / "old.py").write_text("\n" * 7 + (tree / "old.py").read_text())
    subprocess.run(["git", "add", "."], cwd=tree, check=True)
    assert audit_secrets(tree) == 0
    (tree / "new.py").write_text(f'\nkey = "{KEY}"\nurl = "redis://me:{"hunter" + "2"}@host"\n')
    subprocess.run(["git", "add", "."], cwd=tree, check=True)
    assert audit_secrets(tree) == 1
    found = capsys.readouterr().err
    assert "new.py:2: AWS Access Key" in found
    assert "new.py:3: Basic Auth Credentials" in found
    assert "page.md" not in found


def test_what_pip_audit_says_is_read() -> None:
    report = {
        "dependencies": [
            {"name": "a", "version": "1", "vulns": []},
            {"name": "b", "version": "2", "vulns": [{"id": "PYSEC-1"}, {"id": "CVE-2"}]},
            {"name": "c", "skip_reason": "not found"},
        ]
    }
    assert read_audit(report) == Audited({"b 2": ["PYSEC-1", "CVE-2"]}, ["c"], 3)


def test_an_audit_that_reached_nobody_says_so_and_one_that_finds_flaws_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    answers = {"probe.txt": Audited({}, ["idna"], 1)}
    monkeypatch.setattr(audit, "_asked", lambda path: iter([answers[path.name]]))
    assert audit_packages(tmp_path) == 0
    assert "cannot be reached from here, so no package was audited" in capsys.readouterr().out
    answers["probe.txt"] = Audited({"idna 3.6": ["CVE-2024-3651"]}, [], 1)
    answers |= {lock: Audited({}, [], 40) for lock in audit.LOCKS}
    assert audit_packages(tmp_path) == 0
    assert "0 of 80 locked packages have known flaws" in capsys.readouterr().out
    answers[audit.LOCKS[1]] = Audited({"b 2": ["CVE-2"]}, [], 40)
    assert audit_packages(tmp_path) == 1
    assert "b 2: CVE-2" in capsys.readouterr().err
    monkeypatch.setattr(audit, "_asked", lambda path: iter([answers[path.name]] if path.name == "probe.txt" else []))
    assert audit_packages(tmp_path) == 1  # it was reached, and then it was not


def test_python_runs_the_tools_that_are_locked() -> None:
    for module in ("detect_secrets", "pip_audit"):
        done = subprocess.run([sys.executable, "-m", module, "--version"], capture_output=True, text=True, check=True)
        assert done.stdout.strip()
