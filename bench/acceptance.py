"""The main job from end to end on real interaction logs, by the real commands; each figure beside its target.

    python -m bench.acceptance --data FOLDER --checker FOLDER [--only PART …] [--both]

Needs only `make install`: Redis and Postgres are started for the occasion, in a temporary folder, and end with it.
Exit status 1 when a target of bench/targets.toml is missed.
"""

import argparse
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.checker import Checker
from bench.days import days
from bench.errors import BenchError
from bench.figures import Target, conclude, read_targets
from bench.kill import kill
from bench.replay import deskdrop, globo, karpov
from bench.runs import Run
from bench.service import forget_own_settings
from bench.sources import digest_sources
from demo.errors import DemoError
from demo.postgres import create_database, temporary_postgres
from slates.client import RedisError
from slates.errors import SlatesError

NAME = "acceptance"
SOURCES_CHANGED = "sources_changed"
PARTS: dict[str, Callable[[Run], dict[str, float]]] = {
    "deskdrop": deskdrop,
    "globo": globo,
    "karpov": karpov,
    "days": days,
    "kill": kill,
}
ONLY_WITH_BOTH = ("globo.postgres.", "globo.databases.")


def main() -> int:
    """Run the parts asked for and return the exit status."""
    arguments = _arguments()
    forget_own_settings()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that servers and folder go as they do after Ctrl-C
    sources = digest_sources()
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="hourfeed-acceptance-") as name, _databases(Path(name)) as new_database:
        checker = Checker(arguments.checker.resolve())
        run = Run(arguments.data.resolve(), checker, Path(name), arguments.both, new_database)
        for part in arguments.only:
            try:
                figures |= PARTS[part](run)
            except (BenchError, DemoError, SlatesError, RedisError, OSError) as error:
                run.say(f"{part} broke off: {error}")  # its figures are missing, which counts as missed
    changed = digest_sources() != sources
    if changed:
        print("the product's code changed during the run: its figures are of no one version; run it again")
    figures[SOURCES_CHANGED] = int(changed)
    return conclude(NAME, figures, _targets(arguments.only, both=arguments.both))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of interaction logs")
    parser.add_argument("--checker", type=Path, required=True, help="folder of make_cases.py and check_hitrate.py")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="the parts to run")
    parser.add_argument("--both", action="store_true", help="globo in Postgres too")
    return parser.parse_args()


@contextlib.contextmanager
def _databases(folder: Path) -> Iterator[Callable[[str], str]]:
    """Yield what makes a Postgres database of a name; the server starts with the first."""
    with contextlib.ExitStack() as running:
        servers: list[str] = []

        def new_database(name: str) -> str:
            if not servers:
                servers.append(running.enter_context(temporary_postgres(folder / "postgres")))
            return create_database(servers[0], name)

        yield new_database


def _targets(parts: list[str], *, both: bool) -> dict[str, Target]:
    """Return the targets of the parts that run."""
    skipped = () if both else ONLY_WITH_BOTH
    targets = read_targets(NAME)
    wanted = {*parts, SOURCES_CHANGED}
    return {n: t for n, t in targets.items() if n.split(".")[0] in wanted and not n.startswith(skipped)}


if __name__ == "__main__":
    os.umask(0o077)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted")
