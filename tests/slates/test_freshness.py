from datetime import UTC, datetime, timedelta

from published import Generation, manifest_of

from slates.freshness import freshness_of
from slates.guarded import guard_values, guards_line

AS_OF = datetime(2021, 12, 20, 0, 30, tzinfo=UTC)


def test_a_generation_is_fresh_up_to_the_objective_and_its_hours_end_with_the_last_bucket() -> None:
    manifest = manifest_of(Generation(hours=3, manifest={"as_of": AS_OF}))
    found = freshness_of(manifest, AS_OF + timedelta(hours=2), 2)
    assert (found.age_s, found.objective_s, found.hours_left, found.is_fresh) == (7200, 7200, 0.5, True)
    later = freshness_of(manifest, AS_OF + timedelta(hours=2, seconds=1), 2)
    assert not later.is_fresh
    assert later.why_stale == "the live generation is 2.0 hours old, over 2"
    assert freshness_of(manifest, AS_OF + timedelta(hours=3), 2).hours_left == -0.5


def test_what_guards_measured_is_told_in_a_line_and_as_numbers() -> None:
    guards = {"whole": 1.0, "against": "g0", "left": {"users": 1.1, "posts": 0.5}, "order": None, "overlap": 0.25}
    manifest = manifest_of(Generation(manifest={"guards": {**guards, "broken": ["rows"], "forced": True}}))
    assert guard_values(manifest) == {"whole": 1.0, "overlap": 0.25, "rows": 0.5}
    assert guards_line(manifest) == "whole 1.000, overlap 0.250, rows 0.500 against g0; forced, broken: rows"
    assert guards_line(manifest_of(Generation())) == "not measured"
