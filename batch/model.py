"""The ranker's model: LightGBM trees, and all that is needed to compute their features again. Saved without pickle."""

import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from batch.errors import BatchError
from batch.features.matrix import PROFILE, Column
from batch.features.registry import FEATURES
from batch.features.vocabulary import Vocabularies
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
            files[_TEXT] = _archive({**self.encoder.arrays(), **centres})
        if self.network is not None:
            about["network"] = [[column.part, column.name] for column in self.network.columns]
            files[_NETWORK] = _archive(self.network.arrays())
        return files | {_ABOUT: _json(about)}

    @property
    def digest(self) -> str:
        """Return the first 16 hexadecimal digits of SHA-256 over the model's files."""
        return _digest(self.files())


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

    vectors : the file of known text vectors; None where there is none.
    """
    try:
        about = json.loads((path / _ABOUT).read_text(encoding="utf-8"))
        columns = tuple(Column(part, name) for part, name in about["columns"])
        encoder = clusters = None
        if "text" in about:
            with np.load(io.BytesIO((path / _TEXT).read_bytes()), allow_pickle=False) as arrays:
                encoder = read_encoder(about["text"], arrays, vectors)
                clusters = Clusters(arrays["centres"]) if "centres" in arrays else None
        vocabularies = Vocabularies({name: tuple(values) for name, values in about["vocabularies"].items()})
        trees = (path / _TREES).read_text(encoding="utf-8")
        as_of_s, groups, rows = (int(about[name]) for name in ("trained_as_of_s", "groups", "rows"))
        network = None
        if "network" in about:
            with np.load(io.BytesIO((path / _NETWORK).read_bytes()), allow_pickle=False) as arrays:
                seen = tuple(Column(part, name) for part, name in about["network"])
                network = Network.of(seen, dict(arrays))
        base = about.get("base", "")
        model = Model(trees, columns, vocabularies, encoder, as_of_s, groups, rows, network, clusters, base)
    except (OSError, EOFError, ValueError, KeyError, TypeError, BadZipFile) as error:
        msg = f"{path} is not a model of `hourfeed batch` ({error!r}); models lie in the state folder, under models/"
        raise BatchError(msg) from error
    used = columns + (network.columns if network else ())
    unknown = [c.name for c in used if not c.name.startswith(PROFILE) and c.name not in FEATURES]
    unknown += [model.base] if model.base and model.base not in FEATURES else []
    if unknown:
        msg = (
            f"the model {path} uses features that this version does not compute: {', '.join(unknown)}; train a new one"
        )
        raise BatchError(msg)
    _refuse_changed(path)
    return model


def _refuse_changed(path: Path) -> None:
    """Compare a folder that is named by a digest with what it holds, as it lies on disk."""
    found = _digest({name: (path / name).read_bytes() for name in _FILES if (path / name).exists()})
    if re.fullmatch(r"[0-9a-f]{16}", path.name) and found != path.name:
        msg = f"the model {path} was changed since it was saved: its content has the digest {found}"
        raise BatchError(msg)


def _digest(files: Mapping[str, bytes]) -> str:
    total = hashlib.sha256()
    for name, content in sorted(files.items()):
        total.update(f"{name} {len(content)}\n".encode())
        total.update(content)
    return total.hexdigest()[:16]


def _archive(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    return content.getvalue()


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=1).encode()
