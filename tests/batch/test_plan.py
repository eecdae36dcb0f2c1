"""A plan by the last run, and by another machine: figures worked out from the costs of the stages."""

from dataclasses import replace
from pathlib import Path

import pytest
from published import Generation, manifest_of

from batch import plan as module
from batch.plan import Counts, make_plan
from batch.settings import BatchSettings
from slates.forecast import Store
from slates.manifest import Manifest

COUNTS = Counts(users=100, posts=20, events=1_000_000, user_id_bytes=3, post_id_bytes=2, text_bytes=90)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BatchSettings:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "_slowness", lambda: 2.0)
    return BatchSettings(state=tmp_path, hours=2, top_n=2)


def last_run() -> Manifest:
    told = {"users": 100, "posts": 20, "events": 500_000, "seconds": {"read": 3.0, "publish": 1.0, "flip": 0.1}}
    return replace(manifest_of(Generation("g")), first_bucket=0, last_bucket=1, **told)  # type: ignore[arg-type]


def test_a_stage_takes_as_much_longer_than_in_the_last_run_as_its_size_has_grown(settings: BatchSettings) -> None:
    plan = make_plan(settings, COUNTS, Store(), last_run(), trains=True, first_read=False)
    cost = module._COSTS["read"]
    grown = (cost.fixed + cost.each * 1_000_000) / (cost.fixed + cost.each * 500_000)
    assert plan.measured
    assert plan.seconds["read"] == pytest.approx(3.0 * grown)
    assert plan.seconds["publish"] == pytest.approx(1.0)  # as many slates
    assert "flip" not in plan.seconds


def test_without_a_run_another_machines_seconds_count_as_much_as_this_one_is_slower(settings: BatchSettings) -> None:
    plan = make_plan(settings, COUNTS, Store(), None, trains=True, first_read=False)
    cost = module._COSTS["train"]
    assert not plan.measured
    assert plan.seconds["train"] == pytest.approx(2 * (cost.fixed + cost.each * 1_000_000))
    by_old_run = make_plan(settings, COUNTS, Store(), replace(last_run(), events=0), trains=True, first_read=False)
    assert by_old_run == plan  # a run of which nobody knows how many events it read tells nothing


def test_a_saved_model_needs_neither_gate_nor_training_and_a_first_read_takes_longer(settings: BatchSettings) -> None:
    plan = make_plan(settings, COUNTS, Store(), last_run(), trains=False, first_read=True)
    assert {"gate", "train"}.isdisjoint(plan.seconds)
    assert plan.seconds["read"] == pytest.approx(module._FIRST_READ * 1_000_000)


def test_memory_grows_with_the_events_and_redis_with_the_slates(settings: BatchSettings) -> None:
    small = make_plan(settings, COUNTS, Store(), None, trains=True, first_read=False)
    more = make_plan(settings, replace(COUNTS, events=3_000_000), Store(), None, trains=True, first_read=False)
    assert more.memory_bytes - small.memory_bytes == pytest.approx(2_000_000 * module._MEMORY_EVENT)
    twice = make_plan(settings, replace(COUNTS, users=200), Store(), None, trains=True, first_read=False)
    assert twice.redis_bytes / small.redis_bytes == pytest.approx(2, rel=0.05)


def test_the_probe_of_the_machine_is_a_number_above_nothing() -> None:
    assert 0.01 < module._slowness() < 1_000
