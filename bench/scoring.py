"""What scoring every post for every user and hour costs, and whether it is LightGBM's own answer.

    python -m bench.scoring [--users N] [--activity SHARE] [--views shown|chosen|both] [--models DIR] [--smoke]

Simulates a network in memory, by default with the users and posts of the reference and a fifth of its log (--activity
0.185 makes all of it), and trains the ranker as `hourfeed batch` does: once with views that say what was shown, once
with views that users chose (on 20,000 of the users). Then it scores and picks the slates of all users, 24 hours, top
20, and in the same run

- a sample in the obvious way (bench/obvious.py), over every post and over 200 candidates a user, scaled to all users;
- 8,000 users with one hour instead of 24;
- 2,000 users × 24 hours against Booster.predict: the 60 best posts and 40 others of each slate by score, and of some
  users every post of every hour, in order;
- a network with a quarter of the users.

Seconds are of processor time over all threads where a name says cpu. Writes bench/results/scoring.json; exit status 1
when a target of bench/targets.toml is missed.
"""

import argparse
import multiprocessing
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from batch.features.view import View
from batch.model import Model, load_model, save_model
from batch.pipeline import acted_on_at, prepare_history, train_model, view_at
from batch.rank import Scorer, make_scorer
from batch.settings import BatchSettings
from batch.slate import ActedOn, make_slates, pick_slates
from batch.tables import HOUR_S, Ints
from batch.train import as_booster
from bench.figures import conclude, read_targets
from bench.notes import Silent
from bench.obvious import Obvious, predicted
from bench.reference import DAYS, POSTS, USERS, simulate_tables
from demo.parameters import Parameters

TOP_N, HOURS = 20, 24
_GIGABYTE = 2**30
_SAMPLES = {"every_post": (8, 1), "candidates": (60, HOURS)}
"""Users and hours of the obvious way's samples."""
_CANDIDATES = 200
_ONE_HOUR_USERS = 8_000
_CHOSEN_USERS = 20_000
"""Users whose log is trained on where views are chosen: there 60 moments of the log make the cases, not four."""
_CHECKED_BEST, _CHECKED_OTHERS = 60, 40


@dataclass(frozen=True)
class Task:
    """One network and what is done with it. models : folder of the trained model."""

    parameters: Parameters
    shown: bool
    models: Path
    checked_users: int = 0
    whole_users: int = 0


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=USERS)
    parser.add_argument("--posts", type=int, default=POSTS)
    parser.add_argument("--activity", type=float, default=0.03)
    parser.add_argument("--views", choices=("shown", "chosen", "both"), default="both")
    parser.add_argument("--models", type=Path, help="folder that keeps the trained models, to be used again")
    parser.add_argument("--smoke", action="store_true", help="a small network, less than a minute, no targets of speed")
    given = parser.parse_args(arguments)
    if given.smoke:
        given.users, given.posts, given.activity = 4_000, 700, 0.1
    parameters = Parameters(given.users, given.posts, days=30 if given.smoke else DAYS, activity=given.activity)
    checks = (200, 2) if given.smoke else (2_000, 20)
    figures: dict[str, float] = {"users": given.users, "posts": given.posts}
    for views in ("shown", "chosen") if given.views == "both" else (given.views,):
        with tempfile.TemporaryDirectory() as scratch:
            task = Task(parameters, views == "shown", (given.models or Path(scratch)) / views, *checks)
            found = _apart(_train, task) | _apart(_measure, task)
            quarter = _apart(_score, replace(task, parameters=replace(parameters, users=given.users // 4)))
        grown = given.users / (given.users // 4)
        found["growth.cpu"] = found["cpu_s"] / quarter["cpu_s"] / grown
        figures |= {f"{views}.{name}": value for name, value in found.items()}
        print(f"{views}: {found['cpu_s']:.1f} s of processor time", flush=True)
    name = "scoring_smoke" if given.smoke else "scoring"
    targets = read_targets(name)
    return conclude(name, figures, {k: t for k, t in targets.items() if given.views == "both" or given.views in k})


def _apart(run: object, task: Task) -> dict[str, float]:
    """Run in a process of its own, so that its memory tells of it alone."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(run, task).result()  # type: ignore[arg-type]


def _train(task: Task) -> dict[str, float]:
    settings = BatchSettings(state=task.models)
    figures = dict[str, float]()
    if not (task.models / "model").exists():
        users = task.parameters.users if task.shown else min(_CHOSEN_USERS, task.parameters.users)
        tables = simulate_tables(replace(task.parameters, users=users), shown=task.shown)
        history = prepare_history(settings, tables, None, tables.as_of_s)
        begun = time.process_time()
        model = train_model(settings, history, tables.as_of_s, HOUR_S, Silent())
        if model is None:
            msg = "the log is too short to train on; give more --users or --activity"
            raise SystemExit(msg)
        save_model(model, task.models / "model")
        figures = {"train.cpu_s": time.process_time() - begun}
    booster = as_booster(_model(task).trees)
    used = int(np.count_nonzero(booster.feature_importance("split")))
    return figures | {"model.trees": booster.num_trees(), "model.columns_used": used}


def _model(task: Task) -> Model:
    return load_model(next((task.models / "model").iterdir()))


@dataclass(frozen=True)
class _World:
    model: Model
    view: View
    scorer: Scorer
    acted: ActedOn
    buckets: range


def _world(task: Task) -> _World:
    settings = BatchSettings(state=task.models)
    model = _model(task)
    tables = simulate_tables(task.parameters, shown=task.shown)
    view = view_at(settings, prepare_history(settings, tables, model, tables.as_of_s), tables.as_of_s)
    buckets = range(tables.as_of_s // HOUR_S, tables.as_of_s // HOUR_S + HOURS)
    scorer = make_scorer("lightgbm", model, view, buckets)
    acted = acted_on_at(settings, view)
    pick_slates(scorer, view, acted, np.arange(min(64, view.n_users)), TOP_N)  # compiles, and what is made once
    return _World(model, view, scorer, acted, buckets)


def _score(task: Task) -> dict[str, float]:
    return _score_all(_world(task))


def _score_all(world: _World) -> dict[str, float]:
    before = _memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    cpu, wall = time.process_time(), time.perf_counter()
    slates = sum(
        chunk.posts.shape[0] * chunk.posts.shape[1]
        for chunk in make_slates(world.scorer, world.view, world.acted, HOURS, TOP_N)
    )
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {
        "events": world.view.n_events,
        "slates": slates,
        "cpu_s": cpu,
        "wall_s": wall,
        "slates_per_cpu_s": slates / cpu,
        "memory.added_gb": (_memory("VmHWM") - before) / _GIGABYTE,
        "memory.peak_gb": _memory("VmHWM") / _GIGABYTE,
    }


def _memory(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) * 1024


def _measure(task: Task) -> dict[str, float]:
    world = _world(task)
    figures = _score_all(world)
    figures |= _hours(world)
    figures |= _against_the_obvious_way(world, figures["cpu_s"])
    return figures | _exactness(world, task)


def _hours(world: _World) -> dict[str, float]:
    """Return how much more 24 hours cost than one, on some users; the better of two tries of each."""
    users = np.arange(min(_ONE_HOUR_USERS, world.view.n_users))
    one = make_scorer("lightgbm", world.model, world.view, world.buckets[:1])
    seconds = {1: np.inf, HOURS: np.inf}
    for _ in range(2):
        for hours, scorer in ((1, one), (HOURS, world.scorer)):
            begun = time.process_time()
            for block in np.array_split(users, max(1, len(users) // 1_000)):
                pick_slates(scorer, world.view, world.acted, block, TOP_N)
            seconds[hours] = min(seconds[hours], time.process_time() - begun)
    return {"hours_24_to_1.cpu": seconds[HOURS] / seconds[1]}


def _against_the_obvious_way(world: _World, cpu_s: float) -> dict[str, float]:
    view, booster = world.view, as_booster(world.model.trees)
    figures = {}
    for name, (n_users, n_hours) in _SAMPLES.items():
        users = np.linspace(0, view.n_users - 1, n_users).astype(np.int64)
        places = np.arange(len(view.pool) if name == "every_post" else min(_CANDIDATES, len(view.pool)))
        sample = Obvious(world.model, booster, view, users, places, world.buckets[:n_hours])
        seconds = min(sample.run(TOP_N)[0] for _ in range(2))
        whole = seconds / sample.rows * view.n_users * len(places) * HOURS
        figures[f"obvious.{name}.rows_per_cpu_s"] = sample.rows / seconds
        figures[f"obvious.{name}.cpu_s"] = whole
        figures[f"obvious.{name}.ratio"] = whole / cpu_s
    return figures


def _exactness(world: _World, task: Task) -> dict[str, float]:
    """Compare scores and slates with Booster.predict's."""
    view, random = world.view, np.random.default_rng(0)
    users = np.sort(random.choice(view.n_users, min(task.checked_users, view.n_users), replace=False))
    whole = _Compared()
    for user in users[: task.whole_users]:
        for hour in range(HOURS):
            whole.add(world, np.array([user]), hour, np.arange(len(view.pool))[None, :])
    best = _Compared()
    for block in np.array_split(users, max(1, len(users) // 250)):
        found = pick_slates(world.scorer, view, world.acted, block, min(_CHECKED_BEST, len(view.pool)))
        others = random.integers(0, len(view.pool), (len(block), HOURS, _CHECKED_OTHERS))
        places = np.concatenate([np.where(found >= 0, view.place[found], 0), others], axis=2)
        for hour in range(HOURS):
            best.add(world, block, hour, places[:, hour])
    return {
        "exact.users": len(users),
        "exact.slates": best.slates,
        "exact.positions_apart": best.apart,
        "exact.relative_error": best.error,
        "exact.every_post.slates": whole.slates,
        "exact.every_post.positions_apart": whole.apart,
        "exact.every_post.relative_error": whole.error,
    }


class _Compared:
    """Counts what differs from Booster.predict. A score near 0 is compared as one of a thousandth."""

    def __init__(self) -> None:
        self.slates, self.apart, self.error = 0, 0, 0.0
        self._users: Ints | None = None

    def add(self, world: _World, users: Ints, hour: int, places: NDArray[np.int64]) -> None:
        """Compare the slates of some users in an hour, and scores; places : of the pool, (n_users, n)."""
        view, model = world.view, world.model
        if self._users is not users and not (self._users is not None and np.array_equal(self._users, users)):
            self._users = users
            self._pair, self._topic = world.scorer.pair_scores(users), world.scorer.topic_scores(users)
            self._slates = pick_slates(world.scorer, view, world.acted, users, TOP_N)
            self._booster = as_booster(model.trees)
        at = np.arange(len(users))[:, None]
        topic = view.history.topic[view.pool[places]]
        ours = (self._pair[at, places] + self._topic[at, topic, hour]) + world.scorer.hour_scores[places, hour]
        rows = np.repeat(users, places.shape[1]), places.ravel(), np.full(places.size, world.buckets[hour])
        theirs = predicted(model, self._booster, view, *rows).reshape(places.shape)
        self.error = max(self.error, float((np.abs(ours - theirs) / np.maximum(np.abs(theirs), 1e-3)).max()))
        for row, user in enumerate(users):
            hidden = view.place[world.acted.post[world.acted.begin[user] : world.acted.begin[user + 1]]]
            known = np.unique(places[row], return_index=True)
            shown = ~np.isin(known[0], hidden)
            place, score = known[0][shown], theirs[row][known[1][shown]]
            expected = view.pool[place[np.lexsort((place, -score))][:TOP_N]]
            got = self._slates[row, hour]
            self.apart += int((got[: len(expected)] != expected).sum()) + int((got[len(expected) :] >= 0).sum())
            self.slates += 1


if __name__ == "__main__":
    sys.exit(main())
