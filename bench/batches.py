"""Runs of `hourfeed batch` as a process of its own, on one database and one Redis: what each takes, stage by stage."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from redis import Redis

from bench.errors import BenchError
from bench.publish import used_memory
from bench.service import HOURFEED
from bench.watched import Taken, watch
from slates.generations import live_generation
from slates.keys import Keys
from slates.manifest import Manifest

_ROWS_READ = re.compile(r"^read: ([\d,]+)$", re.MULTILINE)
_SIDE_BY_SIDE = ("slate", "publish")
"""Stages that take turns, so that one span of time is both of them."""


@dataclass(frozen=True)
class Batches:
    """Runs by one state folder. environment : of the commands, beside where things lie."""

    state: Path
    database_url: str
    redis: Redis = field(repr=False)
    redis_url: str
    environment: Mapping[str, str] = field(default_factory=dict)
    keys: Keys = field(default_factory=Keys)

    def run(
        self, name: str, as_of: datetime, *arguments: str | Path, plan: Sequence[str] | None = None, **environment: str
    ) -> dict[str, float]:
        """Run a batch, and return its figures under `name`; with those of `hourfeed plan`, asked before, if wanted."""
        self.state.mkdir(parents=True, exist_ok=True)
        planned = self._plan(plan, environment) if plan is not None else None
        before, with_posts = used_memory(self.redis), live_generation(self.redis, self.keys) is None
        taken = self._watch("batch", f"--as-of={as_of:%Y-%m-%dT%H:%M}", *arguments, **environment)
        manifest, held = self.live(), used_memory(self.redis) - before
        figures = figures_of(taken, manifest, held)
        if planned is not None:
            figures |= _against_the_plan(planned, figures, with_posts=with_posts)
        print(f"{name}: {taken.wall_s:.1f} s, {taken.cpu_s:.1f} s of processor time", flush=True)
        return {f"{name}.{figure}": value for figure, value in figures.items()}

    def elsewhere(self, name: str, **environment: str) -> "Batches":
        """Return runs by a state folder beside this one, with more in their environment."""
        return replace(self, state=self.state.parent / name, environment={**self.environment, **environment})

    def live(self) -> Manifest:
        """Return the manifest of the live generation; raise BenchError where there is none."""
        manifest = live_generation(self.redis, self.keys)
        if manifest is None:
            msg = "no generation is live"
            raise BenchError(msg)
        return manifest

    def model(self) -> Path:
        """Return the folder of the model that was saved last."""
        saved = [path for path in (self.state / "models").iterdir() if not path.name.startswith(".")]
        return max(saved, key=lambda path: path.stat().st_mtime)

    def _plan(self, arguments: Sequence[str], environment: Mapping[str, str]) -> dict[str, float]:
        told = json.loads(self._watch("plan", "--json", *arguments, **environment).out)
        return {
            "seconds": sum(told["seconds"].values()),
            "memory_bytes": told["memory_bytes"],
            "redis_bytes": told["redis_bytes"],
            "posts_bytes": told["posts_bytes"],
        }

    def _watch(self, *arguments: str | Path, **environment: str) -> Taken:
        where = {"DATABASE_URL": self.database_url, "REDIS_URL": self.redis_url, "HOURFEED_STATE": str(self.state)}
        return watch([HOURFEED, *arguments], {**os.environ, **where, **self.environment, **environment}, self.state)


def figures_of(taken: Taken, manifest: Manifest, held_bytes: int) -> dict[str, float]:
    """Return what a run took; held_bytes : what it added to Redis."""
    rows = _ROWS_READ.findall(taken.err)
    figures = {
        "wall_s": taken.wall_s,
        "cpu_s": taken.cpu_s,
        "peak_gb": taken.peak_bytes / 1e9,
        "users": manifest.users,
        "posts": manifest.posts,
        "events": manifest.events,
        "slates": manifest.slates,
        "rows_read": int(rows[-1].replace(",", "")) if rows else 0,
        "redis_bytes": held_bytes,
        "bytes_per_slate": held_bytes / manifest.slates,
    }
    memory = _memory_by_stage(taken, manifest.seconds)
    for stage, seconds in manifest.seconds.items():
        figures[f"stage.{stage}_s"] = seconds
        if stage in memory:
            figures[f"stage.{stage}_gb"] = memory[stage] / 1e9
    return figures


def _memory_by_stage(taken: Taken, seconds: Mapping[str, float]) -> dict[str, int]:
    """Return the most memory that was seen during each stage, told by when it ran: the last one ends with the run.

    The manifest is written before the flip, so it does not count the seconds of that one.
    """
    spans: list[tuple[tuple[str, ...], float]] = [
        ((stage,), seconds[stage]) for stage in seconds if stage not in _SIDE_BY_SIDE
    ]
    together = tuple(stage for stage in _SIDE_BY_SIDE if stage in seconds)
    if together:
        last = next((place for place, (names, _) in enumerate(spans) if names == ("verify",)), len(spans))
        spans.insert(last, (together, sum(seconds[stage] for stage in together)))
    end, found = taken.wall_s, dict[str, int]()
    for names, length in reversed(spans):
        seen = [size for at_s, size in taken.memory if end - length <= at_s <= end]
        if seen:
            found |= dict.fromkeys(names, max(seen))
        end -= length
    return found


def _against_the_plan(
    planned: Mapping[str, float], figures: Mapping[str, float], *, with_posts: bool
) -> dict[str, float]:
    """Return what was planned as a share of what happened."""
    redis_bytes = planned["redis_bytes"] + (planned["posts_bytes"] if with_posts else 0)
    return {
        "plan.seconds": planned["seconds"] / figures["wall_s"],
        "plan.memory": planned["memory_bytes"] / 1e9 / figures["peak_gb"],
        "plan.bytes": redis_bytes / figures["redis_bytes"],
    }
