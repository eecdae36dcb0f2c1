"""How good the feeds are: everything that docs/quality.md says in figures.

    python -m bench.quality [--data FOLDER] [--only PART …] [--quick]

articles, clicks: every ranker on a real log. peers: models of implicit and RecTools on the same cases. intervals: what
refreshing more often is worth. features: what groups of them are worth. network: the simulated one and its oracle.
rules: what slate rules cost. Prints tables, writes bench/results/quality.json and the blocks of docs/quality.md, and
exits with status 1 where a target of bench/targets.toml is missed. --quick looks at a fraction of each log to see that
all works: its figures mean nothing, so no target is asked and the page stays.
"""

import argparse
import os
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from bench.blocks import rewrite_page
from bench.errors import BenchError
from bench.figures import Target, conclude, read_targets
from bench.oracle import only_defaults
from bench.quality_parts import PARTS, Outcome
from bench.quality_run import NoLogError, QualityRun
from bench.sources import ROOT

NAME = "quality"
DOCS = ROOT / "docs"


def main() -> int:
    """Run the parts asked for and return the exit status."""
    arguments = _arguments()
    data, measured, skipped = arguments.data.resolve(), dict[str, Outcome](), []
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="hourfeed-quality-") as name, only_defaults():
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        run = QualityRun(data, Path(name), arguments.quick)
        for part in arguments.only:
            begun = time.monotonic()
            try:
                measured[part] = PARTS[part](run)
            except NoLogError as error:
                run.say(f"{part} skipped: {error}")
                skipped.append(part)
                continue
            except BenchError as error:
                run.say(f"{part} broke off: {error}")  # its figures are missing, which counts as missed
                continue
            seconds[part] = round(time.monotonic() - begun, 1)
            run.say(f"{part}: {seconds[part]:.0f} s\n\n{measured[part].text}\n")
    figures = {figure: value for outcome in measured.values() for figure, value in outcome.figures.items()}
    figures |= {f"{part}.seconds": value for part, value in seconds.items()}
    if arguments.quick:
        return conclude(f"{NAME}_quick", figures, {})
    _write(measured, seconds)
    return conclude(NAME, figures, _targets([part for part in arguments.only if part not in skipped]))


def _write(measured: dict[str, Outcome], seconds: dict[str, float]) -> None:
    """Write the tables and pictures of what was measured into the page."""
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    said = {part: f'`make bench-quality ARGS="--only {part}"`, {day}, {s:.0f} s.' for part, s in seconds.items()}
    rewrite_page(DOCS / "quality.md", {part: f"{of.text}\n\n{said[part]}" for part, of in measured.items()})
    for outcome in measured.values():
        for file, picture in outcome.pictures.items():
            (DOCS / file).write_text(picture, encoding="utf-8")


def _targets(parts: list[str]) -> dict[str, Target]:
    return {name: target for name, target in read_targets(NAME).items() if name.split(".")[0] in parts}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = ROOT.parent / "shared" / "data"
    parser.add_argument("--data", type=Path, default=default, help="folder of interaction logs")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="the parts to run")
    parser.add_argument("--quick", action="store_true", help="a fraction of each log, to see that all works")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
