"""The performance page: its blocks and pictures are those that the benchmarks' figures make."""

import importlib
from xml.etree import ElementTree as ET

import pytest

from bench import performance_page
from bench.blocks import rewrite
from bench.figures import Figures, read_targets
from bench.performance import PARTS
from bench.sources import ROOT

RUN = {"wall_s": 8.0, "stage.read_s": 2.0, "stage.read_gb": 1.5, "stage.slate_s": 4.0}
SCALE: Figures = {
    **{f"{run}.{name}": value for run in performance_page.RUNS for name, value in RUN.items()},
    "growth.whole.wall_s": 100.0,
    "growth.users.4.wall_s": 30.0,
    "growth.users.ratio.wall_s": 100 / 30 / 4,
}
NO_FIGURES: dict[str, Figures] = {part: {} for part in PARTS}


@pytest.mark.parametrize("part", PARTS)
def test_every_part_has_blocks_on_the_page_even_where_figures_lack(part: str) -> None:
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    results = {**NO_FIGURES, "scale": SCALE}
    blocks = performance_page.BLOCKS[part](results)
    assert blocks
    assert all(content in rewrite(page, blocks) for content in blocks.values())


@pytest.mark.parametrize("part", [part for part in PARTS if part != "network"])
def test_every_part_but_the_network_is_a_benchmark_by_itself(part: str) -> None:
    assert callable(importlib.import_module(f"bench.{part}").main)


def test_a_stage_is_told_with_its_share_and_memory() -> None:
    runs = performance_page.scale({"scale": SCALE})["runs"]
    read = next(line for line in runs.splitlines() if line.startswith("| read"))
    assert [cell.strip() for cell in read.split("|")[2:5]] == ["2.0 s", "25 %", "1.5 GB"]
    gate = next(line for line in runs.splitlines() if line.startswith("| gate"))
    assert set(gate.split()[3:]) == {"–", "|"}


def test_growth_is_told_by_what_was_measured_of_it() -> None:
    growth = performance_page.scale({"scale": SCALE})["growth"]
    assert "| users: 1/4 | 30.0 s |" in growth
    assert "| users: all | 100.0 s |" in growth
    assert "users: 1/2" not in growth
    assert "0.83 of four times the seconds" in growth


def test_trees_a_second_are_held_against_the_masks_of_one_thread() -> None:
    scoring = {"users": 100, "posts": 50, "shown.model.trees": 30, "shown.cpu_s": 0.5}
    found = performance_page.scoring({"scoring": scoring, "limits": {"one_thread.masks_per_s": 3e6}})["scoring"]
    share = next(line for line in found.splitlines() if "masks that one thread" in line)
    assert share.split("|")[2].strip() == "0.100"  # 30 × 100 × 50 / 0.5 = 300,000 of 3,000,000


def test_pictures_are_well_formed_and_show_stages_and_growth() -> None:
    found = performance_page.pictures(SCALE)
    assert set(found) == {"performance-stages.svg", "performance-growth.svg"}
    roots = {name: ET.fromstring(picture) for name, picture in found.items()}
    space = "{http://www.w3.org/2000/svg}"
    texts = {name: {text.text for text in root.iter(f"{space}text")} for name, root in roots.items()}
    assert {"first run: read", "refresh: slate", "2.0 s"} <= texts["performance-stages.svg"]
    assert {"users", "1/10", "all", "100 s"} <= texts["performance-growth.svg"]


def test_targets_of_runs_and_growth_are_of_figures_that_are_measured() -> None:
    figures = {f"{run}.{name}" for run in performance_page.RUNS for name in ("wall_s", "peak_gb", "bytes_per_slate")}
    figures |= {f"{run}.plan.{name}" for run in performance_page.RUNS for name in ("seconds", "memory", "bytes")}
    figures |= {f"refresh.{name}" for name in ("new_events", "missed_events", "rows_read_of_all", "differing_keys")}
    figures |= {f"growth.{name}" for name in ("users.ratio.wall_s", "users.ratio.peak_gb", "history.ratio.wall_s")}
    assert set(read_targets("scale")) <= figures
    assert set(read_targets("scale_smaller")) <= figures
