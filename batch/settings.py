"""Settings of the command line and the batch: read once, at the entry, from the environment and hourfeed.toml."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from source.schema import SourceSchema

Ranker = Literal[
    "lightgbm",
    "neural",
    "popular_all",
    "popular_7d",
    "popular_24h",
    "popular_6h",
    "popular_1h",
    "popular_decay",
    "popular_hour",
    "newest",
    "random",
    "item_knn",
    "item_knn_recency",
    "user_knn",
    "user_knn_trend",
    "als",
    "bpr",
]


SERVER_SETTINGS = {
    *("host", "port", "workers", "threads", "fresh_for_h", "redis_timeout_s", "seen_ttl_h", "events_waiting"),
    *("database_timeout_s", "warm_file"),
    *("open", "read_keys", "write_keys", "admin_keys", "rate_limit", "proxies", "max_body_bytes", "cors_origins"),
    *("log_level", "traces"),
}
"""Settings that hourfeed.toml may hold for the server alone; any other unknown name is an error."""


STAGES = (
    *("read", "features", "room", "gate", "train", "candidates", "rank"),
    *("similar", "publish", "verify", "guards", "flip"),
)
"""Stages of a run that may have a deadline, in their order."""


def _without_colon_or_space(prefix: str) -> str:
    if not prefix or any(character.isspace() or character in "{}" for character in prefix):
        msg = f"{prefix!r} cannot be a key prefix: it must not be empty nor hold white space or braces"
        raise ValueError(msg)
    return prefix


class BatchSettings(BaseSettings):
    """Every setting of `hourfeed`, with its default. Environment variables win over `hourfeed.toml`."""

    model_config = SettingsConfigDict(
        env_prefix="HOURFEED_",
        env_nested_delimiter="__",
        toml_file="hourfeed.toml",
        frozen=True,
        extra="forbid",
        populate_by_name=True,
    )

    database_url: str | None = Field(
        None, validation_alias="DATABASE_URL", description="Postgres; SQLite in the state folder without it"
    )
    drain_database_url: str | None = Field(
        None,
        validation_alias="DRAIN_DATABASE_URL",
        description="for `hourfeed drain`, by a role that may insert events; that of DATABASE_URL without it",
    )
    redis_url: str | None = Field(
        None,
        validation_alias="REDIS_URL",
        description="an embedded server without it; redis+cluster://… is a Redis Cluster, "
        "redis+sentinel://…/service a master that sentinels name",
    )
    state: Path = Field(
        Path(".hourfeed"),
        description="folder of embedded services, models, known text vectors, event log and quarantine files",
    )
    prefix: Annotated[str, AfterValidator(_without_colon_or_space)] = Field(
        "hourfeed", description="first part of every Redis key"
    )
    source: SourceSchema = Field(SourceSchema(), description="names of tables and columns")

    ranker: Ranker = Field("lightgbm", description="what orders the posts: a trained ranker or a baseline")
    hours: int = Field(24, ge=1, le=168, description="buckets that a batch publishes, from its as-of hour on")
    top_n: int = Field(20, ge=1, le=200, description="posts in a slate")
    actions: dict[str, Annotated[int, Field(ge=0, le=9)]] = Field(
        {"view": 1, "like": 2, "bookmark": 2, "comment": 2, "follow": 2, "share": 2},
        description="the known actions of an event and the relevance of each, 0 (shown, no sign of interest) to 9; "
        "with a 0 among them, training sets what users responded to against what they were shown, else against samples",
    )
    acted_on: tuple[str, ...] | None = Field(
        None,
        description="actions after which a post is not shown again to the user; all known ones by default",
    )
    shown: tuple[str, ...] | None = Field(
        None,
        description="actions that say only that a post was shown, and have relevance 0; by default those whose "
        "`target` is 0 in some rows and 1 in others",
    )
    rules_within: int = Field(5, ge=1, le=50, description="the first places of a slate, to which the next rules apply")
    max_per_topic: int = Field(0, ge=0, description="posts of one topic in these places at most; 0: any number")
    max_per_author: int = Field(0, ge=0, description="posts of one author in these places at most; 0: any number")
    diversity: float = Field(
        0.0, ge=0, lt=1, description="weight of unlike texts against the score in these places; 0: the score alone"
    )
    explore_places: int = Field(
        0, ge=0, description="the last of these places, so many, hold posts that hardly anybody has touched"
    )
    max_quarantined_share: float = Field(
        0.05, ge=0, le=1, description="a batch stops when more of the events are unusable"
    )

    late_h: float = Field(
        48,
        ge=0,
        description="hours after its time for which an event may still come, change or vanish in the database and be "
        "seen by the next run",
    )

    gate_days: float = Field(
        3,
        ge=0,
        le=28,
        description="latest days on which the trained ranker must hold its own against baselines; 0: no test",
    )
    gate_every_h: float = Field(
        20, ge=0, description="hours for which the outcome of that comparison holds; a full run a day compares anew"
    )
    full_catalogue_posts: int = Field(
        20_000, ge=1, description="up to this many posts all are scored; beyond, retrieved ones"
    )
    candidates: int = Field(
        1_000, ge=20, description="posts that each retriever hands to the ranker beyond full_catalogue_posts"
    )
    text_encoder: str = Field(
        "tfidf",
        min_length=1,
        description="what makes text vectors: `none`, `tfidf`, `minilm`, or a Hugging Face encoder by folder or name, "
        "such as `distilbert-base-cased`; all but the first two need an extra",
    )
    text_pooling: Literal["mean", "cls"] = Field(
        "mean", description="how the vectors of tokens become that of a text: their mean, or that of the first token"
    )
    text_clusters: int = Field(0, ge=0, le=255, description="k-means clusters of text vectors, as features; 0 for none")
    train_days: int = Field(56, ge=1, description="days before as-of from which training cases are drawn")
    train_groups: int = Field(12_000, ge=10, description="training cases (user, bucket) at most")
    train_negatives: int = Field(50, ge=5, description="sampled untouched posts in a training case")
    trees: int = Field(300, ge=1, le=2_000, description="trees of the ranker")
    leaves: int = Field(16, ge=2, le=32, description="leaves of a tree")
    learning_rate: float = Field(0.04, gt=0, le=1, description="how much each tree counts")
    without_features: tuple[str, ...] = Field(
        (),
        description="features of docs/features.md that the ranker does without, as names or patterns (`text_*`)",
    )
    neural_feature: bool = Field(
        False, description="give the ranker `lightgbm` the neural recommender's answer as a feature (extra `neural`)"
    )
    similar_posts: int = Field(20, ge=0, le=100, description="similar posts kept of each post; 0: none")
    seed: int = Field(0, ge=0, description="of all that is drawn at random")

    generation_ttl_h: float = Field(
        72, gt=0, description="every key of a generation expires after this many hours, or 10 % later"
    )
    keep_generations: int = Field(
        3, ge=2, description="generations kept in Redis, the live one included; older ones are unlinked"
    )
    guard_whole: float = Field(
        0.99, ge=0, le=1, description="share of the slates that must be as long as they can be, or the run is blocked"
    )
    guard_rows: float = Field(
        0.8,
        ge=0,
        le=1,
        description="share of the live generation's users, profiles, posts and events that must be left, or the run is "
        "blocked",
    )
    guard_churn: float = Field(
        0.9,
        ge=0,
        le=1,
        description="share of the slates that may begin with five other posts than in the live generation by the same "
        "ranker of up to six hours before, or the run is blocked; 1: all",
    )
    guard_coverage: float = Field(
        0.3,
        ge=0,
        le=1,
        description="number of different posts shown, as a share of that of the live generation by the same ranker, "
        "that must be reached, or the run is blocked",
    )
    guard_alike: float = Field(
        0.95,
        ge=0,
        le=1,
        description="share of the users with a history who may get what everybody gets, or the run is blocked; 1: all",
    )
    codec: Literal["ids", "packed"] = Field(
        "ids", description="how slates lie in Redis: `ids` for people to read, `packed` in two fifths of the memory"
    )
    publish_batch: int = Field(
        500, ge=1, le=10_000, description="most users whose slates go to Redis in one round trip"
    )
    engine: Literal["local", "dask"] = Field(
        "local", description="what makes and writes the slates: this process, or Dask workers (extra `dask`)"
    )
    scheduler: str | None = Field(
        None, description="address of the Dask scheduler, such as tcp://10.0.0.5:8786; two local workers without it"
    )
    train_on: Literal["coordinator", "workers"] = Field(
        "coordinator",
        description="where the engine dask grows trees: in the process that runs the batch, or on the workers together",
    )
    train_every_h: float = Field(
        36,
        ge=0,
        description="hours for which a refresh scores with the same model; 0: it trains one every time. More than lies "
        "between two full runs, so that refreshes go on where one of them fails",
    )
    schedule: str = Field(
        "*/10 * * * *", description="when `hourfeed schedule` runs a refresh: a cron expression, in UTC"
    )
    full_schedule: str = Field(
        "0 3 * * *",
        description="when `hourfeed schedule` runs a full batch, which trains and compares anew: a cron expression, in "
        "UTC; empty for never",
    )
    deadlines: dict[str, Annotated[float, Field(gt=0)]] = Field(
        {"run": 14_400, "read": 3_600},
        description="seconds after which a run is ended, for the `run` as a whole and for each of its stages",
    )
    lock_ttl_s: float = Field(
        30, ge=1, description="seconds after which another run may take the place of one that is not heard of any more"
    )

    arms: dict[str, dict[str, Any]] = Field(
        {}, description="for each arm of an experiment but control, the settings that differ there: docs/experiments.md"
    )
    arm: str | None = Field(
        None, pattern="^[a-z0-9][a-z0-9_-]{0,31}$", description="whose generations a run publishes; `--arm` sets it"
    )

    @model_validator(mode="after")
    def _keys_outlive_their_buckets(self) -> Self:
        if self.generation_ttl_h < self.hours:
            msg = (
                f"generation_ttl_h = {self.generation_ttl_h:g} is less than hours = {self.hours}: slates would expire "
                "before their hour comes; set a longer generation_ttl_h"
            )
            raise ValueError(msg)
        return self

    @field_validator("deadlines")
    @classmethod
    def _only_known_stages(cls, deadlines: dict[str, float]) -> dict[str, float]:
        unknown = sorted(deadlines.keys() - {"run", *STAGES})
        if unknown:
            msg = f"there is no stage {', '.join(unknown)}; there are run, {', '.join(STAGES)}"
            raise ValueError(msg)
        return deadlines

    @model_validator(mode="before")
    @classmethod
    def _leave_the_servers_own(cls, given: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in given.items() if name not in SERVER_SETTINGS}

    @model_validator(mode="after")
    def _only_known_actions(self) -> "BatchSettings":
        for setting in ("acted_on", "shown"):
            unknown = sorted(set(getattr(self, setting) or ()) - set(self.actions))
            if unknown:
                known = ", ".join(self.actions)
                msg = f"{setting} names {', '.join(unknown)}, which actions does not; known are {known}"
                raise ValueError(msg)
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read arguments first, then the environment, then hourfeed.toml in the working folder."""
        return init_settings, env_settings, _FileBelowEnvironment(settings_cls)


class _FileBelowEnvironment(TomlConfigSettingsSource):
    """hourfeed.toml; its tables give way to those of the environment, which would be merged with them otherwise."""

    def __call__(self) -> dict[str, Any]:
        found = super().__call__()
        for name in ("actions", "deadlines"):
            if f"HOURFEED_{name.upper()}" in os.environ:
                found.pop(name, None)
        return found
