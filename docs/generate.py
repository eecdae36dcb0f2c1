"""Writes the pages that are made from code, docs/features.md and docs/settings.md: `make docs` runs it."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import AliasChoices
from pydantic_settings import BaseSettings

import batch.features  # noqa: F401 - fills the registry
from batch.features.registry import FEATURES
from batch.settings import BatchSettings
from server.settings import ServerSettings
from source.schema import SourceSchema

_WORDS = {"integer": "whole number", "number": "number", "string": "text", "object": "mapping", "array": "list"}
FOLDER = Path(__file__).resolve().parent

_FEATURES_INTRO = """\
# Features

<!-- Made by docs/generate.py from batch/features/registry.py. Change it there and run `make docs`. -->

A feature is declared once, with its **axes**: what its value depends on. It is computed once on these axes, as of the
run's moment τ, from events before τ alone. User × post × bucket is never laid out.

The **parts** say which trees may split on it. Every tree stays within one part, so that a score is a sum
([decision 0003](decisions/0003-separable-trees.md)):

    score(user, post, bucket) = A(user, post) + B(user, topic, bucket) + C(post, bucket)

A feature in two parts is two columns of the model. Part B is left out where the posts have fewer than two topics.

Where the log says what was shown, trees add to `response`, and features of user×post have to prove that they are worth
their cost ([decision 0039](decisions/0039-costly-features.md)).
"""

_FEATURES_END = """
Every further column of the users' table is a feature of part A named `profile.COLUMN`: numbers and booleans as they
are, texts and UUIDs as a code by frequency, missing values as missing. Columns of other types are passed over.

To add a feature, write a function in the file of its axes under `batch/features/`, decorate it with
`@feature(name, axes, parts, what)`, and run `make docs`. A model knows its columns by name: one that was trained before
still scores, without the new column.
"""

_SETTINGS_INTRO = """\
# Settings

<!-- Made by docs/generate.py from batch/settings.py and server/settings.py. Change them there and run `make docs`. -->

A command reads its settings once, when it starts: options of the command line first, then the environment, then
`hourfeed.toml` in the working folder, then the defaults below. A wrong value ends the command with exit status 2 and a
line that names the setting.
"""

_BATCH_INTRO = """
## Command line and batch

In `hourfeed.toml` these stand at the top level. A name that neither batch nor server knows is refused by the batch.
"""

_IN_JSON = """
Mappings and lists are written as JSON in the environment: `HOURFEED_ACTIONS='{"view": 1, "like": 2}'`,
`HOURFEED_ACTED_ON='["like"]'`.
"""

_SOURCE_INTRO = """
## Names of tables and columns

Under `[source.users]`, `[source.posts]` and `[source.events]`; see [connect.md](connect.md). A name is letters, digits,
`_` and `$`, up to 63 characters; a table may have a schema before it (`app.member`).
"""

_SERVER_INTRO = """
## Server

`hourfeed serve`, and gunicorn with `server/gunicorn.py`. Server and batch may share one `hourfeed.toml`; each passes
over what is only for the other.
"""


def features_page() -> str:
    """Return docs/features.md."""
    rows = ((f"`{entry.name}`", entry.axes, ", ".join(entry.parts), entry.what) for entry in FEATURES.values())
    return _FEATURES_INTRO + _table(("feature", "axes", "parts", "what"), rows) + _FEATURES_END


def settings_page() -> str:
    """Return docs/settings.md."""
    head = ("setting", "environment", "default", "allowed", "what")
    return (
        _SETTINGS_INTRO
        + _BATCH_INTRO
        + _table(head, _setting_rows(BatchSettings))
        + _IN_JSON
        + _SOURCE_INTRO
        + _table(("setting", "environment", "default"), _source_rows())
        + _SERVER_INTRO
        + _table(head, _setting_rows(ServerSettings))
    )


PAGES: Mapping[str, Callable[[], str]] = {"features.md": features_page, "settings.md": settings_page}


def environment_names(settings: type[BaseSettings], name: str) -> list[str]:
    """Return the variables that a setting is read from, the first that is set wins."""
    alias = settings.model_fields[name].validation_alias
    if isinstance(alias, AliasChoices):
        return [str(choice) for choice in alias.choices]
    return [str(alias)] if alias else [f"HOURFEED_{name.upper()}"]


def _setting_rows(settings: type[BaseSettings]) -> Iterator[tuple[str, ...]]:
    schema = settings.model_json_schema(by_alias=False)["properties"]
    for name, about in schema.items():
        if name == "source":
            continue
        variables = ", ".join(f"`{variable}`" for variable in environment_names(settings, name))
        yield f"`{name}`", variables, _shown(about.get("default")), _allowed(about), about.get("description", "")


def _source_rows() -> Iterator[tuple[str, ...]]:
    for kind, names in SourceSchema().model_dump().items():
        for name, default in names.items():
            variable = f"HOURFEED_SOURCE__{kind.upper()}__{name.upper()}"
            yield f"`[source.{kind}]` `{name}`", f"`{variable}`", f"`{default}`"


def _shown(default: object) -> str:
    if default is None:
        return "none"
    return f"`{default}`" if isinstance(default, str) else f"`{json.dumps(default)}`"


def _allowed(about: Mapping[str, Any]) -> str:
    """Put the bounds of a JSON schema in words."""
    about = about.get("anyOf", [about])[0]  # the other one is null
    if "enum" in about:
        return ", ".join(f"`{choice}`" for choice in about["enum"])
    kind = _WORDS.get(about.get("type", ""), "")
    bounds = []
    if "minimum" in about:
        bounds.append(f"from {about['minimum']:g}")
    if "exclusiveMinimum" in about:
        bounds.append(f"above {about['exclusiveMinimum']:g}")
    if "maximum" in about:
        bounds.append(f"to {about['maximum']:g}")
    if "pattern" in about:
        bounds.append(f"matching `{about['pattern']}`")
    return " ".join([kind, *bounds]).strip()


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(head)]
    lines.append(["---"] * len(lines[0]))
    lines += [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return "\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main() -> None:
    """Write both pages."""
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
