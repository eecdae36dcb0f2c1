"""Models are saved whole, read back the same, and refused where they do not fit."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from batch.errors import BatchError
from batch.features.matrix import Column
from batch.features.vocabulary import Vocabularies
from batch.model import Model, load_model, remove_old_models, save_model
from batch.text.tfidf import fit_tfidf

TEXTS = [f"{word} number{place % 4}" for place, word in enumerate(["sun", "rain", "goal", "vote"] * 5)]


NO_TREES = "num_tree_per_iteration=1\n"


def make_model(trained_as_of_s: int = 3600) -> Model:
    columns = (Column("A", "knn"), Column("C", "age_h"), Column("A", "profile.land"))
    vocabularies = Vocabularies({"topic": ("sport", "tech"), "land": ("Österreich",)})
    return Model(NO_TREES, columns, vocabularies, fit_tfidf(TEXTS, seed=0), trained_as_of_s, 5, 50)


def test_a_saved_model_reads_back_the_same(tmp_path: Path) -> None:
    model = make_model()
    path = save_model(model, tmp_path)
    read = load_model(path)
    assert path.name == model.digest == read.digest
    assert (read.columns, read.vocabularies, read.trees) == (model.columns, model.vocabularies, model.trees)
    assert read.encoder is not None
    assert model.encoder is not None
    np.testing.assert_array_equal(read.encoder.encode(["sun", "goal"]), model.encoder.encode(["sun", "goal"]))


def test_saving_twice_is_harmless_and_another_model_has_another_digest(tmp_path: Path) -> None:
    assert save_model(make_model(), tmp_path) == save_model(make_model(), tmp_path)
    assert save_model(make_model(7200), tmp_path) != save_model(make_model(), tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_model_that_was_changed_is_refused(tmp_path: Path) -> None:
    path = save_model(make_model(), tmp_path)
    (path / "trees.txt").write_text("other trees\n")
    with pytest.raises(BatchError, match="was changed since it was saved"):
        load_model(path)


def test_of_many_models_the_newest_are_kept_and_one_saved_again_counts_as_new(tmp_path: Path) -> None:
    paths = [save_model(make_model(hour * 3600), tmp_path) for hour in range(4)]
    for age, path in enumerate(reversed(paths)):
        os.utime(path, (1_000_000 - age, 1_000_000 - age))
    save_model(make_model(0), tmp_path)
    assert remove_old_models(tmp_path, keep=2) == [paths[1].name, paths[2].name]
    assert {path.name for path in tmp_path.iterdir()} == {paths[0].name, paths[3].name}


def test_what_is_no_model_is_refused_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(BatchError, match=str(tmp_path)):
        load_model(tmp_path)
    path = save_model(make_model(), tmp_path).rename(tmp_path / "from elsewhere")  # not named by a digest
    whole = (path / "text.npz").read_bytes()
    for broken in (b"not an archive", whole[: len(whole) // 2], b""):
        (path / "text.npz").write_bytes(broken)
        with pytest.raises(BatchError, match="is not a model"):
            load_model(path)


def test_a_model_with_unknown_features_is_refused_by_their_names(tmp_path: Path) -> None:
    path = save_model(make_model(), tmp_path).rename(tmp_path / "from elsewhere")
    about = json.loads((path / "model.json").read_text())
    about["columns"].append(["A", "moon_phase"])
    (path / "model.json").write_text(json.dumps(about))
    with pytest.raises(BatchError, match="moon_phase"):
        load_model(path)


def test_similar_texts_are_near_and_empty_ones_nowhere() -> None:
    encoder = fit_tfidf(TEXTS, seed=0)
    assert encoder is not None
    sun, same, goal, nothing = encoder.encode(["sun number1", "number1 sun", "goal number2", "…"])
    np.testing.assert_allclose(sun, same)
    assert sun @ sun == pytest.approx(1)
    assert sun @ goal < 0.5
    assert not nothing.any()


def test_too_few_or_too_different_texts_give_no_encoder() -> None:
    assert fit_tfidf(["one", "two"], seed=0) is None
    assert fit_tfidf([f"word{place}" for place in range(20)], seed=0) is None
    assert fit_tfidf([""] * 50, seed=0) is None
