"""The networks: sizes, shortcuts, classifiers, initialisation."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

import lt_core as lt
from lt_core.models.resnet_cifar import BasicBlock


@pytest.mark.parametrize(
    ("build", "classifier", "parameters"),
    [
        ("resnet32", "linear", 470_004),  # 0.46 million and the linear layer for 100 classes
        ("resnet32", "cosine", 469_904),
        ("resnet8", "linear", 81_140),
    ],
)
def test_parameter_count(build: str, classifier: str, parameters: int) -> None:
    model = lt.models.BACKBONES[build](100, classifier)
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_resnet32_for_ten_classes_is_the_network_of_the_paper() -> None:
    """He et al. (2016), Table 6: 0.46 million parameters; 31 convolutions and one linear layer."""
    model = lt.models.resnet32(10)
    assert sum(p.numel() for p in model.parameters()) == 464_154
    assert sum(isinstance(m, torch.nn.Conv2d) for m in model.modules()) == 31


def test_shortcut_has_no_parameters_and_pads_channels_on_both_sides() -> None:
    block = BasicBlock(16, 32, stride=2)
    x = torch.randn(2, 16, 8, 8)
    shortcut = block.shortcut(x)
    assert shortcut.shape == (2, 32, 4, 4)
    assert torch.equal(shortcut[:, 8:24], x[:, :, ::2, ::2])
    assert not shortcut[:, :8].any()
    assert not shortcut[:, 24:].any()
    assert torch.equal(BasicBlock(16, 16, stride=1).shortcut(x), x)


@pytest.mark.parametrize("classifier", ["linear", "cosine"])
def test_forward_shapes_and_gradient_reaches_every_parameter(classifier: str) -> None:
    model = lt.models.resnet8(7, classifier)
    images = torch.randn(5, 3, 32, 32)
    assert model.features(images).shape == (5, 64)
    F.cross_entropy(model(images), torch.arange(5)).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_cosine_classifier_is_the_cosine() -> None:
    head = lt.models.CosineClassifier(6, 4, scale=3.0).double()
    x = torch.randn(5, 6, dtype=torch.float64)
    expected = 3.0 * F.cosine_similarity(x[:, None, :], head.weight[None], dim=2)
    torch.testing.assert_close(head(x), expected)
    torch.testing.assert_close(head(7.0 * x), expected)  # the feature's length does not matter


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_cosines_stay_float32_under_autocast_and_within_one(dtype: torch.dtype) -> None:
    head = lt.models.CosineClassifier(64, 10)
    with torch.autocast("cpu", dtype=dtype):
        cosines = head(torch.randn(32, 64).to(dtype))
    assert cosines.dtype == torch.float32
    assert cosines.abs().max() <= 1 + 1e-6


def test_zero_feature_gives_zero_cosines_and_a_finite_gradient() -> None:
    head = lt.models.CosineClassifier(4, 3)
    x = torch.zeros(1, 4, requires_grad=True)
    head(x).sum().backward()
    assert torch.isfinite(x.grad).all()


def test_seed_fixes_the_initial_weights() -> None:
    lt.set_seed(3)
    one = lt.models.resnet8(10, "cosine").state_dict()
    lt.set_seed(3)
    two = lt.models.resnet8(10, "cosine").state_dict()
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_classifier_init_is_ldam_drws_or_pytorchs_own_and_touches_nothing_else() -> None:
    lt.set_seed(3)
    default = lt.models.resnet32(classifier_init="default").state_dict()
    # LDAM-DRW's network draws the classifier last, so its weights are what the generator gives next.
    kaiming_weight = torch.nn.init.kaiming_normal_(torch.empty(100, 64))
    lt.set_seed(3)
    kaiming = lt.models.resnet32().state_dict()
    assert [key for key in kaiming if not torch.equal(kaiming[key], default[key])] == ["classifier.weight"]
    assert torch.equal(kaiming["classifier.weight"], kaiming_weight)
    assert kaiming_weight.std().item() == pytest.approx((2 / 64) ** 0.5, rel=0.03)  # .177
    weight = default["classifier.weight"]
    assert weight.std().item() == pytest.approx((3 * 64) ** -0.5, rel=0.03)  # .072
    assert 0.12 < weight.abs().max() <= 0.125


def test_classifier_init_does_nothing_to_a_cosine_classifier() -> None:
    states = []
    for classifier_init in lt.models.CLASSIFIER_INITS:
        lt.set_seed(3)
        states.append(lt.models.resnet8(10, "cosine", classifier_init=classifier_init).state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_unknown_classifier_and_bad_scale_are_named() -> None:
    with pytest.raises(ValueError, match="classifier is 'arc'; allowed are 'linear', 'cosine'"):
        lt.models.resnet8(10, "arc")
    with pytest.raises(ValueError, match="classifier_init is 'zeros'; allowed are 'kaiming', 'default'"):
        lt.models.resnet8(10, classifier_init="zeros")
    with pytest.raises(ValueError, match="scale is 0"):
        lt.models.resnet8(10, "cosine", scale=0)


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, True])
def test_bad_seed_is_named(seed: object) -> None:
    with pytest.raises(ValueError, match="seed is"):
        lt.set_seed(seed)
