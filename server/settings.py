"""Settings of the server: read once, at the entry, from the environment and hourfeed.toml."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from source.schema import SourceSchema

_HASH = re.compile(r"[0-9a-f]{64}")
_ORIGIN = re.compile(r"\*|https?://[^/\s]+")


def _split(given: Any) -> Any:
    """Take a list as the environment has it: with commas or spaces between, or in JSON's brackets and quotes."""
    return tuple(re.sub(r"[\[\],\"']", " ", given).split()) if isinstance(given, str) else given


def _hashes(given: tuple[str, ...]) -> tuple[str, ...]:
    if not all(map(_HASH.fullmatch, given)):
        msg = "a key is set by its hash, 64 digits 0-9a-f, never by itself; `hourfeed key new` prints both"
        raise ValueError(msg)
    return given


def _origins(given: tuple[str, ...]) -> tuple[str, ...]:
    if not all(map(_ORIGIN.fullmatch, given)):
        msg = "an origin is a scheme and a host, without a path, like https://app.example.org; or * for all"
        raise ValueError(msg)
    return given


Hashes = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_hashes)]
Origins = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_origins)]


class ServerSettings(BaseSettings):
    """Every setting of the server, with its default. Environment variables win over `hourfeed.toml`.

    The file is shared with the batch, so what this class does not know there is passed over.
    """

    model_config = SettingsConfigDict(
        env_prefix="HOURFEED_",
        env_nested_delimiter="__",
        toml_file="hourfeed.toml",
        frozen=True,
        extra="ignore",
        populate_by_name=True,
    )

    redis_url: str | None = Field(
        None,
        validation_alias="REDIS_URL",
        description="where the slates are; redis://127.0.0.1:6379/0 without it; redis+cluster://… is a Redis Cluster, "
        "redis+sentinel://…/service a master that sentinels name",
    )
    redis_timeout_s: float = Field(
        0.25, gt=0, le=60, description="how long a request waits for Redis before it does without"
    )
    prefix: str = Field("hourfeed", pattern=r"^[^\s{}]+$", description="first part of every Redis key")
    state: Path = Field(
        Path(".hourfeed"), description="folder of `warm_file`, and of the embedded Redis of `hourfeed serve`"
    )
    warm_file: str = Field(
        "warm.json",
        description="file in `state` with popular posts, for a start while Redis is away; empty: none is kept",
    )

    database_url: str | None = Field(
        None,
        validation_alias="DATABASE_URL",
        description="Postgres or SQLite, for the routes that read users, posts and events; without it they are off",
    )
    database_timeout_s: float = Field(5, gt=0, le=300, description="how long a request waits for the database")
    source: SourceSchema = Field(SourceSchema(), description="names of tables and columns")

    host: str = Field("127.0.0.1", min_length=1, description="address to listen on; 0.0.0.0 for all of the machine's")
    port: int = Field(
        8000, ge=1, le=65_535, validation_alias=AliasChoices("HOURFEED_PORT", "PORT"), description="port to listen on"
    )
    workers: int = Field(2, ge=1, le=256, description="processes that answer")
    threads: int = Field(4, ge=1, le=256, description="threads in each of them")

    open: bool = Field(False, description="whether everything may be done without a key: for a demo")
    read_keys: Hashes = Field(
        (), description="hashes of keys for reading, as `hourfeed key new` prints them; none: open"
    )
    write_keys: Hashes = Field((), description="hashes of keys for reading and writing; none: nobody may write")
    admin_keys: Hashes = Field((), description="hashes of keys for everything; none: nobody may")
    rate_limit: int = Field(
        0, ge=0, description="requests a minute of one key, or of one address without a key; 0: any number"
    )
    proxies: int = Field(
        0, ge=0, le=10, description="proxies before the server whose X-Forwarded-For tells a caller's address"
    )
    max_body_bytes: int = Field(1_048_576, ge=1_024, description="longest body of a request")
    cors_origins: Origins = Field(
        (), description="sites whose pages may read answers, like https://app.example.org; `*` for all"
    )
    fresh_for_h: float = Field(
        26,
        gt=0,
        description="the staleness objective, hours since the live generation's as-of: /readyz, /ops, /metrics and "
        "`hourfeed status` go by it",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "warning", description="least of what the server logs; `info` is a line a request"
    )
    traces: bool = Field(False, description="whether requests are traced by OpenTelemetry (extra `otel`)")

    actions: dict[str, int] = Field(
        {"view": 1, "like": 2, "bookmark": 2, "comment": 2, "follow": 2, "share": 2},
        description="the known actions of an event, as the batch knows them",
    )
    acted_on: tuple[str, ...] | None = Field(
        None, description="actions after which a post is gone from the user's feed at once; all known ones by default"
    )
    seen_ttl_h: float = Field(
        72, gt=0, le=8760, description="hours for which a posted event hides its post, until slates know of it"
    )
    events_waiting: int = Field(
        1_000_000, ge=1, description="posted events that may wait for the database; further ones are refused with 503"
    )

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
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)
