"""The parts of the quality benchmark: each measures one thing, and tells it as figures and as a block of the page."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import get_args

import numpy as np

from batch.evaluate import summarise, summarise_interval
from batch.metrics import hit_rate_at_k, hits_of
from batch.replay import LAG_BLIND, ReplayResult
from batch.settings import BatchSettings, Ranker
from batch.tables import HOUR_S
from bench import blocks, oracle, rules
from bench.ablation import replay_variants
from bench.blocks import rate, signed
from bench.paired import OURS, K, best_baseline, compare, difference, hit_by_case
from bench.peers import ask_peers, make_environment
from bench.picture import standalone
from bench.quality_run import ARTICLES, ARTICLES_DEV, CLICKS, QualityRun
from charts.svg import Point, Series
from demo.parameters import Parameters

RANKERS = tuple(ranker for ranker in get_args(Ranker) if ranker != "neural")
"""All but the neural recommender, which takes hours and needs an extra (docs/decisions/0013)."""
CLICK_RANKERS = ("lightgbm", "popular_1h", "popular_decay", "popular_6h", "user_knn_trend", "item_knn_recency")
DAY_S = 24 * HOUR_S
INTERVALS = {"10m": HOUR_S // 6, "1h": HOUR_S, "4h": 4 * HOUR_S, "24h": DAY_S}
_FEW = 2
"""Events before the refresh from which on a user of the click log counts as known."""

WITHOUT = {
    "how much was touched lately (touches, trend, velocity, place, fading)": (
        "touches_*",
        "trend_*",
        "velocity_*",
        "place_*",
        "fading_*",
        "since_touch_*",
        "events_24h",
        "strong_24h",
        "repeats_24h",
    ),
    "windows below an hour": ("touches_0.*", "trend_0.*"),
    "fading by a power of time": ("fading_*", "segment_fading", "user_knn_fading"),
    "age of the post": ("age_h", "age_at_run_h", "newer_posts"),
    "neighbours and vectors of users": ("user_knn*", "als*"),
    "item-kNN": ("knn", "knn_*"),
    "standing beside the user's other posts": ("*_standing",),
    "segments by profile": ("segment_*",),
    "texts": ("text_*",),
    "authors": ("author_match",),
    "what the user passed by": ("passed_*",),
    "habits of the user": ("user_events*", "user_strong_rate", "user_idle_h", "user_fresh_taste"),
    "hour and weekday": ("hour", "weekday"),
}
"""Groups of features that are taken away, by patterns of names."""


@dataclass(frozen=True)
class Outcome:
    """What a part found. figures : flat. text : its block of the page. pictures : file name → SVG."""

    figures: dict[str, float]
    text: str
    pictures: dict[str, str] = field(default_factory=dict)


def articles(run: QualityRun) -> Outcome:
    """Compare all rankers on the log of articles, with a refresh an hour and one a day."""
    results = {name: run.replayed(ARTICLES, every, RANKERS) for name, every in (("hourly", HOUR_S), ("daily", DAY_S))}
    run.kept.update({(ARTICLES, HOUR_S): results["hourly"], (ARTICLES, DAY_S): results["daily"]})
    hit = {name: hit_by_case(result) for name, result in results.items()}
    figures = {name: compare(hit[name], result.cases.user) for name, result in results.items()}
    heads = {"hourly": "a refresh an hour", "daily": "one a day"}
    text = _comparison({f"{heads[name]}, {of['cases']:,} cases": (hit[name], of) for name, of in figures.items()})
    return Outcome(_flat("articles", figures), f"{text}\n\n{_by_history(results['hourly'])}")


def clicks(run: QualityRun) -> Outcome:
    """Compare rankers on the log of clicks: all cases, and those of users of whom something is known."""
    result = run.replayed(CLICKS, HOUR_S, CLICK_RANKERS)
    run.kept[CLICKS, HOUR_S] = result
    known = result.cases.n_before >= _FEW
    hit = {"all": hit_by_case(result), "known_users": hit_by_case(result, known)}
    users = {"all": result.cases.user, "known_users": result.cases.user[known]}
    figures = {name: compare(hit[name], users[name]) for name in hit}
    heads = {"all": "all", "known_users": "users with two or more earlier clicks"}
    text = _comparison({f"{heads[name]}, {of['cases']:,} cases": (hit[name], of) for name, of in figures.items()})
    return Outcome(_flat("clicks", figures), text)


def peers(run: QualityRun) -> Outcome:
    """Ask models of implicit and RecTools, fitted once a day, on the same cases; beside ours where it was replayed."""
    python = make_environment(run.folder)
    run.say("peers: installed")
    asked = {
        ARTICLES: {"articles": (HOUR_S, "articles, a refresh an hour"), "articles_daily": (DAY_S, "one a day")},
        CLICKS: {"clicks": (HOUR_S, "clicks, a refresh an hour")},
    }
    figures, columns = {}, {}
    for span, replays in asked.items():
        cases = [run.cases(span, every_s) for every_s, _ in replays.values()]
        begin_s = run.window(span, HOUR_S).begin_s
        answered = ask_peers(python, run.tables(span), cases, begin_s, K, run.folder)
        for (name, (every_s, head)), of, top in zip(replays.items(), cases, answered, strict=True):
            hit = {peer: hit_rate_at_k(hits_of(shown, of.posts)) for peer, shown in top.items()}
            if (span, every_s) in run.kept:
                hit[OURS] = hit_by_case(run.kept[span, every_s])[OURS]
            figures[name] = compare(hit, of.user)
            columns[f"{head}, {len(of):,} cases"] = (hit, figures[name])
        run.say(f"peers: {span.log} answered")
    return Outcome(_flat("peers", figures), _comparison(columns))


def intervals(run: QualityRun) -> Outcome:
    """Compare refresh intervals, with and without knowing how far ahead a slate is."""
    asked = {each: INTERVALS[each] for each in (("1h", "24h") if run.quick else INTERVALS)}
    rankers = ("lightgbm", LAG_BLIND, "user_knn_trend", "popular_24h")
    figures: dict[str, dict[str, float]] = {}
    names = (OURS, f"{OURS}_lag_blind", *rankers[2:])
    points: dict[str, list[Point]] = {name: [] for name in names}
    cells: dict[str, list[str]] = {name: [] for name in (*names, "lag-aware against lag-blind")}
    heads = ["ranker"]
    for each, every_s in asked.items():
        result = run.replayed(ARTICLES_DEV, every_s, rankers)
        found, hit = summarise_interval(result, K), hit_by_case(result)
        apart = difference(hit[OURS], hit[f"{OURS}_lag_blind"], result.cases.user)
        figures[each] = {"cases": found["cases"], "all_cases": found["all_cases"]}
        figures[each] |= {f"lag_aware_difference.{end}": value for end, value in apart.items()}
        heads.append(f"{each} ({found['cases'] / max(1, found['all_cases']):.0%} there)")
        for name in names:
            of = found["models"][name]
            figures[each] |= {f"{name}.{rates}": of[rates] for rates in (f"hitrate@{K}", f"all_hitrate@{K}")}
            points[name].append(Point(of[f"all_hitrate@{K}"], of["all_interval_95"]))
            cells[name].append(f"{rate(of[f'all_hitrate@{K}'])} ({rate(of[f'hitrate@{K}'])})")
        cells["lag-aware against lag-blind"].append(signed(**apart))
        run.say(f"intervals: {each} done, lag-aware against lag-blind {signed(**apart)}")
    series = [Series(name, points[name], f"s{at}") for at, name in enumerate(names)]
    title = "Hits among all first touches, by refresh interval"
    picture = standalone(title, list(asked), series, x="from one refresh to the next", y=f"hitrate@{K}")
    text = blocks.table(heads, [[f"`{name}`" if name in names else name, *of] for name, of in cells.items()])
    return Outcome(_flat("intervals", figures), text, {"quality-intervals.svg": picture})


def features(run: QualityRun) -> Outcome:
    """Take groups of features away, one at a time."""
    groups = dict(list(WITHOUT.items())[:1]) if run.quick else WITHOUT
    cases, begin_s = run.cases(ARTICLES_DEV, HOUR_S), run.window(ARTICLES_DEV, HOUR_S).begin_s
    settings, tables = run.settings(ARTICLES_DEV.log), run.tables(ARTICLES_DEV)
    top = replay_variants(settings, tables, cases, begin_s, {OURS: (), **groups}, K)
    hit = {name: hit_rate_at_k(hits_of(shown, cases.posts)) for name, shown in top.items()}
    figures = {"all": compare({OURS: hit[OURS]}, cases.user)}
    rows = [["all features", _rate_of(figures["all"], OURS), "–"]]
    for group, patterns in groups.items():
        apart, name = difference(hit[group], hit[OURS], cases.user), f"without {','.join(patterns)}"
        figures[name] = {f"hitrate@{K}": round(float(hit[group].mean()), 4)}
        figures[name] |= {f"difference.{end}": value for end, value in apart.items()}
        rows.append([f"without {group}", rate(float(hit[group].mean())), signed(**apart)])
    text = blocks.table([f"features, {len(cases):,} cases", f"hitrate@{K}", "against all"], rows)
    return Outcome(_flat("features", figures), text)


def network(run: QualityRun) -> Outcome:
    """Ask the oracle of the simulated network, small and large."""
    sizes = {"demo": 300} if run.quick else {"demo": Parameters.users, "large": 10 * Parameters.users}
    figures = {}
    for name, users in sizes.items():
        settings = BatchSettings(state=run.folder / f"network_{name}", database_url=None)
        settings.state.mkdir()
        figures[name] = oracle.measure(settings, Parameters(users=users, end=oracle.END))
        run.say(f"network: {users:,} users, {figures[name]['hourfeed.share_of_oracle']:.3f} of the oracle")
    wanted = {
        "oracle's best": f"oracle.hits@{K}",
        "bound: knowing how likes come about, but not each user's taste": f"bound.hits@{K}",
        "**hourfeed**": f"hourfeed.hits@{K}",
        "`popular_24h`": f"popular_24h.hits@{K}",
        "bound, of the oracle's": "bound.share_of_oracle",
        "hourfeed, of the oracle's": "hourfeed.share_of_oracle",
        "hourfeed, of the bound's": "hourfeed.share_of_bound",
        "users without any event: hourfeed": f"cold.hourfeed.hits@{K}",
        "users without any event: `popular_24h`": f"cold.popular_24h.hits@{K}",
        "difference, at least": "cold.difference.low",
    }
    heads = ["expected hits", *(f"{users:,} users" for users in sizes.values())]
    rows = [[said, *(rate(of[figure]) for of in figures.values())] for said, figure in wanted.items()]
    return Outcome(_flat("network", figures), blocks.table(heads, rows))


def prices(run: QualityRun) -> Outcome:
    """Tell what each slate rule costs on the log of articles."""
    tables, window = run.tables(ARTICLES_DEV), run.window(ARTICLES_DEV, HOUR_S)
    found = rules.figures_of(rules.replay_rules(run.settings(ARTICLES_DEV.log), tables, window))
    rows = []
    for rule, of in found.items():
        mean, half = of["difference"], of["difference.interval_95"]
        apart = "–" if rule == rules.NO_RULES else signed(mean, mean - half, mean + half)
        rows.append([f"`{rule}`", rate(of[f"hitrate@{K}"]), apart, rate(of["coverage"])])
    text = blocks.table(["rule", f"hitrate@{K}", f"against {rules.NO_RULES}", "coverage"], rows)
    rounded = {rule: {name: round(value, 4) for name, value in of.items()} for rule, of in found.items()}
    return Outcome(_flat("rules", rounded), text)


PARTS: dict[str, Callable[[QualityRun], Outcome]] = {
    "articles": articles,
    "clicks": clicks,
    "peers": peers,
    "intervals": intervals,
    "features": features,
    "network": network,
    "rules": prices,
}


def _comparison(columns: Mapping[str, tuple[Mapping[str, np.ndarray], Mapping[str, float]]]) -> str:
    """Write a table of rankers, best first, and below it how far ours is from the best of the others."""
    hit, first = next(iter(columns.values()))
    names = sorted(hit, key=lambda name: -first[f"{name}.hitrate@{K}"])
    rows = [[f"**{name}**" if name == OURS else f"`{name}`"] for name in names]
    for row, name in zip(rows, names, strict=True):
        row += [_rate_of(of, name) for _, of in columns.values()]
    if any(OURS not in of for of, _ in columns.values()):
        return blocks.table([f"hitrate@{K}", *columns], rows)
    rows.append(["best of the others", *(f"`{best_baseline(hit)}`" for hit, _ in columns.values())])
    rows.append(["ours, times that", *(f"{of['ratio']:.3f}" for _, of in columns.values())])
    ends = [{end: of[f"difference.{end}"] for end in ("mean", "low", "high")} for _, of in columns.values()]
    rows.append(["ours minus that", *(signed(**end) for end in ends)])
    return blocks.table([f"hitrate@{K}", *columns], rows)


def _rate_of(figures: Mapping[str, float], name: str) -> str:
    return rate(figures[f"{name}.hitrate@{K}"], figures[f"{name}.interval_95"])


def _by_history(result: ReplayResult) -> str:
    groups = summarise(result, K)["models"][OURS]["by_history"]
    rows = [[name, f"{of['cases']:,}", rate(of["hitrate"], of["interval_95"])] for name, of in groups.items()]
    return blocks.table(["events of the user before, a refresh an hour", "cases", f"hitrate@{K}"], rows)


def _flat(part: str, figures: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {f"{part}.{name}.{figure}": value for name, of in figures.items() for figure, value in of.items()}
