"""The tables and pictures of docs/performance.md, from the benchmarks' figures; what was not measured is a dash."""

from collections.abc import Callable, Mapping

from bench.blocks import table
from bench.figures import Figures
from bench.growth import PARTS as GROWTH
from bench.picture import standalone, standalone_bars
from charts.svg import Point, Series

Results = Mapping[str, Figures]
"""Figures by the name of the benchmark."""
RUNS = {"first": "first run", "full": "saved model", "refresh": "refresh"}
STAGES = ("read", "features", "room", "gate", "train", "candidates", "rank", "similar", "slate", "publish", "verify")
STAGES_FILE, GROWTH_FILE = "performance-stages.svg", "performance-growth.svg"
_NONE = "–"
_MEASURES = {"wall_s": " s", "cpu_s": " s", "peak_gb": " GB"}


def _cell(figures: Figures, name: str, unit: str = "", digits: int = 1, scale: float = 1.0) -> str:
    value = figures.get(name)
    return _NONE if value is None else f"{value * scale:,.{digits}f}{unit}"


def _rows(
    figures: Figures, columns: Mapping[str, str], names: Mapping[str, tuple[str, str, int, float]]
) -> list[list[str]]:
    """Return a row for each name (label → figure, unit, digits, scale), with a cell for each prefix of a figure."""
    return [
        [label, *(_cell(figures, f"{prefix}.{name}", unit, digits, scale) for prefix in columns)]
        for label, (name, unit, digits, scale) in names.items()
    ]


def limits(results: Results) -> dict[str, str]:
    """Write what the machine can do."""
    columns = {"one_thread": "one thread", "all_threads": f"{results['limits'].get('threads', 0):.0f} threads"}
    names = {
        "memory, copying, read and written": ("memory_gb_per_s", " GB/s", 1, 1.0),
        "masks of 16 bits, AND-ed, in the cache": ("masks_per_s", " thousand million/s", 1, 1e-9),
        "numbers looked up in a table in the cache": ("lookups_per_s", " thousand million/s", 2, 1e-9),
    }
    return {"limits": table(["limit", *columns.values()], _rows(results["limits"], columns, names))}


def network(results: Results) -> dict[str, str]:
    """Write what making the network takes."""
    figures = results["network"]
    rows = [
        ["simulated into Parquet", _cell(figures, "simulate.wall_s", " s"), _cell(figures, "simulate.peak_gb", " GB")],
        ["loaded into Postgres", _cell(figures, "load.wall_s", " s"), _cell(figures, "load.peak_gb", " GB")],
    ]
    rate = _cell(figures, "load.events_per_s", " events/s", 0)
    return {"network": f"{table(['', 'wall', 'peak memory'], rows)}\n\nLoading: {rate}."}


def scale(results: Results) -> dict[str, str]:
    """Write the stages of runs, and how runs grow."""
    figures, blocks = results["scale"], dict[str, str]()
    if "first.stage.gate_s" in figures or "refresh.wall_s" in figures:
        blocks["runs"] = _runs_block(figures)
    if "growth.whole.wall_s" in figures:
        blocks["growth"] = _growth_block(figures)
    return blocks


def _runs_block(figures: Figures) -> str:
    head = ["", *(column for run in RUNS.values() for column in (run, "share", "memory"))]
    rows = []
    for stage in STAGES:
        row = [f"{stage}"]
        for run in RUNS:
            seconds, wall = figures.get(f"{run}.stage.{stage}_s"), figures.get(f"{run}.wall_s")
            share = _NONE if seconds is None or not wall else f"{100 * seconds / wall:.0f} %"
            row += [_cell(figures, f"{run}.stage.{stage}_s", " s"), share]
            row.append(_cell(figures, f"{run}.stage.{stage}_gb", " GB"))
        rows.append(row)
    whole = ["**all, from start to end of the command**"]
    for run in RUNS:
        whole += [f"**{_cell(figures, f'{run}.wall_s', ' s')}**", "", _cell(figures, f"{run}.peak_gb", " GB")]
    names = {
        "processor time, all threads": ("cpu_s", " s", 0, 1.0),
        "rows read from Postgres": ("rows_read", "", 0, 1.0),
        "Redis, a generation": ("redis_bytes", " MB", 0, 1e-6),
        "bytes a slate, by Redis's own figure": ("bytes_per_slate", "", 1, 1.0),
        "planned before, of what it took: seconds": ("plan.seconds", "", 2, 1.0),
        "… memory": ("plan.memory", "", 2, 1.0),
        "… bytes in Redis": ("plan.bytes", "", 2, 1.0),
    }
    beside = table(["", *RUNS.values()], _rows(figures, RUNS, names))
    counts = ("first.users", "first.posts", "first.events", "refresh.new_events", "refresh.missed_events")
    users, posts, events, new, missed = (_cell(figures, name, digits=0) for name in counts)
    keys, differing = (_cell(figures, f"refresh.{name}", digits=0) for name in ("keys", "differing_keys"))
    sizes = (
        f"{users} users × 24 hours, {posts} posts, {events} events; {new} new ones before the refresh, which missed "
        f"{missed} of them; {differing} of {keys} keys differ from those of a run that read everything anew."
    )
    picture = f"![Seconds by stage of a first run, one with a saved model and a refresh]({STAGES_FILE})"
    return f"{sizes}\n\n{picture}\n\n{table(head, [*rows, whole])}\n\n{beside}"


def _growth_block(figures: Figures) -> str:
    rows = []
    for axis, all_parts in GROWTH.items():
        for parts in (*all_parts, 1):
            name = f"growth.{axis}.{parts}" if parts > 1 else "growth.whole"
            if f"{name}.wall_s" in figures:
                part = f"1/{parts}" if parts > 1 else "all"
                rows.append([f"{axis}: {part}", *_measured(figures, name)])
    if "growth.four_times.wall_s" in figures:
        rows.append(["users: 4 times", *_measured(figures, "growth.four_times")])
    wall, memory = (_cell(figures, f"growth.users.ratio.{name}", digits=2) for name in ("wall_s", "peak_gb"))
    history = _cell(figures, "growth.history.ratio.wall_s", digits=2)
    ratios = (
        f"Four times the users, a quarter against all: {wall} of four times the seconds, {memory} of four times the "
        f"memory. Ten times the history: {history} times the seconds."
    )
    picture = f"![Seconds of a run with a part of the users, posts, hours or history]({GROWTH_FILE})"
    return f"{picture}\n\n{table(['', 'wall', 'processor time', 'peak memory'], rows)}\n\n{ratios}"


def _measured(figures: Figures, name: str) -> list[str]:
    return [_cell(figures, f"{name}.{figure}", unit) for figure, unit in _MEASURES.items()]


def event_log(results: Results) -> dict[str, str]:
    """Write what the event log takes, beside a bare COPY."""
    figures = results["event_log"]
    columns = {"limit": "COPY, thrown away", "first_read": "first read", "open": "opening it", "refresh": "refresh"}
    names = {
        "wall": ("wall_s", " s", 1, 1.0),
        "processor time on our side": ("cpu_s", " s", 1, 1.0),
        "peak memory": ("peak_gb", " GB", 2, 1.0),
    }
    said = (
        f"{_cell(figures, 'first_read.events', '', 0)} events; first read "
        f"{_cell(figures, 'first_read.rows_per_s', '', 0)} rows/s, {_cell(figures, 'limit.share', '', 2)} of the bare "
        f"COPY's speed; {_cell(figures, 'bytes_per_event', '', 2)} bytes an event on the disk."
    )
    return {"event_log": f"{table(['', *columns.values()], _rows(figures, columns, names))}\n\n{said}"}


def scoring(results: Results) -> dict[str, str]:
    """Write what scoring takes, beside the obvious way and what the machine can do with masks."""
    figures = dict(results["scoring"])
    columns = {"shown": "views say what was shown", "chosen": "views are chosen"}
    masks = results.get("limits", {}).get("one_thread.masks_per_s")
    for views in columns:
        trees, cpu_s = figures.get(f"{views}.model.trees"), figures.get(f"{views}.cpu_s")
        if trees is not None and cpu_s:
            done = trees * figures["users"] * figures["posts"] / cpu_s
            figures[f"{views}.trees_per_cpu_s"] = done
            if masks:
                figures[f"{views}.limit.share"] = done / masks
    names = {
        "processor time, all slates": ("cpu_s", " s", 1, 1.0),
        "slates a second of processor time": ("slates_per_cpu_s", "", 0, 1.0),
        "trees of the model": ("model.trees", "", 0, 1.0),
        "the obvious way, every post: times as long": ("obvious.every_post.ratio", "", 0, 1.0),
        "the obvious way, 200 candidates: times as long": ("obvious.candidates.ratio", "", 0, 1.0),
        "24 hours against one": ("hours_24_to_1.cpu", "", 2, 1.0),
        "memory on top of the tables": ("memory.added_gb", " GB", 2, 1.0),
        "trees × users × posts a second of processor time": ("trees_per_cpu_s", " million", 0, 1e-6),
        "… of the masks that one thread can AND": ("limit.share", "", 3, 1.0),
        "slates checked against `Booster.predict`": ("exact.slates", "", 0, 1.0),
        "… positions apart": ("exact.positions_apart", "", 0, 1.0),
        "… largest relative difference of a score": ("exact.relative_error", " × 10⁻¹²", 1, 1e12),
    }
    return {"scoring": table(["", *columns.values()], _rows(figures, columns, names))}


def publish(results: Results) -> dict[str, str]:
    """Write what publishing takes, by codec, beside the bare protocol."""
    columns = {"ids": "`ids`", "packed": "`packed`"}
    names = {
        "slates a second": ("slates_per_s", "", 0, 1.0),
        "… by a bare socket, commands made beforehand": ("limit.slates_per_s", "", 0, 1.0),
        "… ours, of the bare socket's": ("limit.share", "", 2, 1.0),
        "bytes a slate, by Redis's own figure": ("bytes_per_slate", "", 1, 1.0),
        "encoding": ("encode_s", " s", 1, 1.0),
        "processor time, ours": ("client_cpu_s", " s", 1, 1.0),
        "processor time, Redis's": ("server_cpu_s", " s", 1, 1.0),
        "proof before the flip": ("verify_s", " s", 1, 1.0),
        "a reader's p99, idle": ("reader_p99_idle_ms", " ms", 2, 1.0),
        "a reader's p99 while publishing": ("reader_p99_publishing_ms", " ms", 2, 1.0),
        "… rewrites of Redis's file meanwhile": ("rewrites_meanwhile", "", 0, 1.0),
    }
    return {"publish": table(["", *columns.values()], _rows(results["publish"], columns, names))}


def engines(results: Results) -> dict[str, str]:
    """Write what two Dask workers on this machine take."""
    figures = results["engines"]
    rows = [
        ["`local`", _cell(figures, "local.wall_s", " s")],
        ["`dask`, two workers here", _cell(figures, "dask.wall_s", " s")],
        ["times as long", _cell(figures, "ratio", "", 2)],
        ["the whole run, workers' start and end included: times as long", _cell(figures, "run.ratio", "", 2)],
        ["users whose keys differ", _cell(figures, "differing_users", "", 0)],
    ]
    sizes = f"{_cell(figures, 'users', '', 0)} users, {_cell(figures, 'posts', '', 0)} posts, slates made and written."
    return {"engines": f"{table(['engine', 'wall'], rows)}\n\n{sizes}"}


def pictures(figures: Figures) -> dict[str, str]:
    """Draw the stages of the runs as bars, and the growth as lines."""
    found = dict[str, str]()
    styles = dict(zip(RUNS, ("s0", "s1", "s2"), strict=True))
    bars = [
        (f"{RUNS[run]}: {stage}", Point(figures[f"{run}.stage.{stage}_s"]), styles[run])
        for run in RUNS
        for stage in STAGES
        if figures.get(f"{run}.stage.{stage}_s", 0.0) >= 0.01 * figures.get(f"{run}.wall_s", 0.0) > 0
    ]
    if bars:
        legend = [(name, styles[run]) for run, name in RUNS.items()]
        found[STAGES_FILE] = standalone_bars("Seconds by stage", bars, _seconds, legend)
    if "growth.whole.wall_s" in figures:
        all_parts = sorted({parts for of_axis in GROWTH.values() for parts in of_axis}, reverse=True)
        places = [*(f"1/{parts}" for parts in all_parts), "all"]
        whole = Point(figures["growth.whole.wall_s"])
        series = [
            Series(axis, [*(Point(figures.get(f"growth.{axis}.{p}.wall_s")) for p in all_parts), whole], f"s{at}")
            for at, axis in enumerate(GROWTH)
        ]
        found[GROWTH_FILE] = standalone(
            "Seconds of a run with a part of the network",
            places,
            series,
            x="part of the users, posts, hours or history",
            y="seconds",
            write=_seconds,
            tick=lambda value: f"{value:g} s",
            most=float("inf"),
        )
    return found


def _seconds(value: float) -> str:
    return f"{value:.1f} s"


BLOCKS: Mapping[str, Callable[[Results], dict[str, str]]] = {
    "limits": limits,
    "network": network,
    "scale": scale,
    "event_log": event_log,
    "scoring": scoring,
    "publish": publish,
    "engines": engines,
}
PICTURES: Mapping[str, Callable[[Figures], dict[str, str]]] = {"scale": pictures}
