"""A plan by the last run, and by another machine: figures worked out from the costs of the stages."""

from dataclasses import replace
from pathlib import Path

import pytest
from published import Generation, manifest_of

from batch import plan as module
from batch.forecast import Counts
from batch.plan import count_rows, make_plan
from batch.settings import BatchSettings
from slates.forecast import Store
from slates.manifest import Manifest
from source.engine import open_engine
from source.load import load_folder

COUNTS = Counts(users=100, posts=20, events=1_000_000, user_id_bytes=3, post_id_bytes=2, text_bytes=90)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BatchSettings:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "_slowness", lambda: 2.0)
    return BatchSettings(state=tmp_path, hours=2, top_n=2)


def last_run(**seconds: float) -> Manifest:
    told = {"users": 100, "posts": 20, "events": 500_000, "seconds": seconds}
    return replace(manifest_of(Generation("g")), first_bucket=0, last_bucket=1, **told)  # type: ignore[arg-type]


def test_a_stage_takes_as_much_longer_than_in_the_last_run_as_its_size_has_grown(settings: BatchSettings) -> None:
    last = last_run(read=3.0, publish=1.0, flip=0.1)
    plan = make_plan(settings, COUNTS, Store(), last, trains=True, first_read=False)
    cost = module._COSTS["read"]
    grown = (cost.fixed + cost.each * 1_000_000) / (cost.fixed + cost.each * 500_000)
    assert plan.measured
    assert plan.seconds["read"] == pytest.approx(3.0 * grown)
    assert plan.seconds["publish"] == pytest.approx(1.0)  # as many slates
    assert "flip" not in plan.seconds


def test_what_the_last_run_did_not_do_goes_by_how_quick_it_was_at_all_else(settings: BatchSettings) -> None:
    own = {"read": 500_000, "features": 500_000, "verify": 100}
    costs = {stage: module._COSTS[stage] for stage in own}
    slow = {stage: 3 * (cost.fixed + cost.each * own[stage]) for stage, cost in costs.items()}
    last = last_run(**slow | {"verify": 0.0, "train": 0.001})
    plan = make_plan(settings, COUNTS, Store(), last, trains=True, first_read=True)
    train = module._COSTS["train"]
    assert plan.seconds["train"] == pytest.approx(3 * (train.fixed + train.each * 1_000_000))
    first = module._FIRST_READ
    assert plan.seconds["read"] == pytest.approx(3 * (first.fixed + first.each * 1_000_000))


def test_without_a_run_another_machines_seconds_count_as_much_as_this_one_is_slower(settings: BatchSettings) -> None:
    plan = make_plan(settings, COUNTS, Store(), None, trains=True, first_read=False)
    cost = module._COSTS["train"]
    assert not plan.measured
    assert plan.seconds["train"] == pytest.approx(2 * (cost.fixed + cost.each * 1_000_000))
    unknown = replace(last_run(read=3.0), events=0, segments=module._SEGMENTS)
    by_old_run = make_plan(settings, COUNTS, Store(), unknown, trains=True, first_read=False)
    assert by_old_run == plan  # a run of which nobody knows how many events it read tells nothing


def test_with_twice_the_cores_of_the_reference_machine_slates_take_half_as_long(
    settings: BatchSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans = []
    for n_cores in (2, 4):
        monkeypatch.setattr(module, "cores", lambda n_cores=n_cores: n_cores)
        plans.append(make_plan(settings, COUNTS, Store(), None, trains=True, first_read=False))
    assert plans[0].seconds["slate"] == pytest.approx(2 * plans[1].seconds["slate"])
    assert plans[0].seconds["read"] == plans[1].seconds["read"]


def test_a_saved_model_needs_neither_gate_nor_training(settings: BatchSettings) -> None:
    plan = make_plan(settings, COUNTS, Store(), None, trains=False, first_read=False)
    assert {"gate", "train"}.isdisjoint(plan.seconds)


def test_memory_grows_with_the_events_and_redis_with_the_slates(settings: BatchSettings) -> None:
    small = make_plan(settings, COUNTS, Store(), None, trains=True, first_read=False)
    more = make_plan(settings, replace(COUNTS, events=3_000_000), Store(), None, trains=True, first_read=False)
    assert more.memory_bytes - small.memory_bytes == pytest.approx(2_000_000 * module._MEMORY_EVENT)
    many = replace(COUNTS, users=100_000, events=10_000)
    twice = make_plan(settings, replace(many, users=200_000), Store(), None, trains=True, first_read=False)
    once = make_plan(settings, many, Store(), None, trains=True, first_read=False)
    assert twice.redis_bytes / once.redis_bytes == pytest.approx(2, rel=0.05)


def test_the_probe_of_the_machine_is_a_number_above_nothing() -> None:
    assert 0.01 < module._slowness() < 1_000


def test_rows_are_counted_and_lengths_are_those_of_all_rows(database_url: str, tmp_path: Path) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    (folder / "users.csv").write_text("user_id,gender\n" + "".join(f"{10 + user},1\n" for user in range(4)))
    posts = [(7, "é", "news"), (1234, "", ""), (56, "abc", "")]  # 6, 0 and 3 bytes of text and topic
    rows = "".join(f"{post},{text},{topic}\n" for post, text, topic in posts)
    (folder / "posts.csv").write_text(f"post_id,text,topic\n{rows}", encoding="utf-8")
    events = "".join(f"2021-12-20T10:00:{second:02},10,7,view\n" for second in range(5))
    (folder / "events.csv").write_text(f"timestamp,user_id,post_id,action\n{events}")
    settings = BatchSettings(state=tmp_path, database_url=database_url)
    engine = open_engine(database_url, tmp_path)
    load_folder(folder, engine, settings.source, settings.actions, tmp_path / "quarantine")
    counts = count_rows(engine, settings)
    engine.dispose()
    assert (counts.users, counts.posts, counts.events, counts.user_id_bytes) == (4, 3, 5, 2)
    assert (counts.post_id_bytes, counts.text_bytes) == pytest.approx((7 / 3, 3))
