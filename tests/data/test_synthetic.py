"""The synthetic set: the same everywhere, learnable, and with difficulty that frequency does not explain."""

from __future__ import annotations

import hashlib
import socket
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lt_core.data import LongTailedData, load_dataset, synthetic

CHECKSUMS = {  # SHA-256 of the bytes; labels as little-endian int64
    "train_images": "79bdf919344a2f11e7a7cda6a0744af4274edce7086523662122fd10fc2d35a4",
    "train_targets": "f18effd01e5b50e12a5fa4f09cc9a69d2d82d48f997a4f5a915efefa2fc9b913",
    "test_images": "0b7dffaf81e487cf003783f338a7da6f3b09085fd34293619e7ffe18bc4b890e",
}


@pytest.fixture(scope="module")
def data() -> LongTailedData:
    return synthetic()


@pytest.mark.parametrize("field", CHECKSUMS)
def test_checksum(field: str, data: LongTailedData) -> None:
    array = getattr(data, field).numpy()
    assert hashlib.sha256(array.astype(array.dtype.newbyteorder("<")).tobytes()).hexdigest() == CHECKSUMS[field]


def test_images_do_not_depend_on_global_generators_or_threads(data: LongTailedData) -> None:
    threads = torch.get_num_threads()
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    torch.set_num_threads(threads % 2 + 1)
    try:
        again = synthetic()
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(again.train_images, data.train_images)
    assert torch.equal(again.test_images, data.test_images)


def test_needs_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket, "socket", refuse)
    assert load_dataset("synthetic", root="/nowhere", download=True).class_counts[-1] == 1


def test_subset_seed_draws_from_one_pool(data: LongTailedData) -> None:
    other = synthetic(seed=1)
    assert other.class_counts == data.class_counts
    assert torch.equal(other.test_images, data.test_images)
    rare = [d.train_images[d.train_targets == 11] for d in (data, other)]
    assert not torch.equal(*rare)
    whole = [sorted(image.numpy().tobytes() for image in d.train_images[d.train_targets == 0]) for d in (data, other)]
    assert whole[0] == whole[1]  # the largest class has every picture of the pool


def test_larger_imbalance_takes_prefixes(data: LongTailedData) -> None:
    smaller = load_dataset("synthetic", imbalance_factor=100)
    for label, count in enumerate(smaller.class_counts):
        assert torch.equal(
            smaller.train_images[smaller.train_targets == label],
            data.train_images[data.train_targets == label][:count],
        )


def test_class_order(data: LongTailedData) -> None:
    turned = synthetic(class_order=list(range(11, -1, -1)))
    assert turned.class_counts == data.class_counts[::-1]
    assert turned.class_names == data.class_names
    assert torch.equal(turned.train_images[turned.train_targets == 0], data.train_images[data.train_targets == 0][:3])


def test_no_picture_is_blank_or_twice(data: LongTailedData) -> None:
    images = torch.cat([data.train_images, data.test_images])
    assert images.float().flatten(1).std(1).min() > 5
    assert len({image.numpy().tobytes() for image in images}) == len(images)


@pytest.mark.parametrize("num_classes", [2, 7])
def test_fewer_classes(num_classes: int, data: LongTailedData) -> None:
    few = synthetic(num_classes, max_count=30, imbalance_factor=10, test_per_class=4)
    assert (few.class_counts[0], few.class_counts[-1]) == (30, 3)
    assert few.class_names == data.class_names[:num_classes]
    assert torch.bincount(few.test_targets).tolist() == [4] * num_classes


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_classes": 13}, r"num_classes is 13; allowed is a whole number in \[2, 12\]"),
        ({"num_classes": 1}, "num_classes is 1"),
        ({"max_count": 0}, "max_count is 0"),
        ({"imbalance_factor": 151}, "imbalance_factor is 151"),
        ({"test_per_class": 0}, "test_per_class is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"class_order": [0, 1]}, "class_order is"),
    ],
)
def test_refuses(options: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        synthetic(**options)


@pytest.fixture(scope="module")
def predictions(data: LongTailedData) -> Tensor:
    """Test predictions of a small network after 30 epochs of cross-entropy; a few seconds."""
    torch.manual_seed(1)
    widths = [3, 16, 32, 64]
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [nn.Conv2d(a, b, 3 if a > 3 else 5, 2, 1 if a > 3 else 2), nn.BatchNorm2d(b), nn.ReLU()]
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 12))
    train, test = ((images.float() - 128) / 64 for images in (data.train_images, data.test_images))
    optimizer = torch.optim.SGD(net.parameters(), 0.1, 0.9, weight_decay=5e-4)
    for epoch in range(30):
        optimizer.param_groups[0]["lr"] = 0.1 * (1 - epoch / 30)
        for batch in torch.randperm(len(train)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(train[batch]), data.train_targets[batch]).backward()
            optimizer.step()
    net.eval()
    with torch.no_grad():
        return net(test).argmax(1)


def test_a_network_learns_the_head_and_misses_the_tail(predictions: Tensor, data: LongTailedData) -> None:
    correct = (predictions == data.test_targets).float().view(12, 20).mean(1)
    assert correct.mean() > 0.25  # chance: 0.083
    assert correct[:3].mean() > correct[-4:].mean() + 0.3


def test_difficulty_is_not_frequency(predictions: Tensor, data: LongTailedData) -> None:
    correct = (predictions == data.test_targets).float().view(12, 20).mean(1)
    easy = data.class_names.index("diagonal stripes")
    assert data.class_counts[easy] < 20 < 100 < min(data.class_counts[:2])
    assert correct[easy] > correct[:2].mean()  # rare and easy against frequent and hard
    head = data.test_targets < 2
    wrong = head & (predictions != data.test_targets)
    assert (predictions[wrong] < 2).float().mean() > 0.5  # squares are mistaken for diamonds, and diamonds for squares
