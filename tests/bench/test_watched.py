"""What is said of a command that ran: what it printed, and the memory of all its processes."""

import sys
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.watched import watch

MEGABYTE = 2**20
HOLD = 2.0
"""Seconds for which memory is held: many times as long as from one look to the next."""
TWO = f"""
import subprocess, sys, time
held = bytearray(range(256)) * {150 * 4096}
if len(sys.argv) == 1:
    child = subprocess.Popen([sys.executable, __file__, "child"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdout.readline()
    time.sleep({HOLD})
    child.communicate()
else:
    print("holds", flush=True)
    time.sleep({HOLD / 2})
    sys.stdin.read()
"""


def run(code: str, folder: Path, *words: str) -> tuple[Path, list[str]]:
    script = folder / "script.py"
    script.write_text(code)
    return script, [sys.executable, str(script), *words]


def test_what_a_command_prints_and_takes_is_told(tmp_path: Path) -> None:
    code = "import os, sys\nfor at in range(3_000_000): pass\nprint(os.environ['A'])\nsys.stderr.write('beside')"
    taken = watch(run(code, tmp_path)[1], {"A": "first"}, tmp_path)
    assert (taken.out, taken.err) == ("first\n", "beside")
    assert 0 < taken.cpu_s < taken.wall_s * 8
    assert taken.peak_bytes > MEGABYTE


def test_a_command_that_fails_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"ended with exit status 3:\nno room"):
        watch(run("import sys\nprint('no room')\nsys.exit(3)", tmp_path)[1], {}, tmp_path)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="the system does not tell of other processes")
def test_memory_of_a_child_counts_too(tmp_path: Path) -> None:
    alone = watch(run(TWO, tmp_path, "child")[1], {}, tmp_path)
    both = watch(run(TWO, tmp_path)[1], {}, tmp_path)
    assert 150 * MEGABYTE < alone.peak_bytes < 250 * MEGABYTE
    assert both.peak_bytes > alone.peak_bytes + 140 * MEGABYTE
