"""Which model a refresh scores with."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from published import Generation, manifest_of

from batch.features.matrix import Column
from batch.features.vocabulary import Vocabularies
from batch.model import Model, save_model
from batch.pipeline import config_digest
from batch.refresh import model_in_use
from batch.settings import BatchSettings
from slates.manifest import Manifest

TRAINED = datetime(2021, 12, 20, 3, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BatchSettings:
    monkeypatch.chdir(tmp_path)
    return BatchSettings(state=tmp_path)


@pytest.fixture
def live(settings: BatchSettings) -> Manifest:
    model = Model("", (Column("C", "age_h"),), Vocabularies({}), None, int(TRAINED.timestamp()), 1, 2)
    save_model(model, settings.state / "models")
    told = {"ranker": "lightgbm", "model_digest": model.digest, "config_digest": config_digest(settings)}
    return replace(manifest_of(Generation("g")), **told)  # type: ignore[arg-type]


@pytest.mark.parametrize(("hours", "in_use"), [(-0.1, False), (0, True), (35.9, True), (36, False)])
def test_the_model_of_the_live_generation_serves_until_it_is_too_old(
    settings: BatchSettings, live: Manifest, hours: float, in_use: bool
) -> None:
    found = model_in_use(settings, live, TRAINED + timedelta(hours=hours))
    assert found == (settings.state / "models" / live.model_digest if in_use else None)


def test_without_a_model_of_these_settings_here_a_new_one_is_trained(settings: BatchSettings, live: Manifest) -> None:
    assert model_in_use(settings, None, TRAINED) is None
    assert model_in_use(settings, replace(live, ranker="popular_6h"), TRAINED) is None
    assert model_in_use(settings.model_copy(update={"trees": 7}), live, TRAINED) is None
    assert model_in_use(settings.model_copy(update={"train_every_h": 0}), live, TRAINED) is None
    (settings.state / "models" / live.model_digest / "trees.txt").write_text("changed")
    assert model_in_use(settings, live, TRAINED) is None
