"""`hourfeed load`: users, posts and events from files into the database."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from batch.settings import BatchSettings
from cli.context import read_settings
from cli.memory import bounded_memory
from cli.plain import plain
from source.errors import SourceError

if TYPE_CHECKING:
    from source.load import LoadReport


MOST_MEMORY = 8 << 30
"""Bytes that loading may take beyond what the process has: a file of a few kilobytes can ask for hundreds of GB."""


@click.command("load")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
def command(folder: Path) -> None:
    """Load users, posts and events from the files in DIR into the database.

    Looked for are users, posts and events (or user_data, post_text_df, feed_data) as .csv, .csv.gz or .parquet, any
    of them, or as folders of .parquet files. Loading a file again is harmless: an event is kept once, users and posts
    are replaced. Rows that cannot be used are counted, and set aside in a quarantine file with their line number and
    the reason.
    """
    settings = read_settings(BatchSettings)
    from source.engine import open_engine
    from source.load import load_folder

    engine = open_engine(settings.database_url, settings.state)
    try:
        with _Bars() as bars, bounded_memory(MOST_MEMORY):
            quarantine = settings.state / "quarantine"
            report = load_folder(folder, engine, settings.source, settings.actions, quarantine, bars.show)
    finally:
        engine.dispose()
    _print(report)
    _refuse_nothing_loaded(report)


class _Bars(Progress):
    """A bar for each file, by its bytes, with rows and rows a second; on standard error, if that is a terminal."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        rows = TextColumn("{task.fields[rows]:>11,} rows {task.fields[rate]:>9,}/s")
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), rows)
        super().__init__(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal)
        self._bars: dict[Path, TaskID] = {}

    def show(self, path: Path, bytes_read: int, rows: int) -> None:
        """Draw how far a file is."""
        if path not in self._bars:
            from source.files import size_bytes

            size = max(size_bytes(path), bytes_read)
            self._bars[path] = self.add_task(plain(path.name), total=size, rows=0, rate=0)
        bar = self._bars[path]
        elapsed_s = self.tasks[bar].elapsed or 0
        self.update(bar, completed=bytes_read, rows=rows, rate=int(rows / elapsed_s) if elapsed_s else 0)


def _print(report: "LoadReport") -> None:
    table = Table(box=SIMPLE, pad_edge=False)
    table.add_column("file", no_wrap=True)
    table.add_column("holds")
    for column in ("rows", "new", "already there", "set aside", "rows/s"):
        table.add_column(column, justify="right")
    for file in report.files:
        bad = sum(file.quarantined.values())
        counts = (file.rows, file.new, file.known, bad, int(file.rows / max(file.seconds, 1e-3)))
        table.add_row(Text(plain(file.path.name)), file.kind, *(f"{count:,}" for count in counts))
    Console().print(table)
    for file in report.files:
        for reason, count in sorted(file.quarantined.items(), key=lambda entry: -entry[1]):
            click.echo(plain(f"{file.path.name}: {_rows(count)} set aside: {reason}"))
        if file.quarantine_path:
            set_aside = "row set aside is" if sum(file.quarantined.values()) == 1 else "rows set aside are"
            click.echo(plain(f"{file.path.name}: the {set_aside} in {file.quarantine_path}"))
        if file.ignored_columns:
            names = ", ".join(name or "(without a name)" for name in file.ignored_columns)
            click.echo(plain(f"{file.path.name}: columns not loaded: {names}"))
    if report.ignored:
        click.echo(plain(f"files not loaded: {', '.join(report.ignored)}"))


def _rows(count: int) -> str:
    return f"{count:,} row" if count == 1 else f"{count:,} rows"


def _refuse_nothing_loaded(report: "LoadReport") -> None:
    """Raise SourceError when every row of a file was set aside: more likely the file is of another form."""
    lost = []
    for file in report.files:
        if file.rows and sum(file.quarantined.values()) == file.rows:
            reason, count = max(file.quarantined.items(), key=lambda entry: entry[1])
            lost.append(f"no row of {file.path.name} is loaded; the reason of {count:,} of {file.rows:,}: {reason}")
    if lost:
        raise SourceError("\n".join(lost))
