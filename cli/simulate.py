"""`hourfeed simulate`: fills the database, or a folder, with a simulated social network."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from batch.settings import BatchSettings
from cli.context import read_settings
from demo.log import Report
from demo.parameters import Parameters
from demo.scales import SCALES
from demo.simulate import Summary, simulate, simulate_files
from demo.sinks import FileFormat
from demo.workers import cores
from source.engine import open_engine

_HALF_LIFE_HELP = "Days until a post is shown half as often."
_FORMATS: tuple[FileFormat, ...] = ("parquet", "csv")
_END_HELP = "End of the log, in UTC; for demo the current hour, for reference 2021-12-30T00:00."
_STAGES = {"users": "users and posts", "log": "views and likes", "writing": "writing days"}


def _moment(_ctx: click.Context, param: click.Parameter, value: str | None) -> datetime | None:
    """Read a time in ISO 8601, in UTC where it names no zone."""
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a time; write it like 2021-12-30T00:00", param=param) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _by_scale(what: str, name: str) -> str:
    """Say what a size is at each scale."""
    sizes = ", ".join(f"{scale} {given.get(name, getattr(Parameters, name)):,}" for scale, given in SCALES.items())
    return f"{what}; by default {sizes}."


@click.command()
@click.option(
    "--scale", type=click.Choice(list(SCALES)), default="demo", show_default=True, help="Where no number is given."
)
@click.option("--users", type=int, help=_by_scale("Profiles", "users"))
@click.option("--posts", type=int, help=_by_scale("Posts", "posts"))
@click.option("--days", type=int, help=_by_scale("Length of the log", "days"))
@click.option("--seed", default=Parameters.seed, show_default=True, help="The same seed gives the same network.")
@click.option("--end", metavar="TIME", callback=_moment, help=_END_HELP)
@click.option("--activity", type=float, help=_by_scale("Share of days with a session", "activity"))
@click.option("--half-life", "half_life_d", default=Parameters.half_life_d, show_default=True, help=_HALF_LIFE_HELP)
@click.option("--published-at/--no-published-at", default=True, show_default=True, help="Say when posts appeared.")
@click.option("--workers", type=click.IntRange(1), default=cores, help="Processes, all cores by default; same result.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Write files here, not the database.")
@click.option("--format", "file_format", type=click.Choice(_FORMATS), default="parquet", help="Of the files.")
def command(
    scale: str,
    seed: int,
    half_life_d: float,
    published_at: bool,
    workers: int,
    out: Path | None,
    file_format: FileFormat,
    **sizes: Any,
) -> None:
    """Simulate a social network that behaves like the course's feed, into the database or into files.

    What decides on likes is saved aside as oracle.npz, in the state folder or beside the files.
    """
    given = {name: value for name, value in sizes.items() if value is not None}
    sized = {"end": datetime.now(UTC), **SCALES[scale], **given}
    parameters = Parameters(seed=seed, half_life_d=half_life_d, published_at=published_at, **sized)
    if out is None:
        keep_end = "end" not in {**SCALES[scale], **given}
        settings = read_settings(BatchSettings)
        summary, place = simulate_into_database(settings, parameters, keep_end=keep_end, workers=workers)
    else:
        with _shown() as report:
            summary = simulate_files(parameters, out, file_format=file_format, workers=workers, progress=report)
        place = str(out)
    click.echo(sentence(summary, place))


def simulate_into_database(
    settings: BatchSettings, parameters: Parameters, *, keep_end: bool, workers: int = 1
) -> tuple[Summary, str]:
    """Simulate into the database of the settings, showing progress; return what is there now, and the URL."""
    engine = open_engine(settings.database_url, settings.state)
    try:
        with _shown() as report:
            place = engine, settings.source, settings.state
            summary = simulate(parameters, *place, keep_end=keep_end, workers=workers, progress=report)
    finally:
        engine.dispose()
    return summary, engine.url.render_as_string(hide_password=True)


@contextmanager
def _shown() -> Iterator[Report]:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description:>16}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        tasks = {stage: bar.add_task(title, total=None) for stage, title in _STAGES.items()}

        def report(stage: str, done: int, total: int) -> None:
            bar.update(tasks[stage], completed=done, total=total)

        yield report


def sentence(summary: Summary, place: str) -> str:
    """Say what a simulation has put where."""
    times = f", {summary.first:%Y-%m-%d %H:%M:%S} to {summary.last:%Y-%m-%d %H:%M:%S} UTC" if summary.last else ""
    there = "already there" if summary.already_there else "simulated"
    return (
        f"{there}: {summary.users:,} users, {summary.posts:,} posts, {summary.views:,} views, {summary.likes:,} likes "
        f"(like rate {summary.like_rate:.3f}){times}\ndatabase or folder: {place}"
    )
