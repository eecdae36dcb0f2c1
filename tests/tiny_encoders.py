"""Randomly initialised encoders of the real kinds, small enough to make in a test: folders of about 200 KB."""

from pathlib import Path
from typing import Any

from extras import needs

KINDS = ("bert", "roberta", "distilbert")
WORDS = ("sun", "rain", "goal", "match", "vote", "party", "film", "song", "today", "again")
WIDTH = 32


def make_encoder(folder: Path, kind: str, seed: int = 0) -> Path:
    """Save a model of the kind, with its tokenizer, and return the folder."""
    torch, transformers = needs("torch"), needs("transformers")
    tokenizer = _byte_pairs() if kind == "roberta" else _word_pieces()
    tokenizer.save_pretrained(folder)
    size: dict[str, Any] = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    layers = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "hidden_size": WIDTH}
    torch.manual_seed(seed)
    match kind:
        case "bert":
            model = transformers.BertModel(transformers.BertConfig(max_position_embeddings=40, **size, **layers))
        case "roberta":
            model = transformers.RobertaModel(transformers.RobertaConfig(max_position_embeddings=42, **size, **layers))
        case _:
            shape = {"n_layers": 2, "n_heads": 2, "hidden_dim": 64, "dim": WIDTH}
            config = transformers.DistilBertConfig(max_position_embeddings=40, **size, **shape)
            model = transformers.DistilBertModel(config)
    model.save_pretrained(folder)
    return folder


def _word_pieces() -> Any:
    tokenizers, transformers = needs("tokenizers"), needs("transformers")
    special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    vocabulary = {piece: place for place, piece in enumerate((*special, *WORDS, "##s", "##ing"))}
    pieces = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocabulary, unk_token="[UNK]"))
    pieces.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    pieces.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    pad, unknown, cls, sep, mask = special
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=pieces, pad_token=pad, unk_token=unknown, cls_token=cls, sep_token=sep, mask_token=mask
    )


def _byte_pairs() -> Any:
    tokenizers, transformers = needs("tokenizers"), needs("transformers")
    special = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
    letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {piece: place for place, piece in enumerate((*special, *letters, "su", "sun"))}
    pairs = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, [("s", "u"), ("su", "n")]))
    pairs.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=True)
    pairs.post_processor = tokenizers.processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    cls, pad, sep, unknown, mask = special
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=pairs, pad_token=pad, unk_token=unknown, cls_token=cls, sep_token=sep, mask_token=mask
    )
