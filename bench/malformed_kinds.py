"""The kinds of files that strangers hand in: a valid one of each, and how the product loads a broken one."""

import gzip
import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from sqlalchemy import Engine

from batch.errors import BatchError
from batch.model import load_model, save_model
from batch.pipeline import prepare_history, read_at, run_batch, train_model, view_at
from batch.plain_trees import plain_trees
from batch.rank import make_scorer
from batch.settings import BatchSettings
from batch.train import as_booster
from bench.mutations import Random, damage_bytes, pick
from bench.mutations_of_exports import damage_export
from bench.mutations_of_models import damage_archive, damage_json, damage_trees
from bench.mutations_of_rows import damage_csv, damage_parquet
from cli.status import describe
from demo.parameters import Parameters
from demo.services import hold_redis
from demo.simulate import simulate
from server.app import create_app
from server.settings import ServerSettings
from slates.blocked import block
from slates.bucket import bucket_name
from slates.client import connect
from slates.errors import SlatesError
from slates.export import export_generation
from slates.keys import Keys
from slates.restore import Archive, Target, import_generation
from source.engine import open_engine
from source.errors import SourceError
from source.load import load_folder
from source.schema import SourceSchema

_OURS = (SourceError, BatchError, SlatesError)
_LONGEST_REASON = 4_000
_NETWORK = Parameters(users=40, posts=60, days=5, seed=3, end=datetime(2026, 3, 1, tzinfo=UTC))
_AS_OF = _NETWORK.end - timedelta(hours=5)
_ROWS = 300
Outcome = tuple[str, str]


class Kind(Protocol):
    """Files of a kind."""

    def outcome(self, seed: int, own: Path) -> Outcome:
        """Break the file of that seed, load it in the folder `own`, and return how it ended and why."""


def make_originals(folder: Path, kinds: Sequence[str]) -> None:
    """Write the valid files, a folder for each kind, out of a small simulated network."""
    engine = open_engine(None, folder)
    try:
        simulate(_NETWORK, engine, SourceSchema(), folder)
        tables = {}
        for name, table in (("users", "user_data"), ("posts", "post_text_df"), ("events", "feed_data")):
            tables[name] = pa.Table.from_pandas(pd.read_sql(f"SELECT * FROM {table} LIMIT {_ROWS}", engine))  # noqa: S608
        if "model" in kinds:
            _make_model(folder)
        if "export" in kinds:
            _make_exports(folder, engine)
    finally:
        engine.dispose()
    for kind in ("csv", "csv.gz", "parquet"):
        if kind in kinds:
            (folder / kind).mkdir()
            for name, table in tables.items():
                _write(folder / kind / f"{name}.{kind}", table)


def _write(path: Path, table: Any) -> None:
    if path.suffix == ".parquet":
        pq.write_table(table, path)
        return
    options = pyarrow.csv.WriteOptions(quoting_style="needed")
    sink = pa.BufferOutputStream()
    pyarrow.csv.write_csv(table, sink, options)
    path.write_bytes(sink.getvalue().to_pybytes())  # a .gz is packed once it is broken


def _settings(folder: Path) -> BatchSettings:
    return BatchSettings(
        state=folder, hours=2, top_n=5, trees=20, train_groups=200, train_negatives=20, text_clusters=4, gate_days=0
    )


def _make_model(folder: Path) -> None:
    model = _World(folder).trained()
    save_model(model, folder / "saved").rename(folder / "model")


def _make_exports(folder: Path, engine: Engine) -> None:
    """Publish the network's slates by each codec, and export them."""
    (folder / "export").mkdir()
    settings = _settings(folder).model_copy(update={"ranker": "popular_24h"})
    with hold_redis(folder / "published") as server, closing(connect(server.url)) as redis:
        for codec in ("ids", "packed"):
            run_batch(settings.model_copy(update={"codec": codec}), engine, redis, _AS_OF, _Nobody(), force=True)
            block(redis, Keys(), ["1"])
            export_generation(redis, Keys(), folder / "export" / codec, _Nobody(), with_blocked=True)


def open_kind(kind: str, folder: Path) -> Kind:
    """Return what breaks and loads files of a kind."""
    if kind == "model":
        return _Models(folder)
    if kind == "export":
        return _Exports(folder / "export")
    return _Rows(kind, folder / kind)


def _judged(load: Callable[[], Outcome]) -> Outcome:
    try:
        return load()
    except _OURS as error:
        said = str(error)
        if not said.strip() or len(said) > _LONGEST_REASON:
            return "unexplained", f"the reason has {len(said)} characters: {said[:200]}"
        return "refused", said
    except Exception as error:  # noqa: BLE001 - whatever else comes out is what is looked for
        return "unexplained", repr(error)


@dataclass(frozen=True)
class _Rows:
    """Folders of users, posts and events, one file of which is broken."""

    kind: str
    folder: Path

    def outcome(self, seed: int, own: Path) -> Outcome:
        """Load the folder into an empty database."""
        random = np.random.default_rng([seed, len(self.kind)])
        chosen = pick(random, ("users", "posts", "events"))
        shutil.copytree(self.folder, own / "files")
        path = own / "files" / f"{chosen}.{self.kind}"
        damage = damage_parquet if self.kind == "parquet" else damage_csv
        broken = damage(path.read_bytes(), random)
        if self.kind == "csv.gz":
            for other in (own / "files").iterdir():
                other.write_bytes(gzip.compress(other.read_bytes(), 1))
            broken = gzip.compress(broken, 1)
            if random.random() < 0.5:
                broken = damage_bytes(broken, random)
        path.write_bytes(broken)
        try:
            return _judged(lambda: _load(own))
        finally:
            shutil.rmtree(own / "files")
            shutil.rmtree(own / "quarantine", ignore_errors=True)


def _load(own: Path) -> Outcome:
    engine = open_engine("sqlite://", own)
    try:
        report = load_folder(own / "files", engine, SourceSchema(), BatchSettings().actions, own / "quarantine")
    finally:
        engine.dispose()
    aside = 0
    for file in report.files:
        bad = sum(file.quarantined.values())
        if file.rows != file.new + file.known + bad or bool(bad) != (file.quarantine_path is not None):
            return "unexplained", f"the counts of {file} do not add up"
        if any(not reason for reason in file.quarantined):
            return "unexplained", "a row was set aside for no reason"
        aside += bad
    reasons = ", ".join(reason for file in report.files for reason in file.quarantined)
    return ("quarantined", reasons) if aside else ("loaded", "")


class _World:
    """The small network as a batch knows it."""

    def __init__(self, folder: Path) -> None:
        self._settings = _settings(folder)
        engine = open_engine(None, folder)
        try:
            self._tables = read_at(self._settings, engine, _AS_OF, _Nobody())
        finally:
            engine.dispose()

    def trained(self) -> Any:
        """Return a model of it."""
        history = prepare_history(self._settings, self._tables, None, self._tables.as_of_s)
        model = train_model(self._settings, history, self._tables.as_of_s, 600.0, _Nobody())
        if model is None or not model.trees or model.encoder is None or model.clusters is None:
            raise BatchError("the small network is too small to train a model with trees, texts and clusters")
        return model

    def score(self, model: Any) -> Any:
        """Return the scores of some users as a batch computes them, and contributions as `show user --why` does."""
        history = prepare_history(self._settings, self._tables, model, self._tables.as_of_s)
        view = view_at(self._settings, history, self._tables.as_of_s)
        bucket = self._tables.as_of_s // 3600
        scorer = make_scorer("lightgbm", model, view, range(bucket, bucket + 2))
        users = np.arange(8)
        adds = as_booster(plain_trees(model.trees, len(model.columns))).predict(
            np.zeros((1, len(model.columns))), pred_contrib=True
        )
        parts = (scorer.pair_scores(users), scorer.topic_scores(users), np.asarray(adds))
        return np.concatenate([part.ravel() for part in parts])


_DAMAGES: tuple[tuple[str, Callable[[bytes, Random], bytes]], ...] = (
    ("model.json", damage_json),
    ("trees.txt", damage_trees),
    ("trees.txt", damage_trees),
    ("text.npz", damage_archive),
)


class _Models:
    """Saved models, one file of which is broken."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "model"
        self._world = _World(folder)
        self._world.score(load_model(self._folder))  # compiles the loops

    def outcome(self, seed: int, own: Path) -> Outcome:
        """Load the model, and score with it if it loads."""
        random = np.random.default_rng([seed, 1])
        name, damage = pick(random, _DAMAGES)
        original = (self._folder / name).read_bytes()
        broken = damage(original, random)
        path = own / "model"
        shutil.copytree(self._folder, path)
        (path / name).write_bytes(broken)
        try:
            return _judged(lambda: self._load(path))
        finally:
            shutil.rmtree(path)

    def _load(self, path: Path) -> Outcome:
        model = load_model(path)
        if not model.trees:
            return "loaded", "without trees"
        scores = self._world.score(model)
        if (
            not len(scores) or not np.isfinite(scores).all()
        ):  # how many there are goes by the model's topics and columns
            return "unexplained", f"{len(scores)} scores, not all finite"
        return "loaded", ""


class _Exports:
    """Exported generations, imported into a Redis of this process and asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._state = TemporaryDirectory(dir=folder)
        self._server = hold_redis(Path(self._state.name))  # as long as this process lives
        self._redis = connect(self._server.url)

    def outcome(self, seed: int, own: Path) -> Outcome:
        """Import the file, and ask a server for what came of it."""
        random = np.random.default_rng([seed, 2])
        path = own / "export"
        path.write_bytes(damage_export((self._folder / pick(random, ("ids", "packed"))).read_bytes(), random))
        self._redis.flushall()
        return _judged(lambda: self._import(path))

    def _import(self, path: Path) -> Outcome:
        target = Target(self._redis, Keys(), ttl_s=3_600, keep=2)
        manifest = import_generation(target, Archive.check(path), _Nobody())
        describe(manifest, datetime.now(UTC))
        settings = ServerSettings(open=True, log_level="error")
        client = create_app(settings, self._redis).test_client()
        bucket = bucket_name(manifest.first_bucket)
        for url in (f"/v1/users/1/feed?at={bucket}", f"/v1/popular?at={bucket}", "/ops?user=1", "/metrics", "/readyz"):
            status = client.get(url).status_code
            if status == 500:  # what cannot be served is a 503 that says so
                return "unexplained", f"{url} is answered with {status}"
        return "loaded", ""


class _Nobody:
    """Hears a run, and says nothing."""

    def stage(self, name: str, done: int, total: int | None) -> None:
        """Hear it."""

    def note(self, text: str) -> None:
        """Hear it."""
