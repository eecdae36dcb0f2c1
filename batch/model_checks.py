"""What a model's files must be, before anything computes with them: they may come from a stranger.

Compiled loops index by what a model says and do not look whether that is inside an array, so it is looked at here.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np

from batch.errors import BatchError
from batch.features.matrix import PROFILE, Column
from batch.features.registry import FEATURES, Part
from batch.features.vocabulary import MOST_TOPICS, MOST_VALUES, Vocabularies
from batch.trees import parse_trees

MOST_BYTES = 256 << 20
"""Of one file; the largest that `hourfeed batch` writes has some 10 MB."""
_DIGEST = re.compile(r"[0-9a-f]{16}")
_YEAR_2200_S = 7_258_118_400
_MOST_CHARACTERS = 1_000
_MOST_COLUMNS = 10_000


def digest_of(files: Mapping[str, bytes]) -> str:
    """Return the first 16 hexadecimal digits of SHA-256 over files by name."""
    total = hashlib.sha256()
    for name, content in sorted(files.items()):
        total.update(f"{name} {len(content)}\n".encode())
        total.update(content)
    return total.hexdigest()[:16]


def folder_of(models: Path, digest: str) -> Path:
    """Return where the model of a digest lies; BatchError where it is none, for a name could lead out of the folder."""
    if not _DIGEST.fullmatch(digest):
        msg = f"{digest[:60]!r} is not the digest of a model"
        raise BatchError(msg)
    return models / digest


def read_files(path: Path, names: Sequence[str]) -> dict[str, bytes]:
    """Read those of the files that are there, and compare them with the digest where the folder is named by one.

    Raises BatchError where they are other ones than were saved, ValueError where one is too large to be read.
    """
    files = {}
    for name in names:
        if not (path / name).exists():
            continue
        if not (path / name).is_file() or (path / name).stat().st_size > MOST_BYTES:
            msg = f"{name} is no file of up to {MOST_BYTES >> 20} MiB"
            raise ValueError(msg)
        files[name] = (path / name).read_bytes()
    found = digest_of(files)
    if _DIGEST.fullmatch(path.name) and found != path.name:
        msg = f"the model {path} was changed since it was saved: its content has the digest {found}"
        raise BatchError(msg)
    return files


def read_about(content: bytes) -> dict[str, Any]:
    """Return the object in a JSON file; ValueError where it is none."""
    about = json.loads(content)
    if not isinstance(about, dict):
        raise TypeError("it holds no JSON object")
    return about


def columns_of(given: Any) -> tuple[Column, ...]:
    """Return the columns that pairs of part and name stand for; ValueError where they are no such pairs."""
    if not isinstance(given, list) or len(given) > _MOST_COLUMNS:
        raise TypeError("its columns are no list")
    for pair in given:
        if not (isinstance(pair, list) and len(pair) == 2 and pair[0] in get_args(Part) and _is_text(pair[1])):
            msg = f"{str(pair)[:60]} is no column: a part and a name"
            raise ValueError(msg)
    return tuple(Column(part, name) for part, name in given)


def vocabularies_of(given: Any) -> Vocabularies:
    """Return the vocabularies; ValueError where they are not what `vocabulary.learn` makes."""
    if not isinstance(given, dict):
        raise TypeError("its vocabularies are no object")
    for name, values in given.items():
        most = MOST_TOPICS if name == "topic" else MOST_VALUES
        if not isinstance(values, list) or len(values) > most or not all(isinstance(value, str) for value in values):
            msg = f"the vocabulary of {name[:60]!r} is no list of up to {most} texts"
            raise ValueError(msg)
    return Vocabularies({name: tuple(values) for name, values in given.items()})


def count_of(about: Mapping[str, Any], name: str, most: int = 2**53) -> int:
    """Return a whole number of the object; ValueError where it is none from 0 to `most`."""
    value = about[name]
    if type(value) is not int or not 0 <= value <= most:
        msg = f"{name} is no whole number from 0 to {most}"
        raise ValueError(msg)
    return value


def second_of(about: Mapping[str, Any], name: str) -> int:
    """Return a second since 1970 of the object; ValueError where it is none before the year 2200."""
    return count_of(about, name, _YEAR_2200_S)


def unusable(columns: Sequence[Column], base: str, *, network: bool, clusters: bool) -> list[str]:
    """Return the names of features that this version does not compute, or not so, or not without what is missing."""

    def is_usable(column: Column) -> bool:
        if column.name.startswith(PROFILE):
            return column.part == "A"
        found = FEATURES.get(column.name)
        return (
            found is not None
            and column.part in found.parts
            and (network or not found.needs_network)
            and (clusters or not found.needs_clusters)
        )

    names = [column.name for column in columns if not is_usable(column)]
    return names + ([base] if base and (base not in FEATURES or FEATURES[base].axes != "user×post") else [])


def refuse_foreign_trees(trees: str, columns: Sequence[Column]) -> None:
    """Raise BatchError where trees cannot be read, or split by columns that the model has not."""
    for place, tree in enumerate(parse_trees(trees)):
        if (tree.feature >= len(columns)).any():
            msg = f"tree {place} splits by column {int(np.max(tree.feature))}, the model has {len(columns)}; train anew"
            raise BatchError(msg)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _MOST_CHARACTERS
