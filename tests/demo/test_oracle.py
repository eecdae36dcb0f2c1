import math
import zipfile
from pathlib import Path

import numpy as np
import pytest

from demo.errors import DemoError
from demo.oracle import Oracle

DAY_H = 24
NINE = 9 + 100 * DAY_H  # 9 o'clock on day 100


def odds(value: float) -> float:
    return math.log(value)


@pytest.fixture
def oracle() -> Oracle:
    """Two users, two posts; every part of the log-odds is the logarithm of a small number."""
    hour_logit = np.zeros(24)
    hour_logit[10] = odds(2)
    return Oracle(
        user_ids=np.array([10, 20]),
        user_segment=np.array([0, 1]),
        user_logit=np.array([0.0, odds(3)]),
        user_taste=np.array([[0.0, odds(5)], [0.0, 0.0]]),
        post_ids=np.array([7, 9]),
        post_group=np.array([0, 1]),
        post_topic=np.array([0, 1]),
        post_logit=np.array([0.0, odds(2)]),
        published_s=np.array([0, NINE * 3_600]),
        cell_logit=np.array([[odds(1 / 4), odds(1 / 8)], [odds(1 / 9), odds(1 / 2)]]),
        hour_logit=hour_logit,
        growth_s=np.array([0, 1_000 * 86_400]),
        growth_logit=np.array([0.0, 0.0]),
        fresh_logit=np.asarray(odds(16)),
        half_life_d=np.asarray(0.5),
    )


def test_the_parts_of_the_odds_multiply(oracle: Oracle) -> None:
    probability = oracle.like_probability([10, 20, 20], [7, 7, 9], [NINE, NINE, NINE])

    # Odds 1/4: 1 in 5. Odds 3 · 1/9: 1 in 4. Odds 3 · 1/2 · 2 · 16 for a post just published: 48 in 49.
    assert probability.tolist() == pytest.approx([0.2, 0.25, 48 / 49])
    assert probability.dtype == np.float64


def test_the_hour_and_the_taste_for_a_topic_count(oracle: Oracle) -> None:
    # A day later at 10 the post is 25 h old, of a half-life of 12; odds of 5 for taste, 2 for the post, 2 for the hour.
    fresh = 16 ** (2 ** -(25 / 12))
    expected = 1 / 8 * 5 * 2 * 2 * fresh

    assert oracle.like_probability(10, 9, NINE + 25) == pytest.approx(expected / (1 + expected))


def test_growth_is_linear_between_its_knots_and_flat_outside(oracle: Oracle) -> None:
    grown = Oracle(**{**vars(oracle), "growth_logit": np.array([0.0, odds(16)])})
    buckets = np.array([500 * DAY_H, 1_000 * DAY_H, 9_000 * DAY_H])

    # Half way the odds are 4 times 1/4, at the end and after it 16 times.
    assert grown.like_probability(10, 7, buckets).tolist() == pytest.approx([0.5, 0.8, 0.8])


def test_a_post_is_not_liked_in_a_bucket_that_begins_before_it_is_published(oracle: Oracle) -> None:
    assert oracle.like_probability([10, 10], 9, [NINE - 1, NINE])[0] == 0
    assert oracle.like_probability([10, 10], 9, [NINE - 1, NINE])[1] > 0


def test_arguments_broadcast(oracle: Oracle) -> None:
    table = oracle.like_probability(np.array([10, 20])[:, None], np.array([7, 9])[None, :], NINE)

    assert table.shape == (2, 2)
    assert table[1, 0] == pytest.approx(0.25)


@pytest.mark.parametrize(("user", "post", "message"), [(15, 7, "user 15"), (99, 7, "user 99"), (10, 8, "post 8")])
def test_an_unknown_id_is_named(oracle: Oracle, user: int, post: int, message: str) -> None:
    with pytest.raises(DemoError, match=f"{message} is not in the simulated network"):
        oracle.like_probability(user, post, NINE)


def test_what_was_saved_is_loaded_without_pickle_and_the_bytes_depend_on_it_alone(
    oracle: Oracle, tmp_path: Path
) -> None:
    oracle.save(tmp_path / "one.npz")
    loaded = Oracle.load(tmp_path / "one.npz")
    loaded.save(tmp_path / "two.npz")

    assert loaded.like_probability(20, 7, NINE) == pytest.approx(0.25)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.npz") as archive:
        assert {entry.date_time[0] for entry in archive.infolist()} == {1980}


@pytest.mark.parametrize("content", [b"", b"nothing of the kind", None])
def test_a_file_that_is_no_oracle_is_refused_with_the_remedy(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "oracle.npz"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(DemoError, match="hourfeed simulate"):
        Oracle.load(path)
