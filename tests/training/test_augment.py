"""Augmentation: each operation against torchvision, the draws against their probabilities."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import autoaugment as tv

from lt_core.data import augment as aug


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images() -> Tensor:
    return torch.randint(256, (6, 3, 32, 32), dtype=torch.uint8, generator=draw(1))


def within_binomial(hits: int, n: int, p: float) -> bool:
    """Five standard deviations."""
    return abs(hits - n * p) <= 5 * math.sqrt(n * p * (1 - p)) + 1e-9


SIGNS = [(name, sign) for name in [*aug.LEVELS, "AutoContrast", "Equalize", "Invert"]
         for sign in ((1, -1) if name in aug.LEVELS and name not in ("Posterize", "Solarize") else (1,))]  # fmt: skip


@pytest.mark.parametrize(("name", "sign"), SIGNS)
@pytest.mark.parametrize("level", [0, 4, 9])
def test_operation_is_torchvisions(images: Tensor, name: str, sign: int, level: int) -> None:
    """On a batch, our operation equals torchvision's tensor result for one image at the same magnitude and fill."""
    magnitudes, _ = tv.AutoAugment(tv.AutoAugmentPolicy.CIFAR10)._augmentation_space(10, (32, 32))[name]
    theirs = float(magnitudes[level]) if magnitudes.ndim else 0.0
    ours = aug.LEVELS[name][0][level] if name in aug.LEVELS else 0.0
    nearest, fill = InterpolationMode.NEAREST, [aug.FILL] * 3
    expected = [tv._apply_op(image, name, sign * theirs, nearest, fill) for image in images]
    assert torch.equal(aug.apply_operation(images, name, sign * ours), torch.stack(expected))


def test_policy_is_the_papers_and_signs_are_the_released_codes() -> None:
    policy = aug.cifar10_policy()
    assert len(policy) == 25
    assert policy[0] == (("Invert", 0.1, None), ("Contrast", 0.2, 6))
    assert policy[-1] == (("TranslateY", 0.7, 9), ("AutoContrast", 0.9, None))
    signed = {name for name, (_, s) in aug.LEVELS.items() if s}
    assert signed == {"ShearX", "ShearY", "TranslateX", "TranslateY", "Brightness", "Color", "Contrast", "Sharpness"}


def test_subpolicies_operations_and_signs_are_drawn_as_often_as_they_should(monkeypatch: pytest.MonkeyPatch) -> None:
    n = 20_000
    counts: dict[tuple[str, float], int] = {}

    def spy(batch: Tensor, name: str, magnitude: float) -> Tensor:
        key = (name, round(magnitude, 6))
        counts[key] = counts.get(key, 0) + len(batch)
        return batch

    monkeypatch.setattr(aug, "apply_operation", spy)
    aug.autoaugment(torch.zeros(n, 3, 1, 1, dtype=torch.uint8), draw())
    expected: dict[tuple[str, float], float] = {}
    for sub_policy in aug.cifar10_policy():
        for name, probability, level in sub_policy:
            levels, signed = aug.LEVELS.get(name, ([0.0], False))
            for sign in (1, -1) if signed else (1,):
                key = (name, round(sign * levels[level or 0], 6))
                expected[key] = expected.get(key, 0.0) + probability / 25 / (2 if signed else 1)
    for key, probability in expected.items():
        # Colour at level 0 is drawn with either sign of zero: one key.
        assert within_binomial(counts.get(key, 0), n, probability), (key, counts.get(key, 0), n * probability)
    assert set(counts) <= set(expected)
    assert all(magnitude > 0 for name, magnitude in counts if name == "Rotate")


def test_crop_offsets_are_uniform_and_padding_is_black() -> None:
    n = 16_200
    image = torch.arange(32 * 32).remainder(255).add(1).to(torch.uint8).view(1, 1, 32, 32).expand(n, 3, -1, -1)
    padded = torch.nn.functional.pad(image[:1], (4,) * 4)
    windows = {padded[0, 0, y : y + 32, x : x + 32].numpy().tobytes(): (y, x) for y in range(9) for x in range(9)}
    offsets = [windows[crop[0].numpy().tobytes()] for crop in aug.random_crop(image, draw())]
    for place in windows.values():
        assert within_binomial(offsets.count(place), n, 1 / 81)


def test_half_of_the_images_are_mirrored(images: Tensor) -> None:
    many = images[:1].expand(4000, -1, -1, -1)
    flipped = aug.random_flip(many, draw())
    mirrored = (flipped == images[:1].flip(3)).flatten(1).all(1)
    same = (flipped == many).flatten(1).all(1)
    assert (mirrored ^ same).all()
    assert within_binomial(int(mirrored.sum()), 4000, 0.5)


def test_cutout_is_one_clipped_square_with_a_uniform_centre() -> None:
    n = 20_480
    holes = aug.cutout(torch.full((n, 3, 32, 32), 9, dtype=torch.uint8), draw())[:, 0] == 0
    rows, columns = holes.any(2).sum(1), holes.any(1).sum(1)
    assert torch.equal(holes.sum((1, 2)), rows * columns)  # a rectangle
    assert int(rows.max()) == int(columns.max()) == 16
    assert int(rows.min()) == int(columns.min()) == 8  # a centre on the upper edge keeps the lower half
    # The centre hits each of 32 rows equally often; 17 of them leave the square whole.
    assert within_binomial(int((rows == 16).sum()), n, 17 / 32)
    assert within_binomial(int((columns == 8).sum()), n, 1 / 32)


@pytest.mark.parametrize("kind", aug.AUGMENTATIONS)
def test_an_epoch_depends_on_the_seed_alone(images: Tensor, kind: str) -> None:
    before = images.clone()
    first, again = aug.augment(images, kind, draw(5)), aug.augment(images, kind, draw(5))
    assert torch.equal(first, again)
    assert first.dtype == torch.uint8
    assert first.shape == images.shape
    assert torch.equal(images, before), "the data set itself was changed"
    if kind != "none":
        assert not torch.equal(first, aug.augment(images, kind, draw(6)))


def test_normalize_is_torchvisions(images: Tensor) -> None:
    from torchvision.transforms.functional import normalize

    torch.testing.assert_close(aug.Normalize()(images), normalize(images.float() / 255, aug.MEAN, aug.STD))


def test_bad_input_is_named(images: Tensor) -> None:
    with pytest.raises(ValueError, match="augmentation is 'mixup'; allowed are"):
        aug.augment(images, "mixup", draw())
    with pytest.raises(TypeError, match=r"torch\.float32; uint8 is needed"):
        aug.augment(images.float(), "crop_flip", draw())
    with pytest.raises(ValueError, match="operation is 'Swirl'"):
        aug.apply_operation(images, "Swirl", 0.0)
