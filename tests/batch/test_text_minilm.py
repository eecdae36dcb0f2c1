"""The real MiniLM, out of its package."""

import os

import numpy as np
import pytest
from extras import needs

from batch.errors import BatchError
from batch.text.embedder import MOST_TOKENS, EmbedderChoice, open_embedder
from batch.text.encoder import unit_rows
from batch.text.minilm import MiniLm

needs("onnxruntime")
needs("tokenizers")
TEXTS = [
    "The central bank raises interest rates to fight inflation",
    "Monetary policy is tightened as prices climb",
    "The striker scored twice in the final minutes",
    "A late goal won the match for the home team",
]


def test_texts_that_mean_the_same_are_near_without_a_word_in_common() -> None:
    unit = unit_rows(MiniLm("mean").embed(TEXTS))
    cosine = unit @ unit.T
    assert unit.shape == (4, 384)
    assert cosine[0, 1] > 0.3 > cosine[0, 2]
    assert cosine[2, 3] > 0.3 > cosine[1, 3]


def test_a_vector_depends_on_nothing_but_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    together = MiniLm("mean").embed(TEXTS)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {0})
    one_thread = MiniLm("mean")
    for text, vector in zip(TEXTS, together, strict=True):
        np.testing.assert_array_equal(one_thread.embed([text])[0], vector)


def test_what_stands_behind_the_last_token_is_not_read() -> None:
    start = "goal " * (MOST_TOKENS - 2)
    one, same, other = MiniLm("mean").embed([start + "rain", start + "bank", "bank " + start])
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_the_first_token_can_stand_for_the_text_and_is_another_identity() -> None:
    mean, cls = MiniLm("mean"), MiniLm("cls")
    assert mean.identity != cls.identity
    assert np.abs(mean.embed(TEXTS) - cls.embed(TEXTS)).max() > 0.01


@pytest.mark.parametrize(
    ("name", "extra", "package"), [("minilm", "minilm", "onnxruntime"), ("a/b", "embeddings", "torch")]
)
def test_without_its_packages_an_encoder_is_refused_with_the_name_of_the_extra(
    name: str, extra: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batch.text.files.find_spec", lambda found: None if found == package else object())
    with pytest.raises(BatchError, match=rf"text_encoder = '{name}' needs .*pip install 'hourfeed\[{extra}\]'"):
        open_embedder(EmbedderChoice(name, "mean"), None)
