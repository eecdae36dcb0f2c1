"""`hourfeed export`: write a generation to a file."""

from pathlib import Path

import click

from batch.settings import BatchSettings
from cli.context import open_redis, read_settings
from cli.progress import StageProgress
from slates.cluster import keys_of
from slates.errors import SlatesError
from slates.export import export_generation


@click.command("export")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("generation", required=False)
@click.option("--blocked", is_flag=True, help="Tell, too, which posts are taken down; an import takes them down there.")
def command(file: Path, generation: str | None, *, blocked: bool) -> None:
    """Write to FILE all that serves GENERATION, by default the live one: slates, similar posts, texts.

    `hourfeed import` puts it into another Redis. The file is there when it is whole, for you alone to read.
    """
    settings = read_settings(BatchSettings)
    with open_redis(settings, only_look=True) as redis, StageProgress() as progress:
        keys = keys_of(redis, settings.prefix)
        try:
            summary = export_generation(redis, keys, file, progress, generation, with_blocked=blocked)
        except OSError as error:
            raise SlatesError(f"nothing was written: {error}") from error
    manifest, counts = summary.manifest, summary.counts
    click.echo(
        f"generation {manifest.id}: {counts['user']:,} users × {manifest.hours} hours, {counts['post']:,} posts in "
        f"{file} ({file.stat().st_size:,} bytes)\nsha256 of its content {summary.digest}"
    )
    if counts["user"] < manifest.users:
        missing = manifest.users - counts["user"]
        click.echo(f"note: {missing:,} users of its run have no slates any more: erased since, or expired", err=True)
