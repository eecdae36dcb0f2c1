"""Segments and vocabularies, by hand."""

import numpy as np

from batch.features.segments import MOST_SEGMENTS, build_segments
from batch.features.vocabulary import learn
from batch.tables import Column, Users


def segments_of(**profile: Column) -> list[str]:
    segments = build_segments(Users(np.arange(len(next(iter(profile.values())))), profile))
    return [segments.names[code] if code >= 0 else "" for code in segments.of_user]


def test_texts_and_few_numbers_part_users_by_value() -> None:
    country = np.array(["AT", "BR", "", "AT"], dtype=object)
    gender = np.array([0.0, 1.0, 1.0, np.nan])
    assert segments_of(country=country, gender=gender) == [
        "country=AT&gender=0",
        "country=BR&gender=1",
        "gender=1",
        "country=AT",
    ]


def test_many_numbers_are_cut_into_quarters() -> None:
    found = segments_of(age=np.append(np.arange(20.0), np.nan))
    assert found[0] == "age=..4"
    assert found[4] == "age=4..9"
    assert found[19] == "age=14.."
    assert found[20] == ""
    assert len(set(found)) == 5


def test_values_that_are_written_alike_are_one_segment() -> None:
    found = segments_of(score=np.array([0.0, -0.0, 1.0, 1.0 + 1e-9]))
    assert found == ["score=0", "score=0", "score=1", "score=1"]


def test_columns_are_crossed_only_while_the_segments_are_few() -> None:
    ten = np.array([str(place % 10) for place in range(100)], dtype=object)
    also_ten = np.array([str(place // 10) for place in range(100)], dtype=object)
    cities = np.array([f"city {place}" for place in range(100)], dtype=object)
    found = segments_of(a=ten, cities=cities, b=also_ten)
    assert set(found) == {f"a={digit}" for digit in range(10)}
    assert len(set(found)) <= MOST_SEGMENTS


def test_codes_go_by_frequency_then_by_value_and_leave_out_the_unknown() -> None:
    vocabularies = learn({"os": np.array(["b", "a", "c", "c", ""], dtype=object)})
    assert vocabularies.values["os"] == ("c", "a", "b")
    codes = vocabularies.codes("os", np.array(["a", "c", "", "z"], dtype=object))
    assert codes[:2].tolist() == [1, 0]
    assert np.isnan(codes[2:]).all()
