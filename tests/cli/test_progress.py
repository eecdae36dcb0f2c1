"""What a run says of its stages where there is no terminal."""

import pytest

from cli.progress import StageProgress


def test_the_last_of_a_stage_of_unknown_length_is_told_when_the_next_one_begins(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.progress.time.monotonic", lambda: 100.0)  # so no line is due by the clock but the first
    with StageProgress() as shown:
        for rows in (10, 20, 30):
            shown.stage("read", rows, None)
        shown.stage("train", 1, 2)
        shown.stage("train", 2, 2)
        shown.stage("publish", 1, 9)
        shown.stage("publish", 2, 9)
    lines = ["read: 10", "read: 30", "train: 1 of 2", "train: 2 of 2", "publish: 1 of 9", "publish: 2 of 9"]
    assert capsys.readouterr().err.splitlines() == lines
