import xml.etree.ElementTree as ET
from pathlib import Path

from bench.chaos_page import draw
from bench.days24 import Days, Hour, by_day, figures, live_through


def steady(days: int, *, more_memory_a_day: int = 0, slower_a_day: float = 0.0) -> Days:
    hours = [
        Hour(
            memory=1_000_000 + more_memory_a_day * (hour // 24),
            data=500_000,
            keys=100,
            run_s=1.0,
            feed_s=[0.002 * (1 + slower_a_day * (hour // 24))] * 4,
            bare_s=[0.001] * 4,
        )
        for hour in range(24 * days)
    ]
    n = len(hours)
    return Days(hours, events=10, event_log_bytes=120, models=3, rest_bytes=[0] * n, worker_mb=[50.0] * n)


def test_what_does_not_change_has_no_spread_and_no_drift() -> None:
    told = figures(steady(24))
    names = ("runs", "memory.spread", "keys.spread", "latency.p50_drift", "event_log.bytes_per_event")
    assert [told[name] for name in names] == [576, 0, 0, 1, 12]


def test_what_creeps_is_told_from_the_third_day_on() -> None:
    told = figures(steady(24, more_memory_a_day=10_000, slower_a_day=0.1))
    assert told["memory.spread"] == round(1_230_000 / 1_020_000 - 1, 4)
    assert told["latency.p50_drift"] == round((1 + 0.1 * 20) / (1 + 0.1 * 5), 3)  # the middle of each week


def test_the_pictures_show_every_day(tmp_path: Path) -> None:
    draw(by_day(steady(3)), tmp_path)
    for file in ("reliability-memory.svg", "reliability-latency.svg"):
        ET.fromstring((tmp_path / file).read_text())


def test_hours_pass_refresh_by_refresh() -> None:
    seen = live_through(0.25)
    told = figures(seen)
    assert (told["runs"], seen.failed, told["lookups.not_exact"]) == (6, [], 0)
    assert told["lookups.n"] == 6 * 40
    assert told["event_log.bytes_per_event"] < 13
