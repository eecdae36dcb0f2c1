"""Trees grown by two real Dask workers: separable, the same each time, as good as those of one process, or none."""

import os
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pytest
from dask_workers import two_workers
from extras import needs
from redis import Redis
from sqlalchemy import Engine

from batch.cases import Cases
from batch.errors import LostTrainingError
from batch.features.matrix import Column
from batch.grow import Boosting, Grower, Rows, grow_here
from batch.grow_dask import DaskGrower
from batch.model import load_model
from batch.pipeline import run_batch
from batch.settings import BatchSettings
from batch.shown_train import right_pairs, train_on_shown
from batch.train import Training, feature_names, train_trees, tree_parameters
from batch.trees import parse_trees
from batch.turns import PartsByTurns
from demo.parameters import Parameters
from demo.simulate import simulate
from source.engine import open_engine
from source.schema import SourceSchema

distributed = needs("distributed")

END = datetime(2026, 3, 1, tzinfo=UTC)
COLUMNS = [Column("A", "response"), Column("A", "profile.luck"), Column("C", "age_h")]
TRAINING = Training(trees=40, leaves=6, learning_rate=0.1, seed=0)
GROUPS, OF_A_GROUP = 600, 10


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with two_workers() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def workers(cluster: Any) -> DaskGrower:
    return DaskGrower(cluster.scheduler_address)


def silent(_done: int, _trees: int) -> None: ...


def cases(seed: int = 1, *, groups: int = GROUPS, luck: float = 1.0) -> Cases:
    """Make groups of 10: a row's chance grows with the response, with luck as far as it counts, and falls with age."""
    random = np.random.default_rng(seed)
    matrix = random.normal(size=(groups * OF_A_GROUP, 3)).astype(np.float32)
    happened = random.random(len(matrix)) < 1 / (1 + np.exp(-(matrix[:, 0] + luck * (matrix[:, 1] - matrix[:, 2]) - 1)))
    return Cases(matrix, happened.astype(np.int32), np.full(groups, OF_A_GROUP), np.ones(len(matrix)))


def test_workers_grow_separable_trees_and_the_same_each_time(workers: DaskGrower) -> None:
    heard: list[tuple[int, int]] = []
    grown = {train_trees(cases(), COLUMNS, TRAINING, lambda *told: heard.append(told), workers)[0] for _ in range(4)}
    assert len(grown) == 1  # else workers' shares went by chance to LightGBM's ranks: one time in two
    parts = [{COLUMNS[at].part for at in tree.feature} for tree in parse_trees(grown.pop())]
    assert {part for of_tree in parts for part in of_tree} == {"A", "C"}
    assert all(len(of_tree) == 1 for of_tree in parts)
    assert heard[-1] == (TRAINING.trees, TRAINING.trees)


def test_their_trees_order_unseen_cases_as_well_as_those_of_one_process(workers: DaskGrower) -> None:
    seen, unseen = cases(1), cases(2)
    growers: tuple[Grower, Grower] = (grow_here, workers)
    boosters = [lgb.Booster(model_str=train_trees(seen, COLUMNS, TRAINING, silent, grow)[0]) for grow in growers]
    here, there = (
        right_pairs(np.asarray(trees.predict(unseen.matrix)), unseen.grade > 0, unseen.group) for trees in boosters
    )
    better = there - here
    assert here.mean() > 0.75
    assert abs(better.mean()) < 1.96 * better.std() / np.sqrt(len(better)) + 0.002


@pytest.mark.parametrize("luck", [1.0, 0.0], ids=["they help", "they do not"])
def test_trees_beside_the_response_model_must_earn_their_place_there_too(luck: float, workers: DaskGrower) -> None:
    trees, _ = train_on_shown(cases(luck=luck), COLUMNS, TRAINING, silent, workers)
    here, _ = train_on_shown(cases(luck=luck), COLUMNS, TRAINING, silent)
    assert bool(parse_trees(trees)) == bool(parse_trees(here)) == bool(luck)


def test_one_worker_grows_what_this_process_does_when_parts_take_turns(workers: DaskGrower) -> None:
    given = cases()
    rows = Rows(given.matrix, given.grade > 0, np.zeros(len(given.grade)), np.array([len(given.grade)]))  # of one group
    parameters = {**tree_parameters(COLUMNS, TRAINING), "objective": "binary"}
    grown = workers(Boosting(rows, None, feature_names(COLUMNS), parameters, TRAINING.trees), silent)
    parts = parameters.pop("interaction_constraints")
    data = lgb.Dataset(rows.matrix, label=rows.label, init_score=rows.start, params={"verbosity": -1})
    turns = PartsByTurns(parts, len(COLUMNS))
    here = lgb.train(parameters, data, num_boost_round=TRAINING.trees, callbacks=[turns])
    np.testing.assert_array_equal(grown.predict(rows.matrix), here.predict(rows.matrix))


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("network")
    engine = open_engine(None, folder)
    simulate(Parameters(users=60, posts=100, days=5, seed=5, end=END), engine, SourceSchema(), folder)
    yield engine
    engine.dispose()


class Watcher:
    """Hears a run."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def stage(self, name: str, done: int, total: int | None) -> None: ...

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_a_run_publishes_by_the_trees_of_workers_and_grows_its_own_where_those_are_lost(
    engine: Engine, redis_client: Redis, workers: DaskGrower, tmp_path: Path
) -> None:
    def lose(boosting: Boosting, progress: Callable[[int, int], None]) -> lgb.Booster:
        progress(1, boosting.trees)
        msg = "1 of 2 Dask workers died"
        raise LostTrainingError(msg)

    def run(grow: Grower) -> str:
        return run_batch(settings, engine, redis_client, END - timedelta(hours=5), heard, grow=grow).model_digest

    heard, actions = Watcher(), {"view": 1, "like": 2}
    settings = BatchSettings(
        state=tmp_path, hours=2, top_n=6, trees=20, train_groups=300, gate_days=0, shown=(), actions=actions
    )
    here, there = run(grow_here), run(workers)
    assert here != there
    assert len(parse_trees(load_model(tmp_path / "models" / there).trees)) == 20
    assert not [note for note in heard.notes if "Dask" in note]
    assert run(lose) == here
    assert "1 of 2 Dask workers died; this process grows them alone instead" in heard.notes


def test_workers_are_free_again_after_a_run_that_is_ended(cluster: Any, workers: DaskGrower) -> None:
    class EndedError(Exception):
        pass

    def end(_done: int, _trees: int) -> None:
        raise EndedError

    with pytest.raises(EndedError):
        train_trees(cases(), COLUMNS, Training(400, 6, 0.1, 0), end, workers)
    assert_free(cluster)


def test_a_worker_that_is_killed_is_told_of_and_the_other_is_free_again(cluster: Any, workers: DaskGrower) -> None:
    def kill(done: int, _trees: int) -> None:
        if done and not killed:
            killed.append(next(iter(cluster.workers.values())).pid)
            os.kill(killed[0], signal.SIGKILL)

    killed: list[int] = []
    with pytest.raises(LostTrainingError, match="of 2 Dask workers died while they grew trees"):
        train_trees(cases(), COLUMNS, Training(4_000, 6, 0.1, 0), kill, workers)
    assert_free(cluster)


def assert_free(cluster: Any) -> None:
    with distributed.Client(cluster.scheduler_address, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
        asked = [client.submit(os.getpid, workers=[worker], pure=False) for worker in client.nthreads()]
        assert len({pid.result(timeout=60) for pid in asked}) == 2
