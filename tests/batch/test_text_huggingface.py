"""Encoders of the hub's kinds: what they say of a text does not depend on its neighbours, its place or its padding."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from extras import needs
from tiny_encoders import KINDS, WIDTH, make_encoder

from batch.errors import BatchError
from batch.text.embedder import EmbedderChoice, Pooling, open_embedder
from batch.text.huggingface import HuggingFaceEncoder, get_embeddings_labels

torch = needs("torch")
transformers = needs("transformers")
TEXTS = ["sun", "rain again today", "goal match", "a word that nobody knows", "sun", "votes voting party film song"]


@pytest.fixture(scope="module", params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_encoder(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_encoder(tmp_path_factory.mktemp("bert"), "bert")


def by_hand(folder: Path, text: str, pooling: Pooling) -> Any:
    """Return a text's vector as the model's own documentation says to take it: alone, without any padding."""
    tokens = transformers.AutoTokenizer.from_pretrained(folder)([text], return_tensors="pt")
    model = transformers.AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        hidden = model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]).last_hidden_state[0]
    return (hidden[0] if pooling == "cls" else hidden.mean(dim=0)).numpy()


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_each_text_gets_the_vector_that_it_has_alone_and_in_its_place(folder: Path, pooling: Pooling) -> None:
    vectors = HuggingFaceEncoder(str(folder), pooling).embed(TEXTS)
    assert vectors.shape == (6, WIDTH)
    for text, vector in zip(TEXTS, vectors, strict=True):
        np.testing.assert_allclose(vector, by_hand(folder, text, pooling), atol=2e-6)
    assert np.abs(vectors[0] - vectors[1]).max() > 0.01


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_get_embeddings_labels_keeps_the_loaders_order_and_counts_no_padding(folder: Path, pooling: Pooling) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).train()  # with dropout, were it left so

    def loader() -> Iterator[dict[str, Any]]:
        for begin in (0, 4):
            part = TEXTS[begin : begin + 4]
            tokens = tokenizer(part, padding="longest", return_tensors="pt")
            yield {**tokens, "labels": torch.arange(begin, begin + len(part)) * 10}

    embeddings, labels = get_embeddings_labels(model, loader(), pooling)
    assert labels.tolist() == [0, 10, 20, 30, 40, 50]
    for text, vector in zip(TEXTS, embeddings.numpy(), strict=True):
        np.testing.assert_allclose(vector, by_hand(folder, text, pooling), atol=2e-6)


def test_a_text_longer_than_the_model_has_places_for_is_cut(folder: Path) -> None:
    encoder = HuggingFaceEncoder(str(folder), "mean")
    long, longer, other = encoder.embed(["sun " * 100, "sun " * 200, "rain " * 100])
    np.testing.assert_array_equal(long, longer)
    assert np.abs(long - other).max() > 0.01


def test_another_model_or_pooling_is_another_identity(bert: Path, tmp_path: Path) -> None:
    same = shutil.copytree(bert, tmp_path / "moved")
    other = make_encoder(tmp_path / "other", "bert", seed=1)
    identity = HuggingFaceEncoder(str(bert), "mean").identity
    assert HuggingFaceEncoder(str(same), "mean").identity == identity
    assert HuggingFaceEncoder(str(other), "mean").identity != identity
    assert HuggingFaceEncoder(str(bert), "cls").identity != identity


def test_a_folder_that_is_no_model_is_refused_with_what_it_lacks(bert: Path, tmp_path: Path) -> None:
    with pytest.raises(BatchError, match=r"lacks config\.json"):
        open_embedder(EmbedderChoice(str(tmp_path), "mean"), None)
    broken = shutil.copytree(bert, tmp_path / "broken")
    (broken / "config.json").write_text(json.dumps({"model_type": "no such kind"}))
    with pytest.raises(BatchError, match="is not a model with its tokenizer"):
        open_embedder(EmbedderChoice(str(broken), "mean"), None).embed(["sun"])


def test_a_name_is_taken_from_the_hubs_cache_and_an_unknown_one_is_refused(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = needs("huggingface_hub")
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    kept = tmp_path / "models--someone--tiny-bert"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text("0" * 40)
    shutil.copytree(bert, kept / "snapshots" / ("0" * 40))
    found = HuggingFaceEncoder("someone/tiny-bert", "mean")
    assert found.identity == HuggingFaceEncoder(str(bert), "mean").identity
    for name in ("someone/unknown", "not a name"):
        with pytest.raises(BatchError, match="cannot be downloaded"):
            HuggingFaceEncoder(name, "mean")
    # A download that was cut off is not taken for a model.
    (kept / "snapshots" / ("0" * 40) / "model.safetensors").unlink()
    with pytest.raises(BatchError, match=r"lacks config\.json, the weights"):
        HuggingFaceEncoder("someone/tiny-bert", "mean")


def test_weights_in_pickle_are_not_read(bert: Path, tmp_path: Path) -> None:
    folder = tmp_path / "old"
    shutil.copytree(bert, folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(BatchError, match=r"pytorch_model\.bin, which is pickle, is not read"):
        HuggingFaceEncoder(str(folder), "mean")


def test_code_that_lies_beside_the_weights_is_not_run(bert: Path, tmp_path: Path) -> None:
    folder = tmp_path / "with code"
    shutil.copytree(bert, folder)
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModel": "theirs.Theirs", "AutoConfig": "theirs.Config"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "theirs.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    HuggingFaceEncoder(str(folder), "mean").embed(["sun"])
    assert not (tmp_path / "ran").exists()


def test_a_saved_model_makes_nobody_download_what_it_names() -> None:
    with pytest.raises(BatchError, match="neither a folder nor in the hub's local cache; put it there"):
        open_embedder(EmbedderChoice("somebody/elses-model", "mean"), None, may_download=False)
