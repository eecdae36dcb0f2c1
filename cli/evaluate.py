"""`hourfeed evaluate`: replay the past, and say how often each ranker would have shown what users went on to touch."""

import json
import re
from dataclasses import dataclass
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
_POSITIVE = "view,like"
_SLOW = {"neural"}
"""Rankers that are replayed only when they are asked for."""
_BESIDE: tuple[Ranker, ...] = tuple(ranker for ranker in get_args(Ranker) if ranker not in _SLOW)


class _Duration(click.ParamType["Interval"]):
    """A duration as in 10m; in seconds, with the text that was given."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> "Interval":
        if isinstance(value, Interval):
            return value
        found = re.fullmatch(r"([1-9]\d{0,4})([mhd])", value)
        if found is None:
            self.fail(f"{value!r} is not a duration; write it as in 10m, 1h, 24h or 7d", param, ctx)
        return Interval(value, int(found[1]) * _UNITS_S[found[2]])


@dataclass(frozen=True)
class Interval:
    """A time from one refresh to the next, as it was written, and in seconds."""

    text: str
    seconds: int


@dataclass(frozen=True)
class _Asked:
    """What is asked of a replay, whatever its interval."""

    first: datetime
    last: datetime
    retrain_s: int
    rankers: tuple[str, ...]
    positive: list[str] | None
    k: int
    cold: bool
    workers: int


@click.command("evaluate")
@click.option("--from", "begin", required=True, metavar="TIME", help="First refresh (ISO 8601, UTC without an offset).")
@click.option("--to", "end", required=True, metavar="TIME", help="End of the replay; later events are not looked at.")
@click.option(
    "--every",
    multiple=True,
    default=("1h",),
    show_default="1h",
    type=_Duration(),
    help="Refresh interval. May be given repeatedly; the first one is that of the table, all are compared.",
)
@click.option("--retrain", default="7d", show_default=True, type=_Duration(), help="Age of a model.")
@click.option("--k", default=5, show_default=True, type=click.IntRange(1, 100), help="Places that count.")
@click.option(
    "--positive",
    default=None,
    show_default=_POSITIVE,
    help="Actions that make a hit, with commas between; by default without those that say only that a post was shown.",
)
@click.option(
    "--ranker",
    "rankers",
    multiple=True,
    type=click.Choice(get_args(Ranker)),
    help="May be given repeatedly; all but slow ones by default.",
)
@click.option("--lag-blind", is_flag=True, help="Add the trained ranker as it would be without knowing of lags.")
@click.option("--cold", is_flag=True, help="Only users without any event before the refresh.")
@click.option(
    "--workers", default=None, type=click.IntRange(1, 64), help="Processes side by side; one a core by default."
)
@click.option(
    "--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write all figures here too."
)
@click.option(
    "--html", "html_file", type=click.Path(dir_okay=False, path_type=Path), help="Write a page with pictures here too."
)
def command(
    begin: str,
    end: str,
    every: tuple[Interval, ...],
    retrain: Interval,
    k: int,
    positive: str | None,
    rankers: tuple[str, ...],
    lag_blind: bool,
    cold: bool,
    workers: int | None,
    json_file: Path | None,
    html_file: Path | None,
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
    actions = [action.strip() for action in positive.split(",")] if positive is not None else None
    unknown = [action for action in actions or () if action not in settings.actions]
    if unknown:
        msg = f"{unknown[0]!r} is not an action; known are {', '.join(settings.actions)}"
        raise click.BadParameter(msg, param_hint="--positive")
    for file in (json_file, html_file):
        if file is not None and not file.absolute().parent.is_dir():
            msg = f"the folder of {file} does not exist"
            raise click.UsageError(msg)  # now, not after the work
    from batch.replay import LAG_BLIND  # not before the options are known to be right
    from batch.replay_pool import cores

    chosen = tuple(dict.fromkeys(rankers or _BESIDE)) + ((LAG_BLIND,) if lag_blind else ())
    asked = _Asked(first, last, retrain.seconds, chosen, actions, k, cold, workers or cores())
    figures = {
        "from": first.isoformat(),
        "to": last.isoformat(),
        "every": every[0].text,
        "retrain": retrain.text,
        "k": k,
        "cold": cold,
        **_replay(settings, asked, list(dict.fromkeys(every))),
    }
    _print(figures, k)
    if json_file is not None:
        json_file.write_text(json.dumps(figures, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    if html_file is not None:
        from batch.report.page import render

        html_file.write_text(render(figures), encoding="utf-8")


def _replay(settings: BatchSettings, asked: _Asked, every: list[Interval]) -> dict[str, Any]:
    from batch.evaluate import summarise, summarise_interval
    from batch.pipeline import read_at
    from batch.replay import Window, default_positive, replay
    from source.engine import open_engine

    engine = open_engine(settings.database_url, settings.state)
    figures: dict[str, Any] = {}
    by_interval = {}
    try:
        with StageProgress() as progress:
            tables = read_at(settings, engine, asked.last, progress)
            positive = asked.positive or default_positive(tables, _POSITIVE.split(","))
            for interval in every:
                window = Window(
                    int(asked.first.timestamp()), int(asked.last.timestamp()), interval.seconds, asked.retrain_s
                )
                result = replay(
                    settings,
                    tables,
                    window,
                    asked.rankers,
                    positive,
                    asked.k,
                    progress,
                    cold_only=asked.cold,
                    workers=asked.workers,
                )
                figures = figures or summarise(result, asked.k)
                by_interval[interval.text] = summarise_interval(result, asked.k)
    finally:
        engine.dispose()
    return {"positive": positive, **figures, "by_interval": by_interval}


def _print(figures: dict[str, Any], k: int) -> None:
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
    models = sorted(figures["models"].items(), key=lambda entry: -(entry[1][names[0]] or 0))
    table = Table(title=f"{figures['cases']:,} cases of {figures['users']:,} users, a refresh every {figures['every']}")
    table.add_column("ranker")
    for name in names:
        table.add_column(name.replace("interval_95", "± 95 %").replace("_", " "), justify="right")
    for ranker, values in models:
        table.add_row(ranker, *(_four(values[name]) for name in names))
    console = Console(width=120)
    console.print(table)
    if len(figures["by_interval"]) > 1:
        console.print(_by_interval(figures["by_interval"], [ranker for ranker, _ in models], k))


def _by_interval(by_interval: dict[str, Any], rankers: list[str], k: int) -> Table:
    table = Table(title=f"hitrate@{k} of all first touches (of those of posts that were there), by refresh interval")
    table.add_column("ranker")
    for interval in by_interval:
        table.add_column(interval, justify="right")
    for ranker in rankers:
        values = [of["models"][ranker] for of in by_interval.values()]
        table.add_row(ranker, *(f"{_four(v[f'all_hitrate@{k}'])} ({_four(v[f'hitrate@{k}'])})" for v in values))
    return table


def _four(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
