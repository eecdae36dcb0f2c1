"""Any Hugging Face encoder, by the name of a folder or of a model on the hub: BERT, RoBERTa, DistilBERT, ….

BERT after Devlin et al., NAACL 2019; RoBERTa after Liu et al., arXiv:1907.11692; DistilBERT after Sanh et al.,
arXiv:1910.01108.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batch.errors import BatchError
from batch.text.embedder import MOST_TOKENS, Pooling
from batch.text.files import digest_of, require
from batch.text.hub import model_folder
from batch.text.pooling import pool

_BATCH = 16
"""Texts at once; more are no faster on a CPU."""


class HuggingFaceEncoder:
    """The embedder. Raises ImportError without the extra, BatchError where the model cannot be had or read."""

    def __init__(self, name: str, pooling: Pooling, *, may_download: bool = True) -> None:
        require("torch", "transformers")
        self._name = name
        self._pooling = pooling
        self._folder = model_folder(name, may_download=may_download)
        files = [path for path in self._folder.iterdir() if path.suffix in {".json", ".safetensors", ".txt"}]
        self.identity = f"huggingface-{pooling}-{MOST_TOKENS}-{digest_of(files)}"

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one row a text, float32 (len(texts), width).

        Texts of a batch have as many tokens each, so nothing is padded, and a text's row does not depend on the others
        but for the rounding of sums.
        """
        tokenizer, model = self._loaded
        tokens = tokenizer(list(texts), truncation=True, max_length=self._most_tokens)
        embeddings, place = get_embeddings_labels(model, _batches(tokens["input_ids"]), self._pooling)
        rows = np.empty_like(embeddings.numpy())
        rows[place.numpy()] = embeddings.numpy()
        return np.asarray(rows, dtype=np.float32)

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        import torch
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # the run shows its own
        try:
            # Neither code that lies beside the weights is run, nor weights in pickle are read.
            safe = {"local_files_only": True, "trust_remote_code": False}
            tokenizer = AutoTokenizer.from_pretrained(self._folder, **safe)
            model = AutoModel.from_pretrained(self._folder, dtype=torch.float32, use_safetensors=True, **safe)
        except (OSError, ValueError, KeyError) as error:
            msg = f"text_encoder = {self._name!r}: {self._folder} is not a model with its tokenizer ({error})"
            raise BatchError(msg) from error
        return tokenizer, model.to("cuda" if torch.cuda.is_available() else "cpu").eval()

    @property
    def _most_tokens(self) -> int:
        """Return how many tokens the model has places for, and we read; RoBERTa's places begin at 2."""
        tokenizer, model = self._loaded
        reserved = (tokenizer.pad_token_id or 0) + 1 if model.config.model_type == "roberta" else 0
        return int(min(MOST_TOKENS, getattr(model.config, "max_position_embeddings", MOST_TOKENS) - reserved))


def get_embeddings_labels(
    model: Any, loader: Iterable[Mapping[str, Any]], pooling: Pooling = "mean"
) -> tuple[Any, Any]:
    """Return the embeddings and the labels of a loader, in its order, as tensors in main memory.

    model : a Hugging Face encoder; it is put into evaluation mode. loader : batches with `input_ids` and
    `attention_mask`, both (n, tokens), and `labels` (n, …). pooling : how tokens become a text; padding never counts.
    Returns float32 (n_texts, width), and the labels as they came, (n_texts, …).
    """
    import torch

    model.eval()
    embeddings, labels = [], []
    with torch.inference_mode():
        for batch in loader:
            mask = batch["attention_mask"]
            hidden = model(input_ids=batch["input_ids"].to(model.device), attention_mask=mask.to(model.device))
            pooled = pool(hidden.last_hidden_state.float().cpu().numpy(), mask.cpu().numpy(), pooling)
            embeddings.append(torch.from_numpy(pooled))
            labels.append(batch["labels"].cpu())
    return torch.cat(embeddings), torch.cat(labels)


def _batches(ids: Sequence[Sequence[int]]) -> Iterator[dict[str, Any]]:
    """Lay texts of the same length side by side; their labels are their places."""
    import torch

    by_length = sorted(range(len(ids)), key=lambda place: len(ids[place]))
    for _, same in groupby(by_length, key=lambda place: len(ids[place])):
        places = list(same)
        for begin in range(0, len(places), _BATCH):
            labels = torch.tensor(places[begin : begin + _BATCH])
            rows = torch.tensor([ids[place] for place in labels.tolist()])
            yield {"input_ids": rows, "attention_mask": torch.ones_like(rows), "labels": labels}
