"""The gate's verdict in words."""

from slates.verdict import verdict_line

GATE = {
    "chosen": "popular_6h",
    "trained": 0.5,
    "baseline": "popular_6h",
    "of_baseline": 0.55,
    "difference": -0.05,
    "interval_95": 0.0612,
    "cases": 3_000,
    "users": 1_200,
    "begin": "2021-12-17T15:00:00Z",
    "as_of": "2021-12-20T15:00:00Z",
}


def test_a_verdict_says_which_by_how_much_and_with_which_interval() -> None:
    assert verdict_line(GATE) == (
        "popular_6h chosen: hitrate@5 0.5000 of the trained ranker, 0.5500 of popular_6h, difference -0.0500 ± 0.0612 "
        "(95 %), on 3,000 cases of 1,200 users from 2021-12-17T15:00:00Z to 2021-12-20T15:00:00Z"
    )


def test_a_lone_user_gives_no_interval_and_no_gate_no_verdict() -> None:
    assert "difference -0.0500, on 3" in verdict_line(GATE | {"interval_95": None})
    assert verdict_line({}) == "not compared"
