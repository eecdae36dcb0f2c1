import gzip
from pathlib import Path

from bench.checker import without_liked_views


def test_only_the_view_of_a_like_is_left_out_and_the_like_itself_stays(tmp_path: Path) -> None:
    rows = ["timestamp,user_id,post_id,action,target", "t1,1,7,view,0", "t2,1,8,view,1", "t3,1,8,like,0"]
    with gzip.open(tmp_path / "events.csv.gz", "wt") as file:
        file.write("\n".join(rows) + "\n")
    out = without_liked_views(tmp_path / "events.csv.gz", tmp_path / "out.csv")
    assert out.read_text().splitlines() == [rows[0], rows[1], rows[3]]
