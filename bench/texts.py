"""`python -m bench.texts ENCODER…`: how many texts a core embeds in a second, short ones and long ones.

An encoder is "tfidf", "minilm", or what else `text_encoder` takes; "random:distilbert" (or bert, roberta) is a model of
that base size with random weights, which takes the same time.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from batch.text.embedder import EmbedderChoice, open_embedder
from batch.text.tfidf import fit_tfidf
from demo.texts import write_text
from demo.words import GROUP_WORDS, LEXICONS

SHORT, LONG = 10, 150
"""Words of a text: a title, a post."""
_SPARE = 10


def texts(n_texts: int, n_words: int) -> list[str]:
    """Return simulated posts of so many words."""
    topics, group = sorted(LEXICONS), min(GROUP_WORDS)
    written = []
    for place in range(n_texts):
        parts = (write_text(place * 9 + part, topics[place % len(topics)], group) for part in range(9))
        written.append(" ".join(parts))
    return [" ".join(text.split()[:n_words]) for text in written]


def cpu_texts_a_second(encoder: str, n_texts: int, n_words: int, folder: Path) -> float:
    """Return texts for each second of CPU time, with nothing known before; the model is loaded already."""
    given = texts(n_texts + _SPARE, n_words)
    if encoder == "tfidf":
        fitted = fit_tfidf(given, seed=0)
        embed: Any = fitted.encode if fitted else None
    else:
        name = str(random_model(encoder.removeprefix("random:"), folder)) if encoder.startswith("random:") else encoder
        embed = open_embedder(EmbedderChoice(name, "mean"), None).embed
    embed(given[n_texts:])
    begun = time.process_time()
    embed(given[:n_texts])
    return n_texts / (time.process_time() - begun)


def random_model(kind: str, folder: Path) -> Path:
    """Save a base model of the kind, and a tokenizer that knows every word of `texts`; return the folder."""
    import tokenizers
    import transformers

    made = folder / kind
    if not made.exists():
        words = tokenizers.Tokenizer(tokenizers.models.WordPiece(unk_token="[UNK]"))  # noqa: S106 - a token of a text
        words.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
        special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
        trainer = tokenizers.trainers.WordPieceTrainer(special_tokens=list(special.values()), show_progress=False)
        words.train_from_iterator(texts(500, LONG), trainer)
        words.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
        transformers.PreTrainedTokenizerFast(tokenizer_object=words, **special).save_pretrained(made)
        transformers.AutoModel.from_config(transformers.AutoConfig.for_model(kind)).save_pretrained(made)
    return made


def main() -> None:
    """Print a line for each encoder."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("encoders", nargs="*", default=["tfidf", "minilm"])
    arguments.add_argument("--texts", type=int, default=64, help="how many of each length")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for encoder in given.encoders:
            short, long = (cpu_texts_a_second(encoder, given.texts, words, Path(folder)) for words in (SHORT, LONG))
            print(f"{encoder}: {short:,.1f} texts of {SHORT} words, {long:,.1f} of {LONG} words a CPU-second")


if __name__ == "__main__":
    main()
