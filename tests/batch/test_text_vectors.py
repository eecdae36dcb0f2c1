"""What is fitted on texts: the reduction, the clusters, and their features; from posts that were there alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from extras import needs
from small_world import make_history, make_tables
from threadpoolctl import threadpool_limits
from tiny_encoders import make_encoder

from batch.errors import BatchError
from batch.features.matrix import model_columns, on_axes
from batch.features.registry import FEATURES
from batch.features.view import History, View
from batch.features.vocabulary import Vocabularies
from batch.model import Model, load_model, save_model
from batch.pipeline import prepare_history
from batch.settings import BatchSettings
from batch.tables import HOUR_S
from batch.text.cache import CachedEmbedder
from batch.text.clusters import Clusters, fit_clusters, nearest
from batch.text.embedded import EmbeddedEncoder
from batch.text.fit import TextOptions, fit_encoder
from batch.text.reduction import fit_reduction

WORDS = ["sun today", "rain today", "goal match", "vote party", "film song"]
TEXTS = [f"{WORDS[place % 5]} {WORDS[place // 5]}" for place in range(25)]


def test_the_reduction_finds_the_axes_along_which_rows_differ_most() -> None:
    random = np.random.default_rng(0)
    spread = np.array([0.1, 5.0, 0.2, 1.0])
    rows = (random.normal(size=(400, 4)) * spread + 7).astype(np.float32)
    found = fit_reduction(rows, 2)
    np.testing.assert_allclose(found.mean, 7, atol=0.6)
    np.testing.assert_allclose(np.abs(found.components), [[0, 1, 0, 0], [0, 0, 0, 1]], atol=0.05)
    assert (found.components[[0, 1], [1, 3]] > 0).all()  # signs are not left to chance
    unit = found.apply(rows)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(unit[5:6], found.apply(rows[5:6]))


def test_clusters_are_found_the_largest_first_and_the_same_for_any_number_of_threads() -> None:
    random = np.random.default_rng(0)
    middle = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    belongs = np.array([2] * 50 + [0] * 30 + [1] * 20)
    vectors = (middle[belongs] + random.normal(size=(100, 3)) * 0.05).astype(np.float32)
    vectors = np.vstack([vectors, np.zeros((3, 3), dtype=np.float32)])
    found = fit_clusters(vectors, 3, seed=0)
    assert found is not None
    cluster = nearest(found.distances(vectors))
    assert cluster.tolist() == [0] * 50 + [1] * 30 + [2] * 20 + [3] * 3
    with threadpool_limits(2):
        again = fit_clusters(vectors, 3, seed=0)
    assert again is not None
    np.testing.assert_array_equal(found.centres, again.centres)


def test_there_are_no_clusters_where_texts_are_fewer() -> None:
    assert fit_clusters(np.eye(3, dtype=np.float32)[[0, 1, 0, 1]], 3, seed=0) is None
    assert fit_clusters(np.eye(3, dtype=np.float32), 0, seed=0) is None


class Axes:
    """Encodes a text that is a number as the unit vector of that axis, and an empty one as zeros."""

    def encode(self, texts: list[str]) -> np.ndarray:
        return np.array([np.eye(3)[int(text)] if text else np.zeros(3) for text in texts], dtype=np.float32)


CENTRES = Clusters(np.array([[0.8, 0, 0], [0, 1, 0]], dtype=np.float32))


def history_of_axes(events: list[tuple[float, int, int, str]]) -> History:
    tables = make_tables(events, n_posts=4, text=["0", "1", "2", ""])
    return make_history(tables, Axes(), CENTRES)  # type: ignore[arg-type]


def test_cluster_features_by_hand() -> None:
    """Distances to the centres: post 0 .2 and √2; post 1 √1.64 and 0; post 2 √1.64 and √2; post 3 has no text."""
    events = [(10.0, 0, 0, "view"), (11.0, 0, 2, "view"), (12.0, 1, 1, "view"), (90.0, 1, 3, "view")]
    view = View(history_of_axes(events), 100 * HOUR_S)
    np.testing.assert_array_equal(on_axes(view, "cluster"), [0, 1, 0, np.nan])
    far = np.sqrt(1.64)
    np.testing.assert_allclose(on_axes(view, "cluster_distance"), [0.2, 0, far, np.nan], atol=1e-6)
    np.testing.assert_allclose(
        on_axes(view, "cluster_margin"), [np.sqrt(2) - 0.2, far, np.sqrt(2) - far, np.nan], atol=1e-6
    )
    # Shares of first touches, each count plus one: clusters 3/7 and 2/7, without text 2/7.
    lift = FEATURES["cluster_lift"].compute(view, np.array([0, 1, 2]))
    place = view.place
    # User 0 touched cluster 0 twice: (2 + 10·3/7) / (2 + 10) / (3/7) = 11/9. User 1 cluster 1 once, of two touches.
    np.testing.assert_allclose(lift[0, place[[0, 2]]], 11 / 9, rtol=1e-6)
    np.testing.assert_allclose(lift[1, place[1]], (1 + 20 / 7) / 12 / (2 / 7), rtol=1e-6)
    np.testing.assert_allclose(lift[:, place[3]], 1)
    np.testing.assert_allclose(lift[2], 1, rtol=1e-6)
    # Of the last day's touches one has no text, so both clusters have (0 + 10·share) / (1 + 10) / share.
    np.testing.assert_allclose(on_axes(view, "cluster_trend"), [10 / 11, 10 / 11, 10 / 11, np.nan])


def test_cluster_features_are_used_only_where_there_are_clusters() -> None:
    with_clusters = history_of_axes([(10.0, 0, 0, "view")])
    names = {column.name for column in model_columns(View(with_clusters, 100 * HOUR_S))}
    without = {column.name for column in model_columns(View(replace(with_clusters, clusters=None), 100 * HOUR_S))}
    clusters = {name for name in FEATURES if name.startswith("cluster")}
    assert len(clusters) == 5
    assert names - without == clusters


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_encoder(tmp_path_factory.mktemp("bert"), "bert")


@pytest.mark.parametrize("encoder", ["tfidf", "bert", "minilm"])
def test_vectors_and_clusters_are_fitted_on_posts_that_were_there_alone(
    encoder: str, bert: Path, tmp_path: Path
) -> None:
    if encoder == "minilm":
        needs("onnxruntime")
    name = str(bert) if encoder == "bert" else encoder
    settings = BatchSettings(state=tmp_path, text_encoder=name, text_clusters=4)
    born = [0.0] * 25 + [200.0] * 5

    def fitted(later: str) -> History:
        tables = make_tables([], n_posts=30, born_h=born, text=[*TEXTS, *[f"{later} {n}" for n in range(5)]])
        return prepare_history(settings, tables, None, 100 * HOUR_S)

    one, other = fitted("sun goal"), fitted("party vote film")
    assert one.clusters is not None
    assert other.clusters is not None
    assert one.encoder is not None
    assert other.encoder is not None
    np.testing.assert_array_equal(one.clusters.centres, other.clusters.centres)
    for name, array in one.encoder.arrays().items():
        np.testing.assert_array_equal(array, other.encoder.arrays()[name])
    np.testing.assert_array_equal(one.cluster[:25], other.cluster[:25])
    assert one.text is not None
    assert other.text is not None
    assert (one.text[25:] != other.text[25:]).any()


def test_a_run_embeds_only_the_posts_that_are_new(bert: Path, tmp_path: Path) -> None:
    options = TextOptions(str(bert), "mean", tmp_path / "vectors.db")
    embedded = []
    for n_posts in (20, 25, 25):
        encoder = fit_encoder(TEXTS[:n_posts], options, seed=0)
        assert isinstance(encoder, EmbeddedEncoder)
        encoder.encode(TEXTS[:n_posts])
        assert isinstance(encoder.embedder, CachedEmbedder)
        embedded.append(encoder.embedder.embedded)
    assert embedded == [20, 5, 0]


def test_too_few_texts_give_no_encoder_and_so_does_none(bert: Path) -> None:
    assert fit_encoder(["sun", "rain", *[" "] * 20], TextOptions(str(bert), "mean", None), seed=0) is None
    assert fit_encoder(TEXTS, TextOptions("none", "mean", None), seed=0) is None


def test_a_model_with_an_embedded_encoder_and_clusters_reads_back_the_same(bert: Path, tmp_path: Path) -> None:
    encoder = fit_encoder(TEXTS, TextOptions(str(bert), "mean", None), seed=0)
    assert encoder is not None
    clusters = fit_clusters(encoder.encode(TEXTS), 3, seed=0)
    model = Model("", (), Vocabularies({"topic": ()}), encoder, 3600, 5, 50, clusters=clusters)
    path = save_model(model, tmp_path)
    read = load_model(path)
    assert read.digest == model.digest == path.name
    assert read.encoder is not None
    assert read.clusters is not None
    assert clusters is not None
    np.testing.assert_array_equal(read.encoder.encode([*TEXTS, ""]), encoder.encode([*TEXTS, ""]))
    assert not read.encoder.encode([""]).any()
    np.testing.assert_array_equal(read.clusters.centres, clusters.centres)


def test_a_model_is_refused_where_its_encoder_has_become_another(tmp_path: Path) -> None:
    folder = make_encoder(tmp_path / "bert", "bert")
    encoder = fit_encoder(TEXTS, TextOptions(str(folder), "mean", None), seed=0)
    path = save_model(Model("", (), Vocabularies({"topic": ()}), encoder, 3600, 5, 50), tmp_path)
    make_encoder(folder, "bert", seed=1)
    with pytest.raises(BatchError, match="trained on text vectors of huggingface-mean"):
        load_model(path)
