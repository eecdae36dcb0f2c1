"""`hourfeed diff`: how two generations that Redis holds differ, on a sample of users."""

import json
from pathlib import Path

import click
from redis import Redis
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from batch.report.diff_page import render
from batch.report.diff_rows import about, bucket_rows, measure_rows, measures, mover_rows, tenth_rows
from batch.settings import BatchSettings
from cli.context import open_redis, read_settings
from cli.plain import plain
from slates.cluster import keys_of
from slates.diff import Difference, compare
from slates.errors import NoGenerationError
from slates.generations import live_generation, read_manifest
from slates.keys import Keys
from slates.manifest import Manifest
from slates.sample import sample_users


@click.command("diff")
@click.argument("before", required=False)
@click.argument("after", required=False)
@click.option("--users", type=click.IntRange(1, 100_000), default=1_000, show_default=True, help="Users to look at.")
@click.option("--arm", help="The arm of an experiment whose live generation is meant where none is named.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a page with pictures to this file."
)
def command(
    before: str | None, after: str | None, users: int, arm: str | None, html: Path | None, *, as_json: bool
) -> None:
    """Say how the slates of the generation AFTER differ from those of BEFORE, for the same users and hours.

    With one generation given: from the live one to it, or to the live one from one that was live before. With none:
    from the one before to the live one.
    """
    settings = read_settings(BatchSettings)
    with open_redis(settings, only_look=True) as redis:
        keys = keys_of(redis, settings.prefix, arm)
        old, new = _pair(redis, keys, before, after)
        found = compare(redis, keys, old, new, sample_users(redis, keys, new.id, users))
    if html:
        html.write_text(render(old, new, found), encoding="utf-8")
    if as_json:
        click.echo(json.dumps(found.as_told(), indent=1))
    else:
        _print(old, new, found)


def _pair(redis: Redis, keys: Keys, before: str | None, after: str | None) -> tuple[Manifest, Manifest]:
    """Return the two generations, older first; raise NoGenerationError where one cannot be had."""
    if before and after:
        return _held(redis, keys, before), _held(redis, keys, after)
    live = live_generation(redis, keys)
    if live is None:
        raise NoGenerationError("no generation is live to compare with; name two: `hourfeed diff BEFORE AFTER`")
    if not before:
        return _held(redis, keys, live.previous), live
    other = _held(redis, keys, before)
    return (other, live) if other.seq < live.seq else (live, other)


def _held(redis: Redis, keys: Keys, generation: str) -> Manifest:
    manifest = read_manifest(redis, keys, generation) if generation else None
    if manifest is None:
        wanted = f"no generation {generation!r}" if generation else "none that was live before"
        msg = f"Redis holds {wanted}; `hourfeed status` lists those it holds"
        raise NoGenerationError(msg)
    return manifest


def _print(old: Manifest, new: Manifest, found: Difference) -> None:
    console = Console()
    click.echo(plain(f"{old.id} → {new.id}: {found.users:,} users, {found.hours} hours in both"))
    for line in about(old, new):
        click.echo(plain(line))
    for name, value, what in measures(found):
        click.echo(f"{name:<8} {value:>6}  {what}")
    _table(console, ["", "before", "after", "change"], measure_rows(old, new, found))
    if found.overlap is not None:
        _table(console, ["bucket", "overlap", "churn"], bucket_rows(found))
        _table(console, ["overlap of a user", "users"], tenth_rows(found))
    if found.risen or found.fallen:
        _table(console, ["post among the first five", "before", "after", "change"], mover_rows(found))


def _table(console: Console, headings: list[str], rows: list[list[str]]) -> None:
    table = Table(box=SIMPLE, pad_edge=False)
    for heading in headings:
        table.add_column(heading, justify="right" if heading not in headings[:1] else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    console.print(table)
