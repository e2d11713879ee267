"""Features of a folder: those of the network, in the file's own order, and weights that may not be at hand."""

from __future__ import annotations

import urllib.error
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lt_core.data import DataError
from lt_core.data.features import features
from lt_core.models import backbones
from lt_core.models.backbones import MEAN, STD, Trunk, WeightsError
from lt_core.training import RunConfig, train
from lt_core.training.extraction import extract, prepare


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for part, numbers in (("train", (3, 2)), ("test", (2, 1))):
        for name, number in zip(("a", "b"), numbers, strict=True):
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(number):
                pixels = random.integers(0, 256, (40, 50, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / part / name / f"{i}.png")
    return tmp_path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """PyTorch's cache, empty, and no way to fetch anything into it."""

    def refuse(*arguments: Any, **options: Any) -> None:
        raise urllib.error.URLError("no network in this test")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path / "hub" / "checkpoints"


def test_features_are_the_networks_in_the_order_of_the_labels(tree: Path, tmp_path: Path) -> None:
    made = extract(tree, tmp_path / "f.npz", "resnet18", device="cpu")
    assert made == {"train": 5, "test": 3, "dimension": 512}
    data = features(tmp_path / "f.npz")
    assert data.class_names == ["a", "b"]
    assert data.train_targets.tolist() == [0, 0, 0, 1, 1]
    torch.manual_seed(0)
    network = Trunk("resnet18").eval()
    image = prepare(tree / "test" / "b" / "0.png")
    assert image.shape == (3, 224, 224)
    with torch.no_grad():
        expected = network(image[None])
    torch.testing.assert_close(data.test_images[2:], expected, rtol=1e-3, atol=1e-4)


def test_the_same_command_writes_the_same_features(tree: Path, tmp_path: Path) -> None:
    for name in ("one.npz", "two.npz"):
        extract(tree, tmp_path / name, "resnet18", device="cpu")
    assert features(tmp_path / "one.npz").digest == features(tmp_path / "two.npz").digest


def test_a_classifier_trains_on_them(tree: Path, tmp_path: Path) -> None:
    extract(tree, tmp_path / "f.npz", "resnet18", device="cpu")
    record = train(RunConfig(dataset="features", epochs=1), None, tmp_path / "f.npz", device="cpu", progress=False)
    assert record["data"]["train"] == 5


def test_trunks_are_torchvisions_with_its_normalisation() -> None:
    from torchvision.models import resnet18
    from torchvision.transforms.v2 import functional as tvf

    torch.manual_seed(3)
    theirs = resnet18().eval()
    theirs.fc = torch.nn.Identity()
    torch.manual_seed(3)
    ours = Trunk("resnet18").eval()
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        expected = theirs(tvf.normalize(images.float() / 255, list(MEAN), list(STD)))
        torch.testing.assert_close(ours(images), expected)


def test_weights_in_the_cache_are_used(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file put in place by hand is enough, under the name that its address has."""
    import hashlib

    from torchvision.models import ResNet18_Weights, resnet18

    torch.manual_seed(5)
    state = resnet18().state_dict()
    cache.mkdir(parents=True)
    torch.save(state, cache / "weights")
    digest = hashlib.sha256((cache / "weights").read_bytes()).hexdigest()[:8]
    (cache / "weights").rename(cache / f"resnet18-{digest}.pth")
    address = f"https://example.org/resnet18-{digest}.pth"
    weights = ResNet18_Weights.IMAGENET1K_V1
    monkeypatch.setattr(type(weights), "url", property(lambda self: address))
    trunk = Trunk("resnet18", pretrained=True)
    torch.testing.assert_close(trunk.network.conv1.weight, state["conv1.weight"])


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04 half of one"])
def test_a_damaged_file_of_weights_is_named(cache: Path, content: bytes) -> None:
    from torchvision.models import ResNet18_Weights

    name = ResNet18_Weights.IMAGENET1K_V1.url.rpartition("/")[2]
    cache.mkdir(parents=True)
    (cache / name).write_bytes(content)
    with pytest.raises(WeightsError, match=rf"{name} cannot be used: .*; delete it") as told:
        Trunk("resnet18", pretrained=True)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("name", backbones.TORCHVISION)
def test_missing_weights_say_where_the_file_goes(cache: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchvision.models.get_model", lambda *arguments, **options: torch.nn.Module())  # not needed
    with pytest.raises(WeightsError, match=r"cannot be fetched \(no network in this test\); put that file at ") as told:
        Trunk(name, pretrained=True)
    assert str(cache / name) in str(told.value)
    assert "\n" not in str(told.value)


def test_a_bad_backbone_and_a_bad_folder_are_named(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="backbone is 'vgg'"):
        extract(tree, tmp_path / "f.npz", "vgg", device="cpu")
    (tree / "train" / "a" / "bad.png").write_text("no image")
    with pytest.raises(DataError, match=r"bad\.png is no image"):
        extract(tree, tmp_path / "f.npz", "resnet18", device="cpu")
    assert not (tmp_path / "f.npz").exists()
