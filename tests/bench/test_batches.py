"""Figures of a run: memory by stage goes by when the stages ran, of which the last ends with the command."""

from dataclasses import replace

import pytest
from published import Generation, manifest_of

from bench.batches import figures_of
from bench.watched import Taken

SECONDS = {"read": 2.0, "publish": 1.0, "slate": 3.0, "verify": 1.0}
MANIFEST = replace(manifest_of(Generation("g")), slates=10, seconds=SECONDS)
GIGABYTE = 10**9


def test_memory_is_that_of_the_time_when_a_stage_ran() -> None:
    # 1 s of start, then read 1–3, slates and publishing in turns 3–7, verify 7–8
    memory = [(0.5, 9), (1.5, 1), (2.5, 2), (3.5, 4), (6.5, 5), (7.5, 3)]
    taken = Taken(8.0, 6.0, 9 * GIGABYTE, "", "", [(at, size * GIGABYTE) for at, size in memory])
    figures = figures_of(taken, MANIFEST, 1_000)
    found = {stage: figures[f"stage.{stage}_gb"] for stage in SECONDS}
    assert found == {"read": 2, "slate": 5, "publish": 5, "verify": 3}
    assert figures["bytes_per_slate"] == 100
    assert figures["peak_gb"] == 9


def test_without_samples_a_stage_has_seconds_alone() -> None:
    figures = figures_of(Taken(8.0, 6.0, GIGABYTE, "", "", []), MANIFEST, 1_000)
    assert figures["stage.read_s"] == 2
    assert not [name for name in figures if name.startswith("stage.") and name.endswith("_gb")]


@pytest.mark.parametrize(
    ("told", "rows"), [("read: 310,688\nread: 20,816,162\nnote: read: 7\n", 20_816_162), ("train: 1 of 9\n", 0)]
)
def test_rows_read_are_the_last_that_the_run_told(told: str, rows: int) -> None:
    assert figures_of(Taken(8.0, 6.0, GIGABYTE, "", told, []), MANIFEST, 1)["rows_read"] == rows
