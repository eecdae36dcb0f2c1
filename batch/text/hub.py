"""Where a Hugging Face model lies: in a folder of its own, in the hub's local cache, or on the hub."""

from pathlib import Path

from batch.errors import BatchError

_WANTED = ("*.json", "*.txt", "model*.safetensors")
"""Not pytorch_model.bin, in which old models have their weights: that is pickle, and pickle is a program."""


def model_folder(name: str, *, may_download: bool = True) -> Path:
    """Return the folder of a model; one that is neither a folder nor in the cache is downloaded, which may take long.

    What is in the cache is used as it is, so that a model stays the same until somebody removes it there.
    Raises BatchError where it cannot be had.
    """
    if Path(name).is_dir():
        return _whole(Path(name), name)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(name, local_files_only=True))
        if _is_whole(folder):
            return folder
    except (LocalEntryNotFoundError, HFValidationError):
        pass
    if not may_download:
        msg = (
            f"the model was trained with text_encoder = {name[:100]!r}, which is neither a folder nor in the hub's "
            "local cache; put it there, or train a new model"
        )
        raise BatchError(msg)
    try:
        folder = Path(snapshot_download(name, allow_patterns=list(_WANTED)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        msg = (
            f"text_encoder = {name!r} is no folder, is not in the hub's local cache, and cannot be downloaded "
            f"({type(error).__name__}); name a folder with config.json, weights and tokenizer, or set text_encoder to "
            "minilm or tfidf"
        )
        raise BatchError(msg) from error
    return _whole(folder, name)


def _whole(folder: Path, name: str) -> Path:
    if not _is_whole(folder):
        msg = (
            f"text_encoder = {name!r}: {folder} lacks config.json, the weights (model.safetensors; pytorch_model.bin, "
            "which is pickle, is not read) or the tokenizer (tokenizer.json or vocab.txt or vocab.json); save the "
            "model and its tokenizer there"
        )
        raise BatchError(msg)
    return folder


def _is_whole(folder: Path) -> bool:
    tokenizer = any((folder / file).is_file() for file in ("tokenizer.json", "vocab.txt", "vocab.json"))
    return (folder / "config.json").is_file() and _has_weights(folder) and tokenizer


def _has_weights(folder: Path) -> bool:
    return any(folder.glob("model*.safetensors"))
