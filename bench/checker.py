"""The checker: two scripts of the standard library alone, run as they are."""

import csv
import gzip
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import BenchError


@dataclass(frozen=True)
class Checker:
    """The folder of make_cases.py and check_hitrate.py."""

    folder: Path

    def make_cases(self, events: Path, out: Path, *, start: str, end: str, positive: str, most: int = 0) -> Path:
        """Write the cases of [start, end) to `out` and return it; `most` 0 means all of them."""
        command: list[str | Path] = [
            self._script("make_cases.py"),
            events,
            "--from",
            start,
            "--to",
            end,
            "--positive",
            positive,
        ]
        with out.open("w", encoding="utf-8") as file:
            done = subprocess.run(
                [sys.executable, *command, "--most", str(most)],
                stdout=file,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        if done.returncode != 0:
            msg = f"make_cases.py failed: {done.stderr.strip()}"
            raise BenchError(msg)
        return out

    def check(self, cases: Path, url: str, k: int) -> dict[str, Any]:
        """Ask the service at `url` and return what check_hitrate.py reports; failures are in the report, not raised."""
        command: list[str | Path] = [self._script("check_hitrate.py"), cases, "--url", url, "--k", str(k)]
        done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
        try:
            report: dict[str, Any] = json.loads(done.stdout)
        except ValueError as error:
            msg = f"check_hitrate.py ended with {done.returncode} and no report: {done.stderr.strip()}"
            raise BenchError(msg) from error
        return report

    def _script(self, name: str) -> Path:
        path = self.folder / name
        if not path.is_file():
            msg = f"{path} does not exist; name the checker's folder: make acceptance CHECKER=FOLDER"
            raise BenchError(msg)
        return path


def without_liked_views(events: Path, out: Path) -> Path:
    """Copy a gzipped log to `out`, but not the views that a like followed (action view, target 1); return `out`.

    A case asks for posts that its user had not touched. Where every like follows its own view, that view would rule
    out every like.
    """
    with (
        gzip.open(events, "rt", newline="", encoding="utf-8") as lines,
        out.open("w", newline="", encoding="utf-8") as file,
    ):
        rows = csv.DictReader(lines)
        writer = csv.DictWriter(file, rows.fieldnames or ())
        writer.writeheader()
        writer.writerows(row for row in rows if not (row["action"] == "view" and row["target"] == "1"))
    return out
