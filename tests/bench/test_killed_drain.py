import pytest

from bench.drain import drain
from bench.figures import judge, read_targets
from demo.errors import DemoError


def test_posted_events_are_in_the_database_once_whatever_is_killed() -> None:
    try:
        figures = drain(events=2_000, pause_s=0.6)
    except DemoError as error:
        pytest.skip(str(error))
    assert [verdict for verdict in judge(figures, read_targets("drain")) if not verdict.ok] == []
