"""How fast it is: everything that docs/performance.md says in figures.

    python -m bench.performance [--only PART …] [--smoke] [--page]

limits: what this machine can do. network: simulating and loading the reference network. scale: runs from end to end,
and how they grow. event_log, scoring, publish, engines: stages by themselves. Each part is a benchmark of its own,
`python -m bench.PART`, run in this order. The database is one that DATABASE_URL names, which holds a log already, or
one made for the occasion. Writes the blocks and pictures of docs/performance.md from bench/results/*.json, and exits
with status 1 where a part missed a target of bench/targets.toml. --smoke runs all parts but growth with a small
network, in two or three minutes, asks for exactness alone, and leaves the page; --page writes it from results that are
there.
"""

import argparse
import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench import performance_page
from bench.blocks import rewrite_page
from bench.figures import RESULTS, conclude
from bench.network import PARAMETERS, network
from bench.service import forget_own_settings
from bench.sources import ROOT

PARTS = ("limits", "network", "scale", "event_log", "scoring", "publish", "engines")
DOCS = ROOT / "docs"
_OF_A_DATABASE = ("network", "scale", "event_log")
_SMOKE = {"scale": ("--scale", "tiny", "--only", "runs"), "scoring": ("--smoke", "--views", "shown"), "limits": ()}


def main(arguments: list[str] | None = None) -> int:
    """Run the parts asked for, write the page, and return the exit status."""
    given = _arguments(arguments)
    if given.page:
        return _write_page(PARTS)
    url = os.environ.get("DATABASE_URL")
    forget_own_settings()
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    missed = []
    with tempfile.TemporaryDirectory(prefix="hourfeed-bench-") as name, contextlib.ExitStack() as open_:
        database = ""
        for part in given.only:
            if part in _OF_A_DATABASE and not database:
                scale = PARAMETERS["tiny" if given.smoke else "reference"]
                at = open_.enter_context(network(scale, Path(name) / "network", url))
                database = at.url
                if at.figures:
                    conclude("network_smoke" if given.smoke else "network", at.figures, {})
            if part == "network":
                continue
            if part == "engines" and importlib.util.find_spec("distributed") is None:
                print("engines skipped: the extra `dask` is not installed")
                continue
            begun = time.monotonic()
            if _run(part, database, smoke=given.smoke):
                missed.append(part)
            print(f"{part}: {time.monotonic() - begun:.0f} s\n", flush=True)
    if missed:
        print(f"targets missed, or broken off: {', '.join(missed)}")
    if not given.smoke:
        _write_page(given.only)
    return 1 if missed else 0


def _run(part: str, database: str, *, smoke: bool) -> bool:
    """Run a benchmark to its end, and say whether it missed a target or broke off."""
    words: Sequence[str] = _SMOKE.get(part, ("--smoke",)) if smoke else ()
    if part == "scale":
        words = (*words, "--database", database)
    environment = {**os.environ, "DATABASE_URL": database} if part == "event_log" else os.environ
    argv = [sys.executable, "-m", f"bench.{part}", *words]
    return subprocess.run(argv, env=environment, cwd=ROOT, check=False).returncode != 0


def _write_page(parts: Sequence[str]) -> int:
    """Write the blocks and pictures of parts that have results."""
    results = {path.stem: json.loads(path.read_text()) for path in RESULTS.glob("*.json") if path.stem in PARTS}
    blocks, pictures = dict[str, str](), dict[str, str]()
    for part in parts:
        if part in results:
            measured = datetime.fromtimestamp((RESULTS / f"{part}.json").stat().st_mtime, UTC)
            said = f'`make bench ARGS="--only {part}"`, {measured:%Y-%m-%d}.'
            for block, content in performance_page.BLOCKS[part](results).items():
                blocks[block] = f"{content}\n\n{said}"
            if part in performance_page.PICTURES:
                pictures |= performance_page.PICTURES[part](results[part])
    rewrite_page(DOCS / "performance.md", blocks)
    for file, picture in pictures.items():
        (DOCS / file).write_text(picture, encoding="utf-8")
    print(f"written to {DOCS / 'performance.md'}: {', '.join(blocks) or 'nothing'}")
    return 0


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="the parts to run")
    parser.add_argument("--smoke", action="store_true", help="small networks, and exactness alone is asked")
    parser.add_argument("--page", action="store_true", help="run nothing, write the page from earlier results")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that servers and folder go as they do after Ctrl-C
    sys.exit(main())
