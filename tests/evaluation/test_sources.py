"""Sources: what they can do, and how they are named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from fakes import fake
from tiny_recordings import recording

from saliency_cli.errors import ReadError, UsageError, WeightsError
from saliency_cli.evaluation import Centre, Observers, PredictedMaps, StoredMaps, open_predictions
from saliency_cli.evaluation.specs import is_result
from saliency_cli.models import ModelConfig, build, save_checkpoint
from saliency_cli.options import PredictOptions

CONFIG = ModelConfig(architecture="tsfp", encoder="efficientnet-lite0", input_size=(64, 96), mean=0.498, std=0.502)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(6)
    return save_checkpoint(tmp_path_factory.mktemp("weights") / "random.safetensors", build(CONFIG), CONFIG)


def test_a_model_says_what_it_is() -> None:
    source = PredictedMaps(predictor=fake())
    about = source.about()
    assert (about["kind"], about["weights"], about["sha256"]) == ("model", "fake.safetensors", "0" * 64)
    assert (about["device"], about["precision"], about["exact"]) == ("cpu", "fp32", False)
    assert source.prepare([recording()], None) == {"tiny/a": "no stimulus to predict on"}


def test_baselines_need_to_know_the_frames() -> None:
    timeless = recording("b", pairing="time", frames=None)
    for source in (Centre(), Observers()):
        missing = source.prepare([recording("a"), timeless], None)
        assert missing == {"tiny/b": "no stimulus that tells when its frames are shown"}
    assert Observers().about()["splits"] == 10
    with pytest.raises(UsageError, match="0 splits"):
        Observers(0)


def test_names_of_sources(tmp_path: Path, weights: Path) -> None:
    assert isinstance(open_predictions("baseline:center"), Centre)
    assert isinstance(open_predictions("baseline:observers"), Observers)
    assert isinstance(open_predictions(str(tmp_path)), StoredMaps)
    options = PredictOptions(device="cpu", weights=str(weights))
    of_options, by_path, default = (open_predictions(spec, options) for spec in (None, str(weights), "model:tsfp"))
    for source in (of_options, by_path, default):
        assert isinstance(source, PredictedMaps)
    assert by_path.name == str(weights)
    assert by_path.about()["sha256"] == of_options.about()["sha256"] != default.about()["sha256"]
    assert default.about()["weights"] == "tsfp-lite0.safetensors"


def test_the_weights_know_their_network(weights: Path) -> None:
    source = open_predictions(str(weights), PredictOptions(device="cpu", model="tased"))
    assert isinstance(source, PredictedMaps)
    assert source.options.model == "tsfp"


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("baseline:centre", UsageError, "use baseline:center or baseline:observers"),
        ("model:nobody", WeightsError, "nobody is neither a file nor a name of weights"),
        ("missing.pt", WeightsError, "missing.pt"),
        ("nowhere", ReadError, "nowhere does not exist"),
        ("", UsageError, "is empty"),
    ],
)
def test_names_of_nothing(spec: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        open_predictions(spec)


def test_earlier_results_are_known_by_their_suffix(tmp_path: Path) -> None:
    (tmp_path / "folder.json").mkdir()
    assert is_result("a.json")
    assert is_result("a.JSON")
    assert not is_result("a")
    assert not is_result(str(tmp_path / "folder.json"))
