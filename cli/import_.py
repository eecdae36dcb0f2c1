"""`hourfeed import`: put a generation from a file into Redis."""

from datetime import UTC, datetime
from pathlib import Path

import click

from batch.settings import BatchSettings
from cli.context import open_redis, read_settings
from cli.progress import StageProgress
from cli.status import describe
from slates.cluster import keys_of
from slates.errors import SlatesError
from slates.restore import Archive, Target, import_generation


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--check", is_flag=True, help="Only read the file, and say what it holds; needs no Redis.")
@click.option("--live/--no-live", default=True, help="Whether it goes live; `hourfeed rollback ID` does that later.")
@click.option("--ttl-h", type=click.FloatRange(0, 8760, min_open=True), help="Hours it stays.  [default: the setting]")
@click.option("--max-gb", type=click.FloatRange(0, min_open=True), default=32, help="Most that it may unpack to.")
def command(file: Path, ttl_h: float | None, max_gb: float, *, check: bool, live: bool) -> None:
    """Put the generation that `hourfeed export` wrote to FILE into Redis, under a new id, and make it live.

    The whole file is read and held against its digest first. Until the flip readers have what they had.
    """
    settings = read_settings(BatchSettings)
    try:
        archive = Archive.check(file, round(max_gb * 1e9))
    except OSError as error:
        raise SlatesError(f"{file} cannot be read: {error}") from error
    manifest, counts = archive.summary.manifest, archive.summary.counts
    if check:
        for name, value in describe(manifest, datetime.now(UTC)).items():
            click.echo(f"{'exported' if name == 'live' else name:<12} {value}")
        click.echo(f"{'in the file':<12} {', '.join(f'{count:,} {kind}' for kind, count in counts.items())}")
        click.echo(f"{'sha256':<12} {archive.summary.digest}")
        return
    ttl_s = 3600 * (settings.generation_ttl_h if ttl_h is None else ttl_h)
    with open_redis(settings) as redis, StageProgress() as progress:
        keys = keys_of(redis, settings.prefix)
        target = Target(redis, keys, ttl_s, settings.keep_generations, settings.publish_batch)
        imported = import_generation(target, archive, progress, live=live)
    what = "live" if live else f"a candidate; `hourfeed rollback {imported.id}` makes it live"
    click.echo(
        f"generation {manifest.id} is here as {imported.id}, {what}: {counts['user']:,} users × {manifest.hours} hours"
    )
