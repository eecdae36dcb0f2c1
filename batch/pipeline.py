"""One batch run: read → features → candidates → rank → slate → publish, in this order."""

import hashlib
import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from redis import Redis
from sqlalchemy import Engine

from batch import publish
from batch.alike import share_alike
from batch.by_bucket import told_by_bucket
from batch.candidates import pool_at
from batch.cases import Sampling, draw_cases, draw_rows, moments_before, split_s
from batch.clean import clean_state
from batch.deadline import Watch
from batch.encode import IdsEncoder, PackedEncoder, UserEncoder
from batch.engine import LocalEngine, ShardEngine
from batch.erase import clear_copies, settle
from batch.errors import BatchError, BlockedError, LostTrainingError, SkippedError
from batch.event_log.log import LogOptions
from batch.features.matrix import model_columns
from batch.features.orders import Orders
from batch.features.segments import build_segments
from batch.features.view import History, View, build_history
from batch.features.vocabulary import learn
from batch.forecast import refuse_to_fill_redis
from batch.grow import Grower, grow_here
from batch.guards import broken_guards, count_rows, draw_sample, measure, refusal
from batch.input_digest import input_digest
from batch.model import Model, load_model, save_model
from batch.neural.examples import gather_examples
from batch.neural.train import import_torch, train_network
from batch.rank import Scorer, make_scorer
from batch.read import ReadOptions, read_tables
from batch.resume import written_before
from batch.rules import RuledPool, rules_of
from batch.run_record import RunRecord
from batch.schedule import interval_s, parse_cron
from batch.settings import BatchSettings
from batch.shard import DoneShard, Shard, ShardWork
from batch.shown_train import base_of, train_on_shown
from batch.similar import similar_posts
from batch.slate import ActedOn, acted_on, chunks_of, popular_slate, segment_slates
from batch.tables import HOUR_S, Ints, Tables, id_type, is_number
from batch.text.clusters import Clusters, fit_clusters
from batch.text.encoder import TextEncoder
from batch.text.fit import CACHE, TextOptions, fit_encoder
from batch.train import Training, enough, train_trees
from slates import packed
from slates.cluster import keys_of
from slates.erase import erased_users
from slates.errors import CodecError, LockHeldError, NoRoomError
from slates.generations import (
    GenerationWriter,
    listpack_warning,
    live_generation,
    made_since,
    new_generation_id,
)
from slates.half_written import half_written
from slates.keys import Keys
from slates.lock import RunLock
from slates.manifest import Manifest, Run

if TYPE_CHECKING:
    from batch.gate import Verdict

LOCK_WAIT_S = 60.0
"""Seconds that a run waits for another one to end; one that is for a tick leaves that tick to the other."""
LONGEST_FEED = 100
"""Posts in a shared slate: feeds that ask for more than a user's own slate holds are filled from it."""
TRAINED = ("lightgbm", "neural")
"""Rankers that need a model."""
FALLBACK_RANKER = "popular_24h"
"""What is published where the log is too short to train on."""

_NOT_IN_SLATES = {
    "arm",
    "arms",
    "database_url",
    "drain_database_url",
    "redis_url",
    "state",
    "prefix",
    "publish_batch",
    "codec",
    "engine",
    "similar_posts",
    "scheduler",
    *("guard_whole", "guard_rows", "guard_churn", "guard_coverage", "guard_alike"),
    "full_schedule",
    "deadlines",
    "lock_ttl_s",
}
"""Settings that cannot change a slate."""


class Report(Protocol):
    """Hears how a run goes on."""

    def stage(self, name: str, done: int, total: int | None) -> None:
        """Hear that `done` of `total` (None: not known) steps of a stage are done."""

    def note(self, text: str) -> None:
        """Hear what the operator should know."""


@dataclass
class _Clock:
    """Adds up seconds by stage; `enter` hears of each that begins, and may raise to end the run."""

    enter: Callable[[str], None]
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self.enter(name)
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - begun, 3)

    def split(self, seconds: float, by: Mapping[str, float]) -> None:
        """Count seconds that passed for stages that ran interleaved, perhaps side by side, in proportion to `by`."""
        whole = sum(by.values())
        for name, part in by.items():
            self.seconds[name] = round(self.seconds.get(name, 0.0) + seconds * part / max(whole, 1e-9), 3)


@dataclass(frozen=True)
class _Watched:
    """Passes on what a run tells; every step that it tells of is a point where it may be ended."""

    report: Report
    watch: Watch

    def stage(self, name: str, done: int, total: int | None) -> None:
        self.watch.check()
        self.report.stage(name, done, total)

    def note(self, text: str) -> None:
        self.report.note(text)


def run_batch(
    settings: BatchSettings,
    engine: Engine,
    redis: Redis,
    as_of: datetime,
    report: Report,
    model_path: Path | None = None,
    *,
    force: bool = False,
    full_refresh: bool = False,
    shard_engine: ShardEngine | None = None,
    grow: Grower = grow_here,
    record: RunRecord | None = None,
    tick: datetime | None = None,
) -> Manifest:
    """Compute and publish the slates of `settings.hours` buckets from `as_of` on; return the live manifest.

    `record` hears how it goes on, and its watch may end it, by EndedError. With `tick` the run is that of a schedule:
    it raises SkippedError where that tick's generation is published, or another run is at work.

    `shard_engine` makes and writes users' slates; without one this process does. `grow` grows the trees.
    With `model_path` a saved model scores, else one is trained and saved, unless the gate finds a baseline better.
    Raises BatchError, SourceError or SlatesError with the live generation untouched; with `force` not because of a
    guard (batch.guards).
    """
    from batch.gate import judge  # not at the top: its replay runs the stages below

    keys, watch = keys_of(redis, settings.prefix, settings.arm), record.watch if record else Watch()
    clock, report = _Clock(lambda stage: _enter(stage, watch, record)), _Watched(report, watch)
    with _turn(settings, redis, keys, watch, record, tick, force=force) as lock:
        with clock.stage("read"):
            erased = erased_users(redis, keys)
            clear_copies(settings.state, erased)
            tables = read_at(settings, engine, as_of, report, full_refresh=full_refresh)
        with clock.stage("features"):
            saved = load_model(model_path, settings.state / CACHE) if model_path else None
            history = prepare_history(settings, tables, saved, tables.as_of_s)
        with clock.stage("room"):
            spared = _make_room(settings, redis, keys, tables, history.segments.names, lock.seq)
        ranker: str = settings.ranker
        verdict, refresh_s = None, _refresh_s(settings, as_of)
        if ranker in TRAINED and saved is None and settings.gate_days:
            with clock.stage("gate"):
                verdict = judge(settings, tables, refresh_s, report, history.orders)
            ranker = verdict.chosen if verdict else ranker
        with clock.stage("train"):
            model = saved
            if ranker in TRAINED and saved is None:
                model = train_model(settings, history, tables.as_of_s, refresh_s, report, grow)
            history = with_network(history, model)
        with clock.stage("candidates"):
            view = view_at(settings, history, tables.as_of_s)
            _refuse_nothing_to_show(view)
        with clock.stage("rank"):
            ranker = ranker_that_can(ranker, model)
            scorer = make_scorer(ranker, model, view, _buckets(settings, tables))
        if model is not None:
            save_model(model, settings.state / "models")
        run: Run = "full" if saved is None else "refresh"
        ranked = _Ranked(view, scorer, ranker, model if ranker in TRAINED else None, verdict, run, spared)
        try:
            live = _publish(
                settings, redis, lock, clock, report, ranked, shard_engine or LocalEngine(redis), force=force
            )
        except BlockedError:
            settle(redis, keys, erased, tables.users.ids)  # it may be released, so it must not hold the erased either
            _clean(settings, report)
            raise
        if record is not None:
            record.published(live)  # at once: however the rest ends, readers have it
        keep, at_once = settings.keep_generations, settings.publish_batch
        publish.unlink_old(redis, keys, keep, tables, history.segments.names, at_once)
        still_known = settle(redis, keys, erased, tables.users.ids)
        if still_known:
            report.note(f"{len(still_known)} erased users are in the database still, so that they will come back")
        _clean(settings, report)
        return live


def _clean(settings: BatchSettings, report: Report) -> None:
    for trouble in clean_state(settings.state, time.time()):
        report.note(trouble)


def _enter(stage: str, watch: Watch, record: RunRecord | None) -> None:
    watch.enter(stage)
    if record is not None:
        record.stage(stage)


@contextmanager
def _turn(
    settings: BatchSettings,
    redis: Redis,
    keys: Keys,
    watch: Watch,
    record: RunRecord | None,
    tick: datetime | None,
    *,
    force: bool,
) -> Iterator[RunLock]:
    """Hold the lock for a run, unless it is that of a tick for which there is nothing to do.

    A blocked generation is none that `force` leaves its tick to.
    """
    wait_s = LOCK_WAIT_S if tick is None else 0.0
    lock = RunLock(redis, keys, ttl_s=settings.lock_ttl_s, wait_s=wait_s, while_waiting=watch.check)
    with ExitStack() as held:
        try:
            held.enter_context(lock)
        except LockHeldError as error:
            if tick is None:
                raise
            msg = f"another run is at work: {error}"
            raise SkippedError(msg) from error
        if tick is not None:
            full = record is not None and record.run == "full"
            done = made_since(redis, keys, tick, datetime.now(UTC), full=full, blocked=not force)
            if done is not None:
                blocked = ", which a guard has blocked," if done.state == "blocked" else ""
                msg = f"generation {done.id}{blocked} is that of the tick of {tick:%Y-%m-%dT%H:%M:%SZ}, or later"
                raise SkippedError(msg)
        watch.last_words.append(lambda _: lock.give_back())
        if record is not None:
            record.begin(lock.seq)
        yield lock


def _make_room(
    settings: BatchSettings, redis: Redis, keys: Keys, tables: Tables, segments: Sequence[str], run: int
) -> set[str]:
    """Unlink what died half-written, so that it takes no room from what comes, and see that there is room.

    Returns the ids of what is left of it: what the run may be able to go on with.
    """
    keep, at_once, ttl_s = settings.keep_generations, settings.publish_batch, settings.generation_ttl_h * HOUR_S
    begun_alike = {
        manifest.id
        for manifest in half_written(redis, keys, run, ttl_s)
        if manifest.as_of.timestamp() == tables.as_of_s and manifest.config_digest == config_digest(settings)
    }
    publish.unlink_old(redis, keys, keep, tables, segments, at_once, run, begun_alike)
    try:
        refuse_to_fill_redis(settings, redis, keys, tables, segments)
    except NoRoomError:
        if not begun_alike:
            raise
        publish.unlink_old(redis, keys, keep, tables, segments, at_once, run)
        refuse_to_fill_redis(settings, redis, keys, tables, segments)
        return set()
    return begun_alike


def read_at(
    settings: BatchSettings, engine: Engine, as_of: datetime, report: Report, *, full_refresh: bool = False
) -> Tables:
    """Read what was known at `as_of`, and tell of what could not be used.

    Events come from the event log, which takes in what is new; with `full_refresh` it is read anew.
    """
    quarantine = settings.state / "quarantine"
    log = LogOptions(
        settings.state / "event-log", settings.actions, round(settings.late_h * HOUR_S), full_refresh=full_refresh
    )
    options = ReadOptions(log, settings.max_quarantined_share, quarantine, settings.shown)
    tables = read_tables(engine, settings.source, as_of, options, lambda rows: report.stage("read", rows, None))
    if tables.quarantined:
        report.note(f"{tables.quarantined} events cannot be used; the reasons are in {options.quarantine_folder}")
    for note in tables.notes:
        report.note(note)
    if not len(tables.posts.ids):
        msg = f"no post exists before {as_of.isoformat()}; is --as-of right, and are posts or events loaded?"
        raise BatchError(msg)
    return tables


def prepare_history(
    settings: BatchSettings, tables: Tables, model: Model | None, as_of_s: int, orders: Orders | None = None
) -> History:
    """Order the events, encode the texts and group the users; with what `model` knows, else learning it anew.

    What is learned is learned from posts that existed before `as_of_s`. `orders` are those of another history of the
    same tables, which are the same whatever was learned.
    """
    if model is not None:
        vocabularies, encoder, clusters = model.vocabularies, model.encoder, model.clusters
    else:
        texts = {name: column for name, column in tables.users.profile.items() if not is_number(column)}
        there = tables.posts.born_s < as_of_s
        vocabularies = learn({**texts, "topic": tables.posts.topic[there]})
        encoder, clusters = _fit_texts(settings, tables.posts.text[there].tolist())
    history = build_history(tables, vocabularies, build_segments(tables.users), encoder, clusters, orders)
    return with_network(history, model)


def _fit_texts(settings: BatchSettings, texts: list[str]) -> tuple[TextEncoder | None, Clusters | None]:
    options = TextOptions(settings.text_encoder, settings.text_pooling, settings.state / CACHE)
    encoder = fit_encoder(texts, options, settings.seed)
    if encoder is None or not settings.text_clusters:
        return encoder, None
    return encoder, fit_clusters(encoder.encode(texts), settings.text_clusters, settings.seed)


def with_network(history: History, model: Model | None) -> History:
    """Return the history as a model's network, if it has one, is to see it."""
    return history if model is None or model.network is None else replace(history, network=model.network)


def view_at(settings: BatchSettings, history: History, tau_s: int) -> View:
    """Return the view of a moment, its pool being the candidates."""
    view = View(history, tau_s)
    view.pool = _pool(settings, view)
    return view


def _pool(settings: BatchSettings, view: View) -> Ints:
    return pool_at(view, full_catalogue_posts=settings.full_catalogue_posts, each=settings.candidates)


def ranker_that_can(ranker: str, model: Model | None) -> str:
    """Return the ranker itself, or the fallback where it would need a model and there is none."""
    can = {"lightgbm": bool(model and model.trees), "neural": bool(model and model.network)}
    return ranker if can.get(ranker, True) else FALLBACK_RANKER


def acted_on_at(settings: BatchSettings, view: View) -> ActedOn:
    """Return the posts that users are not shown again, by the actions of the settings."""
    actions = view.history.tables.actions if settings.acted_on is None else settings.acted_on
    return acted_on(view.history, view, actions)


def _refuse_nothing_to_show(view: View) -> None:
    if not len(view.pool):
        hidden = int(view.history.tables.posts.hidden.sum())
        msg = (
            f"none of {view.n_posts} posts can be shown ({hidden} are hidden, or are not in the table of posts), so "
            "nothing is published; look at the column `hidden` and at the ids of the posts"
        )
        raise BatchError(msg)


def _refresh_s(settings: BatchSettings, as_of: datetime) -> float:
    return interval_s(parse_cron(settings.schedule), as_of)


def train_model(
    settings: BatchSettings,
    history: History,
    as_of_s: int,
    refresh_s: float,
    report: Report,
    grow: Grower = grow_here,
) -> Model | None:
    """Train a ranker on what came before `as_of_s`, for slates that are replaced after `refresh_s`.

    Returns None where that is too little to learn from.
    """
    sampling = Sampling(
        days=settings.train_days,
        groups=settings.train_groups,
        negatives=settings.train_negatives,
        hours=settings.hours,
        refresh_h=math.ceil(min(refresh_s / HOUR_S, settings.hours)),
        seed=settings.seed,
    )
    if settings.ranker == "neural":
        model = _train_network(settings, history, as_of_s, sampling, report)
    else:
        model = _train_trees(settings, history, as_of_s, sampling, report, grow)
    if model is None:
        report.note(f"the log is too short to train on, so the slates are those of {FALLBACK_RANKER}")
    return model


def _train_trees(
    settings: BatchSettings, history: History, as_of_s: int, sampling: Sampling, report: Report, grow: Grower
) -> Model | None:
    network = None
    if settings.neural_feature:
        # The trees must not meet answers that were fitted to their own cases, so the network ends where they begin.
        since_s = split_s(history, as_of_s, sampling)
        older = _train_network(settings, history, since_s, sampling, report)
        history, sampling = with_network(history, older), replace(sampling, since_s=since_s)
        network = older.network if older else None
    columns = model_columns(View(history, as_of_s), settings.without_features)
    cases = draw_cases(
        history,
        columns,
        as_of_s,
        sampling,
        lambda view: _pool(settings, view),
        lambda done, total: report.stage("cases of past moments", done, total),
    )
    if not enough(cases.grade):
        return None
    training = Training(settings.trees, settings.leaves, settings.learning_rate, settings.seed)
    train, base = (train_on_shown, base_of(columns)) if history.shown_known else (train_trees, "")
    given = cases, columns, training, lambda done, total: report.stage("train", done, total)
    try:
        trees, columns = train(*given, grow)
    except LostTrainingError as error:
        report.note(f"{error}; this process grows them alone instead")
        trees, columns = train(*given)
    learned = history.vocabularies, history.encoder, as_of_s, len(cases.group), len(cases.grade)
    return Model(trees, tuple(columns), *learned, network, history.clusters, base)


def _train_network(
    settings: BatchSettings, history: History, as_of_s: int, sampling: Sampling, report: Report
) -> Model | None:
    import_torch()  # where it is missing, say so at once
    columns = model_columns(View(history, as_of_s), settings.without_features)
    drawn = draw_rows(
        history,
        moments_before(history, as_of_s, sampling),
        as_of_s,
        sampling,
        lambda view: _pool(settings, view),
        lambda done, total: report.stage("cases of past moments", done, total),
    )
    examples = gather_examples(drawn, columns)
    if examples is None or not enough(examples.grade):
        return None
    network = train_network(
        examples, columns, settings.seed, lambda done, total: report.stage("train the network", done, total)
    )
    learned = history.vocabularies, history.encoder, as_of_s, len(examples.begin) - 1, len(examples.grade)
    return Model("", (), *learned, network, history.clusters)


def _buckets(settings: BatchSettings, tables: Tables) -> range:
    first = tables.as_of_s // HOUR_S
    return range(first, first + settings.hours)


@dataclass(frozen=True)
class _Ranked:
    view: View
    scorer: Scorer
    ranker: str
    model: Model | None
    verdict: "Verdict | None"
    run: Run
    spared: Collection[str]


def _publish(
    settings: BatchSettings,
    redis: Redis,
    lock: RunLock,
    clock: _Clock,
    report: Report,
    ranked: _Ranked,
    shard_engine: ShardEngine,
    *,
    force: bool,
) -> Manifest:
    view, keys = ranked.view, keys_of(redis, settings.prefix, settings.arm)
    tables = view.history.tables
    chunks = chunks_of(view, settings.hours, settings.top_n)
    digest = input_digest(settings, tables, ranked.ranker, ranked.model.digest if ranked.model else "", chunks)
    manifest = _manifest(settings, lock.seq, ranked, digest)
    done: list[DoneShard] = []
    if ranked.spared:
        manifest, done = _taken_over(settings, redis, keys, ranked, manifest, chunks)
        if done:
            report.note(f"going on from {len(done)} of {len(chunks)} shards that a killed run has written")
    names = publish.bucket_fields(manifest.first_bucket, settings.hours)
    shared = publish.Shared(
        popular_slate(view, max(settings.top_n, LONGEST_FEED)),
        segment_slates(view, max(settings.top_n, LONGEST_FEED)),
        view.history.segments.names,
        view.history.segments.of_user,
    )
    ttl_s = settings.generation_ttl_h * 3600
    writer = GenerationWriter(redis, keys, lock, manifest, ttl_s=ttl_s, batch=settings.publish_batch)
    encoder: UserEncoder = IdsEncoder(tables.posts, names, ttl_s)
    if manifest.codec == packed.CODEC:
        encoder = PackedEncoder(packed.Layout.of(manifest), view.pool, view.n_posts, ttl_s)
    acted, rules = acted_on_at(settings, view), rules_of(settings)
    in_shared = publish.acted_in_shared(acted, shared, view.n_posts)
    with clock.stage("similar"):
        similar = similar_posts(view, settings.similar_posts) if settings.similar_posts else []
    with clock.stage("publish"):
        writer.begin()
        writer.write_posts(publish.post_rows(keys, tables.posts, view.pool))
        writer.write_shared(publish.shared_rows(keys, manifest.id, tables.posts, shared, names))
        writer.write_strings(publish.similar_strings(keys, manifest.id, tables.posts, view.pool, similar))
        if manifest.codec == packed.CODEC:
            writer.write_list_of_posts(str(post_id) for post_id in tables.posts.ids[view.pool])
    ruled = RuledPool(rules, view) if rules.on else None
    work = ShardWork(
        ranked.scorer,
        view,
        acted,
        ruled,
        settings.top_n,
        manifest.explore_places,
        tables.users,
        shared,
        in_shared,
        encoder,
        writer.shard_writer,
    )
    done = _run_shards(shard_engine, work, chunks, done, clock, report)
    for shard in done:
        writer.take(shard.written)
    with clock.stage("verify"):
        writer.verify(_expected_values(manifest, shared, in_shared) + len(similar))
    warning = listpack_warning(redis, writer.written.longest)
    if warning:
        report.note(warning)
    with clock.stage("guards"):
        before = _to_compare_with(redis, keys, report)
        finished = replace(
            manifest,
            state="complete",
            built_at=datetime.now(UTC),
            shards=len(writer.shards),
            slate_bytes=writer.written.bytes,
            explored=sum(shard.about.explored for shard in done),
            alike=share_alike(np.concatenate([shard.about.first_posts for shard in done]), acted, view),
            by_bucket=told_by_bucket([shard.about.by_bucket for shard in done], len(view.pool)),
            guards=measure(redis, keys, before, manifest, count_rows(view), draw_sample(view, acted, settings.top_n)),
        )
        chosen_by_gate = ranked.verdict is not None and ranked.verdict.chosen not in TRAINED
        broken = broken_guards(settings, before, finished, chosen_by_gate=chosen_by_gate)
    told = {"broken": list(broken), "forced": force} if broken else {}
    finished = replace(finished, guards={**finished.guards, **told}, seconds=dict(clock.seconds))
    if broken and not force:
        writer.hold(replace(finished, state="blocked"))
        raise refusal(manifest.id, before, broken, settings.arm)
    for name, said in broken.items():
        report.note(f"published all the same, as forced, though the guard {name} says: {said}")
    with clock.stage("flip"):
        return writer.flip(finished)


def _to_compare_with(redis: Redis, keys: Keys, report: Report) -> Manifest | None:
    """Return the live generation; None where there is none, or where it cannot be read."""
    try:
        return live_generation(redis, keys)
    except CodecError as error:
        report.note(f"nothing is compared with what is live, which cannot be read: {error}")
        return None


def _taken_over(
    settings: BatchSettings, redis: Redis, keys: Keys, ranked: _Ranked, manifest: Manifest, chunks: list[range]
) -> tuple[Manifest, list[DoneShard]]:
    """Return the manifest of the half-written generation of this very input, as this run's, and its whole shards.

    Where there is none, what was given and no shards. Other half-written ones are unlinked.
    """
    tables, ttl_s, at_once = ranked.view.history.tables, settings.generation_ttl_h * HOUR_S, settings.publish_batch
    done: list[DoneShard] = []
    for left in half_written(redis, keys, manifest.seq, ttl_s):
        if not done and left.id in ranked.spared and left.input_digest == manifest.input_digest:
            done = written_before(redis, keys, left.id, chunks, tables.users.ids, at_once)
            manifest = replace(manifest, id=left.id, resumed=len(done)) if done else manifest
    segments, keep = ranked.view.history.segments.names, settings.keep_generations
    publish.unlink_old(redis, keys, keep, tables, segments, at_once, manifest.seq, {manifest.id})
    return manifest, done


def _run_shards(
    shard_engine: ShardEngine,
    work: ShardWork,
    chunks: list[range],
    done_before: list[DoneShard],
    clock: _Clock,
    report: Report,
) -> list[DoneShard]:
    """Have all users' slates made and written; return the shards in the order of their users."""
    clock.enter("publish")
    done = list(done_before)
    there = {shard.written.number for shard in done}
    begun = time.perf_counter()
    left = [Shard(number, users) for number, users in enumerate(chunks) if number not in there]
    with closing(shard_engine.run(work, left)) as running:  # at once, also where the run ends in between
        for shard in running:
            done.append(shard)
            report.stage("publish", sum(len(shard.users) for shard in done), work.view.n_users)
    took = {"slate": sum(shard.slate_s for shard in done), "publish": sum(shard.publish_s for shard in done)}
    clock.split(time.perf_counter() - begun, took)
    return sorted(done, key=lambda shard: shard.users.start)


def _manifest(settings: BatchSettings, seq: int, ranked: _Ranked, digest: str) -> Manifest:
    tables = ranked.view.history.tables
    as_of = datetime.fromtimestamp(tables.as_of_s, UTC)
    buckets = _buckets(settings, tables)
    return Manifest(
        id=new_generation_id(as_of, seq),
        seq=seq,
        state="writing",
        as_of=as_of,
        started_at=datetime.now(UTC),
        built_at=None,
        first_bucket=buckets[0],
        last_bucket=buckets[-1],
        users=len(tables.users.ids),
        posts=len(ranked.view.pool),
        slates=len(tables.users.ids) * len(buckets),
        segments=len(ranked.view.history.segments.names),
        shards=0,
        top_n=settings.top_n,
        slate_bytes=0,
        codec=settings.codec,
        ranker=ranked.ranker,
        user_id_type=id_type(tables.users.ids),
        post_id_type=id_type(tables.posts.ids),
        model_digest=ranked.model.digest if ranked.model else "",
        config_digest=config_digest(settings),
        events=len(tables.events.at_s),
        quarantined=tables.quarantined,
        explore_places=rules_of(settings).explored_in(settings.top_n),
        gate=ranked.verdict.as_told() if ranked.verdict else {},
        run=ranked.run,
        input_digest=digest,
    )


def config_digest(settings: BatchSettings) -> str:
    """Return the first 16 hexadecimal digits of SHA-256 over the settings that can change a slate."""
    told = settings.model_dump_json(exclude=_NOT_IN_SLATES)
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _expected_values(manifest: Manifest, shared: publish.Shared, in_shared: ActedOn) -> int:
    with_segment = int((shared.segment_of_user >= 0).sum())
    with_acted = int((np.diff(in_shared.begin) > 0).sum())
    of_users = manifest.slates + with_segment + with_acted
    return of_users + manifest.hours * (1 + len(shared.segment_names)) + (manifest.codec == packed.CODEC)
