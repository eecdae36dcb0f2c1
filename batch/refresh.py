"""A refresh: a run that scores with the model of the live generation, as long as that is young enough."""

from datetime import datetime
from pathlib import Path

from batch.errors import BatchError
from batch.model import load_model
from batch.model_checks import folder_of
from batch.pipeline import TRAINED, config_digest
from batch.settings import BatchSettings
from slates.manifest import Manifest


def model_in_use(settings: BatchSettings, live: Manifest | None, as_of: datetime) -> Path | None:
    """Return the folder of the model that a refresh at `as_of` scores with; None where a new one is to be trained.

    That is where nothing is live, or not by a model, or by other settings; where the model is not in the state folder
    of this machine, or unusable; or where it was trained `train_every_h` or longer before `as_of`, or after it.
    """
    if live is None or live.ranker not in TRAINED or live.config_digest != config_digest(settings):
        return None
    try:
        path = folder_of(settings.state / "models", live.model_digest)
        age_s = as_of.timestamp() - load_model(path).trained_as_of_s
    except BatchError:
        return None
    return path if 0 <= age_s < settings.train_every_h * 3600 else None
