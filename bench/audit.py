"""Looks for what should not be in the tree: `python -m bench.audit secrets`, and `… packages` for known flaws.

`secrets` scans every file of git but the lock files (detect-secrets, offline) and fails at whatever neither says of
itself that it is an example (`change-me`) nor is listed in .secrets.baseline, where each entry was looked at.
`--accept` writes the list anew, for whoever has looked.

`packages` asks PyPI for known flaws of every package that the lock files name (pip-audit). PyPI's answers are trusted
only if it reports the flaw of an old package that is known to have one; where it does not, the service cannot be
reached from here, which is said, and no failure.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
BASELINE = ".secrets.baseline"
LOCKS = ("requirements.lock", "requirements-extras.lock")
_NOT_SCANNED = r"(\.lock|\.secrets\.baseline)$"
_EXAMPLE = r"(?i)change.?me|example|(for|of).(this|a).test|^(s[e3]cret|password|\{.*\})$"
"""What says of itself that it is none."""
_KNOWN_FLAW = "idna==3.6 --hash=sha256:c05567e9c24a6b9faaa835c4821bad0590fbb9d5779e7caa6e1cc4878e7eb24f\n"
"""CVE-2024-3651."""


class Secret(NamedTuple):
    """What looks like a secret: where, of which kind, and the hash of it, which stays when lines move."""

    file: str
    kind: str
    digest: str


def secrets_in(results: Mapping[str, list[dict[str, Any]]]) -> dict[Secret, int]:
    """Return what detect-secrets has found, each with its line."""
    return {
        Secret(file, found["type"], found["hashed_secret"]): int(found["line_number"])
        for file, entries in results.items()
        for found in entries
    }


def scan(folder: Path) -> dict[str, Any]:
    """Scan the files of a git tree, and return what detect-secrets says."""
    words = ["-m", "detect_secrets", "scan", "--exclude-files", _NOT_SCANNED, "--exclude-secrets", _EXAMPLE]
    done = subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def audit_secrets(folder: Path, *, accept: bool = False) -> int:
    """Say what is new beside the baseline of a git tree; return the exit status."""
    found = scan(folder)
    if accept:
        found.pop("generated_at")
        (folder / BASELINE).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        return 0
    known = secrets_in(json.loads((folder / BASELINE).read_text(encoding="utf-8"))["results"])
    new = {secret: line for secret, line in secrets_in(found["results"]).items() if secret not in known}
    for secret, line in new.items():
        print(f"{secret.file}:{line}: {secret.kind}", file=sys.stderr)
    if new:
        print("take it out (and out of use), or look at it and run: python -m bench.audit secrets --accept")
        return 1
    print(f"no secret in the tree ({len(known)} examples are known)")
    return 0


class Audited(NamedTuple):
    """What pip-audit says of some packages: flaws by package, names that were not looked up, and how many there are."""

    flaws: dict[str, list[str]]
    skipped: list[str]
    packages: int


def read_audit(report: Mapping[str, Any]) -> Audited:
    """Read pip-audit's JSON."""
    entries = report["dependencies"]
    flaws = {f"{e['name']} {e['version']}": [vuln["id"] for vuln in e["vulns"]] for e in entries if e.get("vulns")}
    return Audited(flaws, [e["name"] for e in entries if "skip_reason" in e], len(entries))


def audit_packages(folder: Path) -> int:
    """Look the locked packages up, and say which have known flaws; return the exit status."""
    with TemporaryDirectory() as work:
        probe = Path(work) / "probe.txt"
        probe.write_text(_KNOWN_FLAW, encoding="utf-8")
        reachable = any(audited.flaws for audited in _asked(probe))
    if not reachable:
        print("PyPI's list of flaws cannot be reached from here, so no package was audited; the hashes are locked")
        return 0
    audits = [audited for lock in LOCKS for audited in _asked(folder / lock)]
    flaws = {name: ids for audited in audits for name, ids in audited.flaws.items()}
    for name, ids in sorted(flaws.items()):
        print(f"{name}: {', '.join(ids)}", file=sys.stderr)
    skipped = sorted({name for audited in audits for name in audited.skipped})
    print(
        f"{len(flaws)} of {sum(a.packages for a in audits)} locked packages have known flaws; not looked up: {skipped}"
    )
    return 1 if flaws or len(audits) < len(LOCKS) else 0


def _asked(requirements: Path) -> Iterator[Audited]:
    """Give what PyPI says of the packages in a file; nothing where it does not answer."""
    words = ["-m", "pip_audit", "--requirement", str(requirements), "--require-hashes", "--disable-pip"]
    done = subprocess.run(
        [sys.executable, *words, "--format", "json", "--progress-spinner", "off"],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        yield read_audit(json.loads(done.stdout))
    except ValueError:
        print(f"{requirements.name}: pip-audit says {done.stderr.strip()[-500:]}", file=sys.stderr)


def main() -> int:
    """Run one of the two."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["secrets", "packages"])
    parser.add_argument("--accept", action="store_true", help="write the list of known examples anew")
    arguments = parser.parse_args()
    return audit_secrets(ROOT, accept=arguments.accept) if arguments.what == "secrets" else audit_packages(ROOT)


if __name__ == "__main__":
    sys.exit(main())
