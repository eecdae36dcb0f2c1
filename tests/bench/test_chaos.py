import pytest

from bench.chaos import chaos
from bench.figures import judge, read_targets
from demo.errors import DemoError


def test_batches_killed_and_redis_gone_leave_every_answer_whole() -> None:
    try:
        figures = chaos(kills=4, faults=3)
    except DemoError as error:
        pytest.skip(str(error))
    targets = {name: target for name, target in read_targets("chaos").items() if name not in {"kills.n", "faults.n"}}
    assert [verdict for verdict in judge(figures, targets) if not verdict.ok] == []
    assert (figures["kills.n"], figures["faults.n"]) == (4, 3)
    assert figures["lookups.n"] > 100
