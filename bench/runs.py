"""What the parts of the acceptance share: where things are, the logs, and one batch with its figures."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench.checker import Checker, without_liked_views
from bench.errors import BenchError
from bench.feeds import Case, wait_for_generation
from bench.service import Service
from slates.manifest import Manifest

K = 5


@dataclass(frozen=True)
class Log:
    """A folder of interaction logs, the moment of its batch, and the cases after it.

    `positives` are the actions that count as liked, comma separated; several entries are checked one after the other.
    `likes_follow_views` says that views tell by their target of the like after them.
    """

    name: str
    events: str
    as_of: str
    until: str
    positives: tuple[str, ...] = ("view,like",)
    most_cases: int = 0
    likes_follow_views: bool = False


DESKDROP = Log("deskdrop", "events.csv.gz", "2016-09-01T00:00", "2016-09-02T00:00")
GLOBO = Log("globo", "events.csv.gz", "2017-10-02T12:00", "2017-10-03T12:00", most_cases=2_000)
KARPOV = Log(
    "karpov",
    "feed_data.csv.gz",
    "2021-12-29T00:00",
    "2021-12-30T00:00",
    positives=("view,like", "like"),
    likes_follow_views=True,
)


@dataclass(frozen=True)
class Run:
    """One run of the acceptance. `new_database` makes an empty Postgres database and returns its URL."""

    data: Path
    checker: Checker
    folder: Path
    both: bool
    new_database: Callable[[str], str]
    begun: float = field(default_factory=time.monotonic)

    def say(self, text: str) -> None:
        """Print progress."""
        print(f"[{time.monotonic() - self.begun:6.1f} s] {text}", flush=True)

    def log_folder(self, log: Log) -> Path:
        """Return the folder of a log; raise BenchError where it is not."""
        folder = self.data / log.name
        if not (folder / log.events).is_file():
            msg = f"{folder / log.events} does not exist; name the folder of interaction logs: make acceptance DATA=…"
            raise BenchError(msg)
        return folder

    def cases(self, log: Log, *, positive: str, start: str = "", end: str = "") -> Path:
        """Write the cases of a log, of all its time after as-of or of [start, end); return their file."""
        start, end = start or log.as_of, end or log.until
        out = self.folder / f"{log.name}-{positive.replace(',', '-')}-{start[:13]}.csv"
        events = self.log_folder(log) / log.events
        if log.likes_follow_views and positive == "like":
            events = without_liked_views(events, out.with_suffix(".events.csv"))
        return self.checker.make_cases(events, out, start=start, end=end, positive=positive, most=log.most_cases)


@dataclass(frozen=True)
class Database:
    """A loaded database: its kind for the figures' names, and what the commands need to find it."""

    kind: str
    environment: dict[str, str]


def load(run: Run, service: Service, log: Log, kind: str, part: str) -> tuple[Database, float]:
    """Load a log into a new database of that kind; return it and the seconds."""
    environment = {"DATABASE_URL": run.new_database(part)} if kind == "postgres" else {}
    seconds = service.run("load", run.log_folder(log), **environment)
    run.say(f"{part}: loaded {log.name} into {kind} in {seconds:.1f} s")
    return Database(kind, environment), seconds


def batch(
    run: Run, service: Service, database: Database, as_of: str, probe: Case, ranker: str = "lightgbm"
) -> tuple[Manifest, float]:
    """Run a batch, wait until it is served, and return its manifest and its seconds.

    Asked for "lightgbm", the default is left to the product, whose gate may find a baseline better. Raises BenchError
    when another ranker than the one asked for, or chosen so, was published.
    """
    chosen = {} if ranker == "lightgbm" else {"HOURFEED_RANKER": ranker}
    seconds = service.run("batch", "--as-of", as_of, "--hours", "24", **database.environment, **chosen)
    manifest = service.live()
    if manifest.ranker != manifest.gate.get("chosen", ranker) or f"{manifest.as_of:%Y-%m-%dT%H:%M}" != as_of:
        msg = f"a batch of {ranker} as of {as_of} left this live: {manifest.id}, ranker {manifest.ranker}"
        raise BenchError(msg)
    run.say(f"batch as of {as_of}, {database.kind}, {ranker}: {seconds:.1f} s; {stages(manifest)}")
    wait_for_generation(service.url, probe, manifest.id)
    return manifest, seconds


def stages(manifest: Manifest) -> str:
    """Write the size of a generation and the seconds of its stages."""
    seconds = ", ".join(f"{name} {value:.1f}" for name, value in manifest.seconds.items() if value >= 0.05)
    return f"{manifest.users:,} users × {manifest.hours} h, {manifest.posts:,} posts; {seconds}"
