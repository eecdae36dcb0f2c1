"""Reads the log in a new process for each line on standard input, which says after how many seconds to kill it.

Answers each line with the process' status; an empty line kills nothing.
"""

import os
import signal
import sys
import time
from pathlib import Path

from event_table import read

import batch.event_log.rewrite
from source.engine import open_engine


def main(url: str, folder: Path) -> None:
    batch.event_log.rewrite.BLOCK_ROWS = 100  # type: ignore[attr-defined]
    read_once(url, folder / "warm")  # compiles what the children then find compiled
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        process = os.fork()
        if process == 0:
            read_once(url, folder / "log")
            os._exit(0)
        if line.strip():
            time.sleep(float(line))  # a moment of the run, not a wait for one
            os.kill(process, signal.SIGKILL)
        sys.stdout.write(f"{os.waitpid(process, 0)[1]}\n")
        sys.stdout.flush()


def read_once(url: str, folder: Path) -> None:
    engine = open_engine(url, folder)
    read(engine, folder)
    engine.dispose()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
