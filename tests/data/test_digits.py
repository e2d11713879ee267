"""Digits-LT: scikit-learn's images, the split, and what a data set promises."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest
import torch
from sklearn.datasets import load_digits

from lt_core.data import DataError, LongTailedData, class_counts, digits_lt, load_dataset
from lt_core.metrics import shot_groups

COUNTS = [124, 74, 44, 26, 16, 9, 5, 3, 2, 1]
CHECKSUMS = {  # SHA-256 of the bytes; labels as little-endian int64
    "train_images": "60f6dd8136badd2a75f1d094c137fdd848a58f762a0702381834caad8f3718c1",
    "train_targets": "444268635a46c7f0ed6a75bf981fd21c5c339c208dbf13f3800f059d2b697b85",
    "test_images": "1fc9f0c1630176508caca944d8deb241f4dcb46d0b18a3d0f73f962159f5498c",
}


@pytest.fixture(scope="module")
def data() -> LongTailedData:
    return digits_lt()


def bitmaps(images: torch.Tensor) -> list[tuple[int, ...]]:
    """The 8 x 8 grey values from 0 to 16 of every image: what scikit-learn has."""
    return [tuple(image.flatten().tolist()) for image in torch.round(images[:, 0, ::2, ::2] * (16 / 255)).long()]


@pytest.mark.parametrize("field", CHECKSUMS)
def test_checksum(field: str, data: LongTailedData) -> None:
    array = getattr(data, field).numpy()
    assert hashlib.sha256(array.astype(array.dtype.newbyteorder("<")).tobytes()).hexdigest() == CHECKSUMS[field]


def test_counts_and_groups(data: LongTailedData) -> None:
    assert data.class_counts == COUNTS
    assert torch.bincount(data.test_targets).tolist() == [50] * 10
    groups = {name: int(mask.sum()) for name, mask in shot_groups(data.class_counts).items()}
    assert (groups["many"], groups["medium"], groups["few"]) == (1, 3, 6)


def test_every_image_is_one_of_scikit_learns_with_its_label(data: LongTailedData) -> None:
    pool = load_digits()
    label = {tuple(map(int, image.ravel())): target for image, target in zip(pool.images, pool.target, strict=True)}
    for images, targets in ((data.train_images, data.train_targets), (data.test_images, data.test_targets)):
        assert [label[bitmap] for bitmap in bitmaps(images)] == targets.tolist()
        assert (images[:, 0] == images[:, 1]).all()
        assert (images[:, 0] == images[:, 2]).all()
        for row, column in ((0, 1), (1, 0), (1, 1)):
            assert (images[:, :, ::2, ::2] == images[:, :, row::2, column::2]).all()
        assert (images.min(), images.max()) == (0, 255)


def test_no_test_image_is_ever_trained_on() -> None:
    whole = digits_lt(1)
    assert whole.class_counts == [124] * 10
    assert not set(bitmaps(whole.train_images)) & set(bitmaps(whole.test_images))


def test_subset_seed_and_imbalance_leave_the_test_images_alone(data: LongTailedData) -> None:
    other, wider = digits_lt(seed=1), digits_lt(40)
    assert torch.equal(other.test_images, data.test_images)
    assert torch.equal(wider.test_images, data.test_images)
    assert not torch.equal(other.train_images, data.train_images)
    for label, count in enumerate(COUNTS):  # a larger count takes a longer prefix
        images = wider.train_images[wider.train_targets == label]
        assert torch.equal(images[:count], data.train_images[data.train_targets == label])


def test_held_out_images_are_balanced_and_neither_trained_on_nor_tested(data: LongTailedData) -> None:
    assert data.meta_images is None
    held_out = load_dataset("digits_lt", meta_per_class=10)
    assert held_out.meta_targets.tolist() == [digit for digit in range(10) for _ in range(10)]
    assert held_out.class_counts == class_counts(10, 114, 100)
    assert len(set(bitmaps(held_out.meta_images))) == 100
    for others in (held_out.train_images, held_out.test_images):
        assert not set(bitmaps(held_out.meta_images)) & set(bitmaps(others))
    assert torch.equal(held_out.test_images, data.test_images)
    for label, count in enumerate(held_out.class_counts):  # what is trained on is today's subset, a little shorter
        images = data.train_images[data.train_targets == label]
        assert torch.equal(held_out.train_images[held_out.train_targets == label], images[:count])


def test_held_out_images_depend_on_the_subset_seed_alone() -> None:
    one, again, wider, other = (
        digits_lt(factor, seed, meta_per_class=5) for factor, seed in ((100, 0), (100, 0), (10, 0), (100, 1))
    )
    assert torch.equal(one.meta_images, again.meta_images)
    assert torch.equal(one.meta_images, wider.meta_images)
    assert not torch.equal(one.meta_images, other.meta_images)
    assert len(digits_lt(1, meta_per_class=123).train_images) == 10  # one of each is left


def test_class_order_keeps_the_labels(data: LongTailedData) -> None:
    turned = load_dataset("digits_lt", class_order=range(9, -1, -1))
    assert turned.class_counts == COUNTS[::-1]
    assert turned.class_names == data.class_names == list("0123456789")
    assert torch.equal(turned.train_images[turned.train_targets == 0], data.train_images[data.train_targets == 0][:1])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"imbalance_factor": 125}, "imbalance_factor is 125; allowed is at most max_count = 124"),
        ({"seed": -1}, "seed is -1"),
        ({"class_order": [0, 1]}, "class_order is"),
        ({"meta_per_class": 124}, r"meta_per_class is 124; allowed is a whole number in \[0, 123\]"),
        ({"meta_per_class": 25}, "imbalance_factor is 100; allowed is at most max_count = 99"),
    ],
)
def test_refuses(options: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        digits_lt(**options)


def test_without_scikit_learn_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(DataError, match="digits_lt needs scikit-learn, which is not installed; pip install scikit-"):
        digits_lt()


def test_scikit_learn_is_loaded_for_this_data_set_only() -> None:
    code = "import sys, lt_core as lt; lt.data.synthetic(); print('sklearn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "False", done.stderr
