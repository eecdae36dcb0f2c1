"""`hourfeed evaluate`: replay the past, and say how often each ranker would have shown what users went on to touch."""

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

import click
from rich.console import Console
from rich.table import Table

from batch.settings import BatchSettings, Ranker
from cli.context import parse_time, read_settings
from cli.progress import StageProgress

_UNITS_S = {"m": 60, "h": 3600, "d": 86_400}
_BESIDE = ("popular_24h", "popular_6h", "popular_decay", "newest", "item_knn_recency")


def _duration_s(_context: click.Context, parameter: click.Parameter, text: str) -> int:
    found = re.fullmatch(r"([1-9]\d{0,4})([mhd])", text)
    if found is None:
        msg = f"{text!r} is not a duration; write it as in 10m, 1h, 24h or 7d"
        raise click.BadParameter(msg, param=parameter)
    return int(found[1]) * _UNITS_S[found[2]]


@click.command("evaluate")
@click.option("--from", "begin", required=True, metavar="TIME", help="First refresh (ISO 8601, UTC without an offset).")
@click.option("--to", "end", required=True, metavar="TIME", help="End of the replay; later events are not looked at.")
@click.option("--every", "every_s", default="1h", show_default=True, callback=_duration_s, help="Refresh interval.")
@click.option("--retrain", "retrain_s", default="7d", show_default=True, callback=_duration_s, help="Age of a model.")
@click.option("--k", default=5, show_default=True, type=click.IntRange(1, 100), help="Places that count.")
@click.option(
    "--positive", default="view,like", show_default=True, help="Actions that make a hit, with commas between."
)
@click.option(
    "--ranker", "rankers", multiple=True, type=click.Choice(get_args(Ranker)), help="May be given repeatedly."
)
@click.option("--cold", is_flag=True, help="Only users without any event before the refresh.")
@click.option(
    "--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write all figures here too."
)
def command(
    begin: str,
    end: str,
    every_s: int,
    retrain_s: int,
    k: int,
    positive: str,
    rankers: tuple[Ranker, ...],
    cold: bool,
    json_file: Path | None,
) -> None:
    """Walk through the log from --from to --to through the very stages of `hourfeed batch`; nothing is published.

    A case is a user and an hour in which the user touched posts for the first time that existed at the last refresh.
    A hit is a case with one of those posts among the first K that the slate of that hour would have shown.
    """
    settings = read_settings(BatchSettings)
    first, last = parse_time("--from", begin), parse_time("--to", end)
    if first >= last:
        msg = f"--to {end} is not after --from {begin}"
        raise click.UsageError(msg)
    actions = [action.strip() for action in positive.split(",")]
    unknown = [action for action in actions if action not in settings.actions]
    if unknown:
        msg = f"{unknown[0]!r} is not an action; known are {', '.join(settings.actions)}"
        raise click.BadParameter(msg, param_hint="--positive")
    chosen = rankers or ("lightgbm", *_BESIDE)
    figures = _replay(settings, first, last, (every_s, retrain_s), chosen, actions, k, cold=cold)
    _print(figures, k)
    if json_file is not None:
        json_file.write_text(json.dumps(figures, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _replay(
    settings: BatchSettings,
    first: datetime,
    last: datetime,
    intervals_s: tuple[int, int],
    rankers: tuple[str, ...],
    positive: list[str],
    k: int,
    *,
    cold: bool,
) -> dict[str, Any]:
    from batch.evaluate import summarise  # not before the options are known to be right
    from batch.pipeline import read_at
    from batch.replay import Window, replay
    from source.engine import open_engine

    engine = open_engine(settings.database_url, settings.state)
    try:
        with StageProgress() as progress:
            tables = read_at(settings, engine, last, progress)
            window = Window(int(first.timestamp()), int(last.timestamp()), *intervals_s)
            result = replay(settings, tables, window, rankers, positive, k, progress, cold_only=cold)
    finally:
        engine.dispose()
    return summarise(result, k)


def _print(figures: dict[str, Any], k: int) -> None:
    table = Table(title=f"{figures['cases']:,} cases of {figures['users']:,} users")
    names = (
        f"hitrate@{k}",
        "interval_95",
        f"ndcg@{k}",
        f"map@{k}",
        f"recall@{k}",
        "coverage",
        "popular_share",
        "novelty",
    )
    table.add_column("ranker")
    for name in names:
        table.add_column(name.replace("interval_95", "± 95 %").replace("_", " "), justify="right")
    models = figures["models"].items()
    for ranker, values in sorted(models, key=lambda entry: -(entry[1][names[0]] or 0)):
        table.add_row(ranker, *("–" if values[name] is None else f"{values[name]:.4f}" for name in names))
    Console(width=120).print(table)
