"""`hourfeed simulate`: fills the database, or a folder, with a simulated social network."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from batch.settings import BatchSettings
from cli.context import read_settings
from demo.parameters import Parameters
from demo.simulate import Progress as Report
from demo.simulate import Summary, simulate, simulate_files
from demo.sinks import FileFormat
from source.engine import open_engine

_HALF_LIFE_HELP = "Days until a post is shown half as often."
_FORMATS: tuple[FileFormat, ...] = ("parquet", "csv")
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


@click.command()
@click.option("--users", default=Parameters.users, show_default=True, help="Profiles.")
@click.option("--posts", default=Parameters.posts, show_default=True, help="Posts.")
@click.option("--days", default=Parameters.days, show_default=True, help="Length of the log.")
@click.option("--seed", default=Parameters.seed, show_default=True, help="The same seed gives the same network.")
@click.option("--end", metavar="TIME", callback=_moment, help="End of the log, in UTC; the current hour by default.")
@click.option("--activity", default=Parameters.activity, show_default=True, help="Share of days with a session.")
@click.option("--half-life", "half_life_d", default=Parameters.half_life_d, show_default=True, help=_HALF_LIFE_HELP)
@click.option("--published-at/--no-published-at", default=True, show_default=True, help="Say when posts appeared.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Write files here, not the database.")
@click.option("--format", "file_format", type=click.Choice(_FORMATS), default="parquet", help="Of the files.")
def command(
    users: int,
    posts: int,
    days: int,
    seed: int,
    end: datetime | None,
    activity: float,
    half_life_d: float,
    published_at: bool,
    out: Path | None,
    file_format: FileFormat,
) -> None:
    """Simulate a social network that behaves like the course's feed, into the database or into files.

    What decides on likes is saved aside as oracle.npz, in the state folder or beside the files.
    """
    parameters = Parameters(
        users=users,
        posts=posts,
        days=days,
        seed=seed,
        end=end or datetime.now(UTC),
        activity=activity,
        half_life_d=half_life_d,
        published_at=published_at,
    )
    if out is None:
        summary, place = simulate_into_database(read_settings(BatchSettings), parameters, keep_end=end is None)
    else:
        with _shown() as report:
            summary = simulate_files(parameters, out, file_format=file_format, progress=report)
        place = str(out)
    click.echo(sentence(summary, place))


def simulate_into_database(settings: BatchSettings, parameters: Parameters, *, keep_end: bool) -> tuple[Summary, str]:
    """Simulate into the database of the settings, showing progress; return what is there now, and the URL."""
    engine = open_engine(settings.database_url, settings.state)
    try:
        with _shown() as report:
            summary = simulate(parameters, engine, settings.source, settings.state, keep_end=keep_end, progress=report)
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
