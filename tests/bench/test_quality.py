"""What the parts of the quality benchmark name does exist; the parts themselves run by `make bench-quality`."""

from fnmatch import fnmatchcase
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

import batch.features.matrix  # noqa: F401 - declares all features
from batch.features.registry import FEATURES
from bench.figures import read_targets
from bench.picture import standalone
from bench.quality_parts import PARTS, WITHOUT
from bench.quality_run import ARTICLES, NoLogError, QualityRun
from charts.svg import Point, Series


def test_every_pattern_of_a_group_names_a_feature() -> None:
    patterns = [pattern for group in WITHOUT.values() for pattern in group]
    assert [p for p in patterns if not any(fnmatchcase(name, p) for name in FEATURES)] == []


def test_every_target_is_of_a_part() -> None:
    assert {name.split(".")[0] for name in read_targets("quality")} <= set(PARTS)


def test_a_log_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(NoLogError, match=r"events\.csv\.gz does not exist; .* DATA="):
        QualityRun(tmp_path, tmp_path / "state", quick=True).tables(ARTICLES)


def test_a_quick_run_ends_earlier(tmp_path: Path) -> None:
    quick, whole = (QualityRun(tmp_path, tmp_path, quick=quick).window(ARTICLES, 60) for quick in (True, False))
    assert quick.begin_s == whole.begin_s
    assert quick.begin_s < quick.end_s < whole.end_s


def test_a_picture_by_itself_is_well_formed_and_holds_its_style_and_legend() -> None:
    series = [Series("a & b", [Point(0.5, 0.1), Point(0.25)], "s0"), Series("c", [Point(0.3), Point(None)], "s1")]
    picture = standalone("Hits <5", ["1h", "24h"], series, x="every", y="hitrate")
    root = ET.fromstring(picture)
    space = "{http://www.w3.org/2000/svg}"
    texts = [text.text for text in root.iter(f"{space}text")]
    assert root.tag == f"{space}svg"
    assert {"a & b", "c", "1h", "24h"} <= set(texts)
    assert len(list(root.iter(f"{space}circle"))) == 3
    assert "--s0" in (root.findtext(f"{space}style") or "")
    assert root.get("viewBox") == "0 0 760 328"
