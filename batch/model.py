"""The ranker's model: LightGBM trees, and all that is needed to compute their features again. Saved without pickle."""

import json
import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from batch.arrays import arrays_from_bytes, arrays_to_bytes
from batch.errors import BatchError
from batch.features.matrix import Column
from batch.features.registry import FEATURES
from batch.features.vocabulary import Vocabularies
from batch.model_checks import (
    columns_of,
    count_of,
    digest_of,
    read_about,
    read_files,
    refuse_foreign_trees,
    second_of,
    unusable,
    vocabularies_of,
)
from batch.neural.network import Network
from batch.text.clusters import Clusters
from batch.text.encoder import TextEncoder
from batch.text.fit import read_encoder

_FILES = _TREES, _ABOUT, _TEXT, _NETWORK = "trees.txt", "model.json", "text.npz", "network.npz"


@dataclass(frozen=True)
class Model:
    """A trained ranker.

    trees : LightGBM's model text, "" without trees. columns : of the trees' matrix, in order. encoder : of texts, None
    without texts. trained_as_of_s : seconds since 1970; nothing later was seen. groups, rows : of the training cases.
    network : the neural recommender's, as the ranker itself or for a feature of the trees. clusters : of text vectors.
    base : the feature on user×post that the trees add to, "" for none.
    """

    trees: str
    columns: tuple[Column, ...]
    vocabularies: Vocabularies
    encoder: TextEncoder | None
    trained_as_of_s: int
    groups: int
    rows: int
    network: Network | None = None
    clusters: Clusters | None = None
    base: str = ""

    def files(self) -> dict[str, bytes]:
        """Return the model as files: name → content, the same bytes for the same model."""
        about: dict[str, Any] = {
            "columns": [[column.part, column.name] for column in self.columns],
            "features": {c.name: FEATURES[c.name].what for c in self.columns if c.name in FEATURES},
            "vocabularies": self.vocabularies.values,
            "trained_as_of": datetime.fromtimestamp(self.trained_as_of_s, UTC).isoformat(),
            "trained_as_of_s": self.trained_as_of_s,
            "groups": self.groups,
            "rows": self.rows,
        }
        if self.base:
            about["base"] = self.base
        files = {_TREES: self.trees.encode()}
        if self.encoder is not None:
            about["text"] = self.encoder.about()
            centres = {"centres": self.clusters.centres} if self.clusters is not None else {}
            files[_TEXT] = arrays_to_bytes({**self.encoder.arrays(), **centres})
        if self.network is not None:
            about["network"] = [[column.part, column.name] for column in self.network.columns]
            files[_NETWORK] = arrays_to_bytes(self.network.arrays())
        return files | {_ABOUT: _json(about)}

    @property
    def digest(self) -> str:
        """Return the first 16 hexadecimal digits of SHA-256 over the model's files."""
        return digest_of(self.files())


def save_model(model: Model, folder: Path) -> Path:
    """Write the model into `folder`/DIGEST, whole or not at all, and return that path.

    Raises BatchError where it cannot be written.
    """
    target = folder / model.digest
    if target.exists():
        os.utime(target)  # it is in use again, so the clean-up takes it for new
        return target
    unfinished = folder / f".{model.digest}.{os.getpid()}"
    try:
        unfinished.mkdir(parents=True, exist_ok=True)
        for name, content in model.files().items():
            (unfinished / name).write_bytes(content)
    except OSError as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        msg = f"the model cannot be written in {folder}: {error.strerror or error}"
        raise BatchError(msg) from error
    try:
        unfinished.rename(target)
    except OSError:  # another run has just written the same model
        if not target.exists():
            raise
    return target


def remove_old_models(folder: Path, keep: int) -> list[str]:
    """Remove all models but the `keep` that were saved last; return the digests of those that went."""
    saved = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    old = sorted(saved, key=lambda path: (path.stat().st_mtime, path.name))[: max(0, len(saved) - keep)]
    for path in old:
        shutil.rmtree(path, ignore_errors=True)
    return [path.name for path in old]


def load_model(path: Path, vectors: Path | None = None) -> Model:
    """Read what `save_model` wrote; raise BatchError where it is not a model of this version's features.

    The files may come from a stranger: nothing in them is code, and what could lead a compiled loop astray is refused.
    vectors : the file of known text vectors; None where there is none.
    """
    try:
        files = read_files(path, _FILES)
        about = read_about(files[_ABOUT])
        columns, seen = columns_of(about["columns"]), columns_of(about.get("network", []))
        base = str(about.get("base", ""))
        has = {"network": "network" in about, "clusters": False}
        encoder = clusters = network = None
        if "text" in about:
            arrays = arrays_from_bytes(files[_TEXT])
            encoder = read_encoder(about["text"], arrays, vectors)
            clusters = Clusters.of(arrays["centres"], len(arrays["components"])) if "centres" in arrays else None
            has["clusters"] = clusters is not None
        unknown = unusable((*columns, *seen), base, **has)
        if not unknown and "network" in about:
            network = Network.of(seen, arrays_from_bytes(files[_NETWORK]))
        model = Model(
            files[_TREES].decode(),
            columns,
            vocabularies_of(about["vocabularies"]),
            encoder,
            second_of(about, "trained_as_of_s"),
            count_of(about, "groups"),
            count_of(about, "rows"),
            network,
            clusters,
            base,
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        msg = (
            f"{path} is not a model of `hourfeed batch` ({error!r:.300}); models lie in the state folder, under models/"
        )
        raise BatchError(msg) from error
    if unknown:
        msg = (
            f"the model {path} uses features that this version does not compute: {', '.join(unknown):.300}; "
            "train a new one"
        )
        raise BatchError(msg)
    if model.trees:
        refuse_foreign_trees(model.trees, columns)
    return model


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=1).encode()
