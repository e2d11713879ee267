"""torchvision's networks to be trained: what they compute is torchvision's, and the heads fit."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lt_core.data import synthetic
from lt_core.models import TORCHVISION, Backbone, MemoryNetwork, TwoBranches, backbones
from lt_core.models.backbones import Trunk, WeightsError
from lt_core.training import RunConfig
from lt_core.training.strategies import STRATEGIES

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["resnet18", "resnext50_32x4d"])
def test_the_outputs_are_torchvisions(name: str) -> None:
    from torchvision.models import get_model

    theirs, ours = get_model(name, weights=None, num_classes=7).eval(), Backbone(name, 7).eval()
    ours.conv1, ours.bn1 = theirs.conv1, theirs.bn1
    blocks = [block for layer in range(1, 5) for block in getattr(theirs, f"layer{layer}")]
    assert len(blocks) == len(ours.blocks)
    ours.blocks = torch.nn.Sequential(torch.nn.Sequential(theirs.maxpool, blocks[0]), *blocks[1:])
    ours.classifier = theirs.fc
    images = torch.randn(2, 3, 64, 48)
    assert torch.allclose(ours(images), theirs(images), atol=1e-5)
    assert ours.features(images).shape == (2, ours.dimension)
    assert ours.maps(images).shape[2:] == (2, 2) == (64 // ours.stride, -(-48 // ours.stride))


@pytest.mark.parametrize("size", [8, 33, 224])
def test_any_size_from_eight_pixels_on(size: int) -> None:
    assert Backbone("resnet18", 5).eval()(torch.randn(2, 3, size, size)).shape == (2, 5)


def test_classifiers_and_their_initialisation() -> None:
    cosine = Backbone("resnet18", 5, "cosine", scale=30.0).eval()
    assert cosine(torch.randn(2, 3, 32, 32)).abs().max() <= 30
    torch.manual_seed(0)
    kaiming, usual = (Backbone("resnet18", 200, classifier_init=init).classifier for init in ("kaiming", "default"))
    assert kaiming.weight.std().item() == pytest.approx((2 / 512) ** 0.5, rel=0.02)
    assert usual.weight.std().item() == pytest.approx((1 / (3 * 512)) ** 0.5, rel=0.02)
    with pytest.raises(ValueError, match="backbone"):
        Backbone("vgg", 5)
    with pytest.raises(ValueError, match="classifier_init"):
        Backbone("resnet18", 5, classifier_init="zeros")


def test_pretrained_weights_come_from_the_cache_or_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    from torchvision.models import get_model

    weights = get_model("resnet18", weights=None).state_dict()
    monkeypatch.setattr(backbones, "_fetch", lambda url: weights if "resnet18" in url else None)
    network = Backbone("resnet18", 5, pretrained=True)
    assert torch.equal(network.conv1.weight, weights["conv1.weight"])
    assert torch.equal(network.blocks[-1].conv2.weight, weights["layer4.1.conv2.weight"])
    assert torch.equal(Trunk("resnet18", pretrained=True).network.conv1.weight, weights["conv1.weight"])

    def missing(url: str) -> None:
        raise WeightsError("put that file at …")

    monkeypatch.setattr(backbones, "_fetch", missing)
    with pytest.raises(WeightsError, match="put that file"):
        Backbone("resnet18", 5, pretrained=True)


def test_the_heads_fit() -> None:
    images = torch.randn(3, 3, 64, 64)
    first, second = Backbone("resnet18", 5), Backbone("resnet18", 5)
    branches = TwoBranches(first, second, torch.nn.Linear(2 * first.dimension, 5)).eval()
    assert branches(images).shape == (3, 5)
    assert MemoryNetwork(Backbone("resnet18", 5), 5, (64, 64)).eval()(images).shape == (3, 5)


@pytest.mark.parametrize("method", ["ala", "bbn", "causal_norm", "oltr", "lfme", "mixup", "crt"])
def test_methods_step_on_a_network_of_torchvision(method: str) -> None:
    data = synthetic(imbalance_factor=10)
    config = RunConfig(dataset="synthetic", imbalance_factor=10, method=method, backbone="resnet18", epochs=5)
    strategy = STRATEGIES[config.strategy](config, data, CPU, "float32")
    torch.manual_seed(0)
    columns = strategy.order(torch.Generator().manual_seed(0))
    strategy.train()
    loss, outputs = strategy.step(*(column[:8] for column in columns))
    loss.backward()
    assert loss.isfinite()
    assert outputs.shape[0] == 8
    assert strategy.predict(data.test_images[:4]).shape == (4, data.num_classes)


@pytest.mark.parametrize("method", ["ride", "ce_experts", "ensemble"])
def test_experts_are_narrow_networks_for_small_images(method: str) -> None:
    with pytest.raises(ValueError, match=r"backbone is 'resnet18', but strategy .* needs 'resnet32' or 'resnet8'"):
        RunConfig(dataset="synthetic", method=method, backbone="resnet18")


def test_every_network_is_normalised_as_it_was_trained() -> None:
    data = synthetic(imbalance_factor=10)
    for name, mean in (("resnet18", backbones.MEAN), ("resnet8", (0.4914, 0.4822, 0.4465))):
        config = RunConfig(dataset="synthetic", imbalance_factor=10, backbone=name)
        strategy = STRATEGIES["plain"](config, data, CPU, "float32")
        assert strategy.normalize.mean.flatten().tolist() == pytest.approx(mean)
    assert set(TORCHVISION) == {"resnet18", "resnet50", "resnet152", "resnext50_32x4d"}


def test_the_backbone_learns_at_its_share_of_the_rate() -> None:
    config = RunConfig(dataset="folder", recipe="places_lt", backbone="resnet18", pretrained=False, image_size=32)
    assert config.ingredients().backbone_share == 0.01
    data = synthetic(imbalance_factor=10)
    strategy = STRATEGIES["plain"](config, data, CPU, "float32")
    classifier, rest = strategy.parameters()
    assert "share" not in classifier
    assert rest["share"] == 0.01
    assert sum(p.numel() for group in (classifier, rest) for p in group["params"]) == sum(
        p.numel() for p in strategy.model.parameters()
    )
    assert {id(p) for p in classifier["params"]} == {id(p) for p in strategy.model.classifier.parameters()}
