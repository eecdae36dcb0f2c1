"""Says which table or column is missing, what there is instead, and how to name it in the settings."""

from collections.abc import Collection
from difflib import get_close_matches

from source.errors import SourceError

_NAMES_SHOWN = 50
_CHARACTERS_SHOWN = 100


def missing_column(place: str, kind: str, canonical: str, names: dict[str, str], there: Collection[str]) -> SourceError:
    """Return the error for a column that `place`, a table or a file, lacks among those that are `there`.

    `names` holds the name that the settings give each column, by its canonical name.
    """
    others = {name for key, name in names.items() if key != canonical}
    near = _nearest([names[canonical], canonical], [name for name in there if name not in others])
    meant = f"Did you mean {near}? Name it" if near else "If one of them is meant, name it"
    return SourceError(
        f"{place} has no column {names[canonical]}; it has {_listed(there)}. {meant} {_where(kind, canonical, near)}"
    )


def missing_table(full_name: str, kind: str, there: Collection[str]) -> SourceError:
    """Return the error for a table that the settings name and the database lacks; `there` are those of its schema."""
    schema, dot, name = full_name.rpartition(".")
    near = _nearest([name], there)
    has = f"{schema or 'the database'} has {_listed(there) if there else 'no tables'}"
    meant = f"Did you mean {schema}{dot}{near}? Name it" if near else "Name yours"
    return SourceError(
        f"there is no table {full_name}; {has}. {meant} {_where(kind, 'table', near and f'{schema}{dot}{near}')}"
    )


def _nearest(wanted: list[str], there: Collection[str]) -> str:
    """Return the name that most resembles one of the wanted ones, whatever its case; "" where none does."""
    folded = {name.casefold(): name for name in there if len(name) <= _CHARACTERS_SHOWN}
    for name in wanted:
        for match in get_close_matches(name.casefold(), folded, n=1):
            return folded[match]
    return ""


def _where(kind: str, canonical: str, near: str) -> str:
    value = f'"{near}"' if near else "…"
    return (
        f"in hourfeed.toml: [source.{kind}] {canonical} = {value} "
        f"(or in HOURFEED_SOURCE__{kind.upper()}__{canonical.upper()})"
    )


def _listed(names: Collection[str]) -> str:
    shown = [name if len(name) <= _CHARACTERS_SHOWN else f"{name[:_CHARACTERS_SHOWN]}…" for name in names]
    shown = shown[:_NAMES_SHOWN]
    return ", ".join(shown) + (" …" if len(names) > len(shown) else "")
