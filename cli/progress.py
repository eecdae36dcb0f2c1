"""Progress of a run on standard error: bars on a terminal, plain lines elsewhere."""

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from cli.plain import plain

_EVERY_S = 10.0


class StageProgress:
    """Shows the stages of a batch; it is the `Report` that the pipeline tells of them."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bars: Progress | None = None
        self._tasks: dict[str, int] = {}
        self._told: dict[str, float] = {}
        self._untold = ("", "")

    def __enter__(self) -> Self:
        """Begin to show."""
        if self._console.is_terminal:
            parts = (SpinnerColumn(), TextColumn("{task.description:<22}"), BarColumn(), MofNCompleteColumn())
            self._bars = Progress(*parts, TimeElapsedColumn(), console=self._console)
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the terminal as it was."""
        self._tell_the_last_of("")
        if self._bars:
            self._bars.stop()

    def stage(self, name: str, done: int, total: int | None) -> None:
        """Show that `done` of `total` steps are done."""
        if self._bars:
            if name not in self._tasks:
                self._tasks[name] = self._bars.add_task(name, total=total)
            self._bars.update(self._tasks[name], completed=done, total=total)  # type: ignore[arg-type]
            return
        self._tell_the_last_of(name)
        line = f"{name}: {done:,}" + (f" of {total:,}\n" if total else "\n")
        if done == total or time.monotonic() - self._told.get(name, 0.0) > _EVERY_S:
            self._told[name] = time.monotonic()
            sys.stderr.write(line)
            self._untold = ("", "")
        else:
            self._untold = (name, line)

    def _tell_the_last_of(self, next_name: str) -> None:
        """Write how far a stage came whose end nobody knew, once another one begins."""
        name, line = self._untold
        if name != next_name:
            sys.stderr.write(line)
            self._untold = ("", "")

    def note(self, text: str) -> None:
        """Show a line that stays."""
        if self._bars:
            self._bars.console.print(f"note: {plain(text)}", markup=False, highlight=False)
        else:
            sys.stderr.write(f"note: {plain(text)}\n")
