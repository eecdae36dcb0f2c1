"""The replay of variants is the product's own, but for the cases that are drawn once for all of them."""

from pathlib import Path

import numpy as np
from small_world import make_tables, random_events

from batch.cases import Cases
from batch.features.matrix import Column
from batch.pipeline import prepare_history
from batch.replay import Window, find_cases, replay
from batch.settings import BatchSettings
from batch.tables import HOUR_S
from bench import ablation
from bench.notes import Silent
from bench.quality_run import RETRAIN_S

WINDOW = Window(90 * HOUR_S, 100 * HOUR_S, HOUR_S, RETRAIN_S)


def test_a_variant_shows_what_the_replay_without_these_features_shows(tmp_path: Path) -> None:
    without = ("trend_*", "age_h", "knn")
    settings = BatchSettings(state=tmp_path, trees=20, train_days=1)
    tables = make_tables(random_events(4_000, 60, 20, last_h=100), n_users=60, n_posts=20)
    cases = find_cases(prepare_history(settings, tables, None, WINDOW.begin_s), WINDOW, ["view", "like"])
    top = ablation.replay_variants(settings, tables, cases, WINDOW.begin_s, {"all": (), "fewer": without}, 5)
    fewer = settings.model_copy(update={"without_features": without})
    theirs = replay(fewer, tables, WINDOW, ("lightgbm",), ["view", "like"], 5, Silent())
    assert theirs.models["lightgbm"], "there must be enough to train on"
    assert len(cases) > 30
    assert np.array_equal(top["fewer"], theirs.top["lightgbm"])
    assert not np.array_equal(top["fewer"], top["all"])


def test_the_columns_of_a_group_go_and_the_others_stay_in_their_order() -> None:
    columns = [Column("A", "knn"), Column("C", "age_h"), Column("A", "knn_trend"), Column("C", "lag_h")]
    cases = Cases(np.arange(8, dtype=np.float32).reshape(2, 4), np.zeros(2, np.int32), np.array([2]), np.ones(2))
    left, fewer = ablation._without(columns, cases, ("knn*",))
    assert [column.name for column in left] == ["age_h", "lag_h"]
    assert fewer.matrix.tolist() == [[1, 3], [5, 7]]
