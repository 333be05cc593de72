"""What a run starts from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_recipes import windowed
from torch import Tensor, nn

from saliency_cli.errors import UsageError, WeightsError
from saliency_cli.models.checkpoint import convert, save_checkpoint
from saliency_cli.models.registry import build
from saliency_cli.models.s3d import S3DEncoder
from saliency_cli.models.soundnet import SoundNet
from saliency_cli.training.start import load_start
from saliency_cli.training.windowed_recipe import WindowedRecipe

TSFP = ("model.architecture=tsfp", "model.clip_length=16")
BLOCKS = {"base1": 0, "base2": 5, "base3": 8, "base4": 14}


def load(
    module: nn.Module,
    recipe: WindowedRecipe,
    *,
    encoder: Path | None = None,
    init: Path | None = None,
    soundnet: Path | None = None,
) -> str:
    given = {"encoder": encoder, "init": init, "soundnet": soundnet}
    return load_start(module, recipe, **{name: path and str(path) for name, path in given.items()})


@pytest.fixture(scope="module")
def kinetics(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Tensor]]:
    """S3D with random weights under its published names, and with ours."""
    torch.manual_seed(5)
    ours = S3DEncoder().state_dict()
    published = {"fc.0.weight": torch.zeros(400, 1024, 1, 1, 1), "fc.0.bias": torch.zeros(400)}
    for name, tensor in ours.items():
        block, number, rest = name.split(".", 2)
        published[f"module.base.{BLOCKS[block] + int(number)}.{rest}"] = tensor
    path = tmp_path_factory.mktemp("s3d") / "S3D.pt"
    torch.save({name if name.startswith("module.") else f"module.{name}": t for name, t in published.items()}, path)
    return path, dict(ours)


@pytest.mark.parametrize("changes", [(), TSFP])
def test_s3d_of_kinetics(changes: tuple[str, ...], kinetics: tuple[Path, dict[str, Tensor]], tmp_path: Path) -> None:
    path, ours = kinetics
    recipe = windowed("start=encoder", *changes)
    for given in (path, convert(path, tmp_path / "s3d.safetensors", "s3d")):
        module = build(recipe.model)
        before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
        said = load(module, recipe, encoder=given)
        assert said.startswith(f"{given.name} (")
        prefix = "encoder." if changes else ""
        state = module.state_dict()
        assert all(torch.equal(state[prefix + name], tensor) for name, tensor in ours.items())
        rest = state.keys() - {prefix + name for name in ours}
        assert rest
        assert all(torch.equal(state[name], before[name]) for name in rest)


def test_random_weights() -> None:
    recipe = windowed()
    assert load(build(recipe.model), recipe) == "random weights"


def test_a_trained_network(tmp_path: Path) -> None:
    recipe = windowed("start=checkpoint")
    trained, module = build(recipe.model), build(recipe.model)
    path = save_checkpoint(tmp_path / "trained.safetensors", trained, recipe.model, half=False)
    assert load(module, recipe, init=path).startswith("trained.safetensors (")
    assert all(torch.equal(module.state_dict()[name], tensor) for name, tensor in trained.state_dict().items())


def test_a_visual_network_learns_to_listen(tmp_path: Path) -> None:
    recipe = windowed("start=checkpoint", *TSFP, "model.audio=true")
    silent = build(windowed(*TSFP).model)
    path = save_checkpoint(tmp_path / "silent.safetensors", silent, windowed(*TSFP).model, half=False)
    ears = SoundNet()
    sound = tmp_path / "soundnet.pt"
    torch.save({**ears.state_dict(), "conv8_objs.weight": torch.zeros(1)}, sound)
    module = build(recipe.model)
    attention = module.state_dict()["attention.bilinear.weight"].clone()
    with pytest.raises(UsageError, match="give SoundNet's weights with --soundnet"):
        load(build(recipe.model), recipe, init=path)
    said = load(module, recipe, init=path, soundnet=sound)
    assert "silent.safetensors" in said
    assert "soundnet.pt" in said
    state = module.state_dict()
    assert all(torch.equal(state[f"soundnet.{name}"], tensor) for name, tensor in ears.state_dict().items())
    assert all(torch.equal(state[name], tensor) for name, tensor in silent.state_dict().items())
    assert torch.equal(state["attention.bilinear.weight"], attention)
    heard = save_checkpoint(tmp_path / "heard.safetensors", module, recipe.model, half=False)
    again = build(recipe.model)
    load(again, recipe, init=heard)
    assert torch.equal(again.state_dict()["soundnet.conv1.weight"], state["soundnet.conv1.weight"])


def test_what_does_not_fit(kinetics: tuple[Path, dict[str, Tensor]], tmp_path: Path) -> None:
    other = tmp_path / "other.pt"
    torch.save({"conv1.weight": torch.zeros(3)}, other)
    recipe = windowed("start=encoder")
    with pytest.raises(WeightsError, match=r"other\.pt does not fit"):
        load(build(recipe.model), recipe, encoder=other)
    with pytest.raises(WeightsError, match=r"training cannot start from .*no\.pt is neither a file nor a name"):
        load(build(recipe.model), recipe, encoder=tmp_path / "no.pt")
    recipe = windowed("start=checkpoint", *TSFP)
    longer = windowed(*TSFP, "model.clip_length=32")
    path = save_checkpoint(tmp_path / "longer.safetensors", build(longer.model), longer.model)
    with pytest.raises(WeightsError, match=r"of another shape \(head\.weight"):
        load(build(recipe.model), recipe, init=path)


@pytest.mark.parametrize(
    ("start", "given", "message"),
    [
        ("scratch", {"encoder": Path("a.pt")}, r"--encoder a\.pt: .*start = 'scratch'; .*--set start=encoder"),
        ("encoder", {"init": Path("a.pt")}, r"--init a\.pt: .*--set start=checkpoint"),
        ("checkpoint", {}, "name its weights with --init"),
        ("encoder", {}, "give its checkpoint with --encoder"),
        ("scratch", {"soundnet": Path("a.pt")}, r"has no sound; add --set model\.audio=true"),
    ],
)
def test_weights_that_the_recipe_does_not_start_from(start: str, given: dict[str, Path], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load(nn.Linear(1, 1), windowed(f"start={start}"), **given)
