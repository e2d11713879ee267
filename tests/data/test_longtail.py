"""Class profiles, the canonical subset and the container."""

from __future__ import annotations

import dataclasses
import hashlib
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lt_core.data import LongTailedData, class_counts, counts_in_order, longtail_indices, synthetic
from lt_core.data.longtail import indices_beyond

TOTALS = {200: 9502, 100: 10847, 50: 12608, 10: 19573}
CHECKSUMS = {  # SHA-256 of the canonical positions in CIFAR-100's training set as little-endian int64
    200: "2f00ccd33da379d5e64ce9442512a16e9e1eb3f1bb3a90316aac08c69a441157",
    100: "e0d58a4d2700c46062da852554e5d185bbee74d3c612b052ea2a839bdadf939e",
    50: "561fa940cc7d3551d441643e310c7e439bf84f86b7863a3f7364963522d2984a",
    10: "b4fbf1bf0a7f33381467493f50b953ce21b03a2b6d45b0d5e8da5d95d9ffd736",
}
LABELS = np.random.default_rng(3).permutation(np.repeat(np.arange(10), 60))  # 60 images of each of 10 classes


def literal_subset(labels: np.ndarray, counts: list[int], seed: int) -> np.ndarray:
    """The subset as released: the global generator is seeded once, then shuffles class after class."""
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    kept = []
    for label, count in zip(np.unique(labels), counts, strict=True):
        positions = np.where(labels == label)[0]
        np.random.shuffle(positions)  # noqa: NPY002
        kept.extend(positions[:count].tolist())
    np.random.set_state(state)  # noqa: NPY002
    return np.array(kept)


@pytest.mark.parametrize(("factor", "total"), TOTALS.items())
def test_cifar100_totals(factor: int, total: int) -> None:
    assert sum(class_counts(100, 500, factor)) == total


@pytest.mark.parametrize(
    ("factor", "groups"), [(200, (30, 31, 39)), (100, (35, 35, 30)), (50, (41, 41, 18)), (10, (69, 31, 0))]
)
def test_cifar100_shot_groups(factor: int, groups: tuple[int, int, int]) -> None:
    counts = class_counts(100, 500, factor)
    assert (sum(n > 100 for n in counts), sum(20 <= n <= 100 for n in counts), sum(n < 20 for n in counts)) == groups


def test_imbalance_200_ends_at_two_images() -> None:
    counts = class_counts(100, 500, 200)
    assert (counts[0], counts[-1]) == (500, 2)


@pytest.mark.parametrize(("factor", "last"), [(10, 500), (20, 250), (50, 100), (100, 50), (200, 25)])
def test_cifar10_last_class(factor: int, last: int) -> None:
    assert class_counts(10, 5000, factor)[-1] == last


@given(st.integers(2, 120), st.integers(1, 300))
def test_a_whole_quotient_is_not_rounded_down(factor: int, last: int) -> None:
    assert class_counts(7, factor * last, factor)[-1] == last


@given(st.integers(2, 150), st.integers(1, 2000), st.floats(1, 2000))
def test_exponential_profile(num_classes: int, max_count: int, factor: float) -> None:
    if factor > max_count:
        with pytest.raises(ValueError, match="imbalance_factor is"):
            class_counts(num_classes, max_count, factor)
        return
    counts = class_counts(num_classes, max_count, factor)
    assert len(counts) == num_classes
    assert counts[0] == max_count
    assert all(a >= b >= 1 for a, b in pairwise(counts))
    assert max_count / factor - 1 < counts[-1] <= max_count / factor * (1 + 1e-9)


@pytest.mark.parametrize("num_classes", [2, 5, 10, 100])
def test_other_profiles(num_classes: int) -> None:
    half = num_classes // 2
    assert class_counts(num_classes, 500, 30, "step") == [500] * half + [16] * (num_classes - half)
    assert class_counts(num_classes, 500, 30, "balanced") == [500] * num_classes
    assert class_counts(num_classes, 500, 1) == [500] * num_classes


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"num_classes": 1}, ValueError, "num_classes is 1"),
        ({"num_classes": 10.0}, TypeError, "num_classes is 10.0"),
        ({"max_count": 0}, ValueError, "max_count is 0"),
        ({"max_count": True}, TypeError, "max_count is True"),
        ({"imbalance_factor": 0.5}, ValueError, "imbalance_factor is 0.5"),
        ({"imbalance_factor": float("nan")}, ValueError, "imbalance_factor is nan"),
        ({"imbalance_factor": 501}, ValueError, "imbalance_factor is 501; allowed is at most max_count = 500"),
        ({"imbalance_factor": "100"}, TypeError, "imbalance_factor is '100'"),
        ({"profile": "pareto"}, ValueError, "profile is 'pareto'; allowed are 'exp', 'step', 'balanced'"),
        ({"imbalance_factor": 501, "profile": "step"}, ValueError, "rarest class would have no image"),
    ],
)
def test_class_counts_refuses(options: dict, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        class_counts(**options)


@given(st.permutations(range(8)))
def test_class_order_moves_counts_to_labels(order: list[int]) -> None:
    profile = class_counts(8, 100, 50)
    by_label = counts_in_order(profile, order)
    assert [by_label[label] for label in order] == profile
    assert counts_in_order(profile, None) == profile


@pytest.mark.parametrize("order", [[0, 1], [0, 1, 1], [0, 1, 3], [1, 2, 3], [-1, 0, 1], [0, 1, 2, 3]])
def test_class_order_must_be_a_permutation(order: list[int]) -> None:
    words = r"class_order is .* a permutation of 0, ..., 2|a label of class_order is (-1|3); .* in \[0, 2\]"
    with pytest.raises(ValueError, match=words):
        counts_in_order([9, 3, 1], order)


def test_class_order_of_other_kinds() -> None:
    for order in (np.array([2, 0, 1]), torch.tensor([2, 0, 1]), range(2, -1, -1)):
        expected = counts_in_order([9, 3, 1], [int(label) for label in order])
        found = counts_in_order(np.array([9, 3, 1]), order)
        assert found == expected
        assert {type(count) for count in found} == {int}
    with pytest.raises(TypeError, match=r"a label of class_order is 2\.0 of type float"):
        counts_in_order([9, 3, 1], [2.0, 0.0, 1.0])
    with pytest.raises(ValueError, match=r"counts\[1\] is 0"):
        counts_in_order([9, 0, 1], None)


def test_numpy_numbers_give_plain_ones() -> None:
    counts = class_counts(np.int64(10), np.int32(100), np.float64(20), "exp")
    assert counts == class_counts(10, 100, 20)
    assert {type(count) for count in counts} == {int}
    kept = [longtail_indices(LABELS, [5] * 10, seed).tolist() for seed in (np.int64(3), 3)]
    assert kept[0] == kept[1]
    data = synthetic(np.int64(3), np.int64(9), np.float64(3), np.int64(2), np.uint32(1))
    assert data.class_counts == [9, 5, 3]
    replaced = dataclasses.replace(data, class_counts=np.array(data.class_counts))
    assert replaced.class_counts == [9, 5, 3]
    assert {type(count) for count in replaced.class_counts} == {int}


def test_messages_do_not_list_thousands_of_classes() -> None:
    order = list(range(8142))
    for wrong in ([*order[:-1], 0], order[:-1], [*order, 8141]):
        with pytest.raises(ValueError, match="class_order") as caught:
            counts_in_order([3] * 8142, wrong)
        assert len(str(caught.value)) < 200


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 60), min_size=10, max_size=10))
def test_subset_equals_the_literal_one(seed: int, counts: list[int]) -> None:
    indices = longtail_indices(LABELS, counts, seed)
    assert indices.dtype == np.int64
    assert indices.tolist() == literal_subset(LABELS, counts, seed).tolist()


@given(st.lists(st.integers(1, 60), min_size=10, max_size=10))
def test_subset_has_the_counts_and_no_duplicates(counts: list[int]) -> None:
    indices = longtail_indices(LABELS, counts)
    assert np.bincount(LABELS[indices], minlength=10).tolist() == counts
    assert len(set(indices.tolist())) == len(indices)
    assert (np.diff(LABELS[indices]) >= 0).all()  # class by class


@given(st.integers(0, 1000), st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), min_size=10, max_size=10))
def test_smaller_counts_take_prefixes(seed: int, pairs: list[tuple[int, int]]) -> None:
    first, second = ([p[i] for p in pairs] for i in (0, 1))
    a, b = longtail_indices(LABELS, first, seed), longtail_indices(LABELS, second, seed)
    for label, pair in enumerate(pairs):
        n = min(pair)
        assert a[LABELS[a] == label][:n].tolist() == b[LABELS[b] == label][:n].tolist()


def test_subset_depends_on_the_seed_and_leaves_the_global_generator_alone() -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    a, b = longtail_indices(LABELS, [6] * 10, seed=0), longtail_indices(LABELS, [6] * 10, seed=1)
    assert a.tolist() != b.tolist()
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


def test_subset_takes_lists_arrays_and_tensors() -> None:
    expected = longtail_indices(LABELS, [5] * 10).tolist()
    assert longtail_indices(LABELS.tolist(), [5] * 10).tolist() == expected
    assert longtail_indices(torch.from_numpy(LABELS), [5] * 10).tolist() == expected
    assert longtail_indices(LABELS.astype(np.uint8), [5] * 10).tolist() == expected


@pytest.mark.parametrize(
    ("targets", "counts", "options", "error", "words"),
    [
        ([0, 0, 1], [2, 2], {}, ValueError, r"counts\[1\] is 2; targets holds only 1"),
        ([0, 0], [1, 1], {}, ValueError, r"counts\[1\] is 1; targets holds only 0"),
        ([0, 1], [1, 0], {}, ValueError, r"counts\[1\] is 0"),
        ([0, 1], [1, -1], {}, ValueError, r"counts\[1\] is -1"),
        ([0, 1], [1, 1.5], {}, ValueError, r"counts\[1\] is 1.5"),
        ([0, 1], [1], {}, ValueError, r"counts has shape \(1,\)"),
        ([0, 1, 2], [1, 1], {}, ValueError, r"targets holds the label 2; labels are in \[0, 2\)"),
        ([0, -1, 1], [1, 1], {}, ValueError, "targets holds the label -1"),
        ([0, -100, 1], [1, 1], {}, ValueError, "targets holds the label -100"),
        ([[0], [1]], [1, 1], {}, ValueError, r"targets has shape \(2, 1\)"),
        ([0.0, 1.0], [1, 1], {}, TypeError, "targets holds float64"),
        ([0, 1], [1, 1], {"seed": -1}, ValueError, "seed is -1"),
        ([0, 1], [1, 1], {"seed": 2**32}, ValueError, "seed is 4294967296"),
        ([0, 1], [1, 1], {"seed": None}, TypeError, "seed is None"),
    ],
)
def test_longtail_indices_refuses(targets, counts, options, error, words) -> None:
    with pytest.raises(error, match=words):
        longtail_indices(targets, counts, **options)


def ignored(targets: torch.Tensor) -> torch.Tensor:
    """The labels, with one that PyTorch's losses ignore."""
    return torch.cat([targets[:-1], torch.tensor([-100])])


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda d: {"train_images": d.train_images.float()}, TypeError, "train_images is torch.float32"),
        (lambda d: {"train_images": d.train_images.numpy()}, TypeError, "train_images is ndarray; a uint8 tensor"),
        (lambda d: {"test_images": d.test_images.permute(0, 2, 3, 1)}, ValueError, "test_images has shape"),
        (lambda d: {"test_images": d.test_images[:, :, ::2]}, ValueError, r"\(N, 3, 32, 32\) is needed, as in train"),
        (lambda d: {"train_targets": ignored(d.train_targets)}, ValueError, "train_targets holds the label -100"),
        (lambda d: {"test_targets": ignored(d.test_targets)}, ValueError, "test_targets holds the label -100"),
        (lambda d: {"train_targets": d.train_targets[1:]}, ValueError, "train_targets has shape"),
        (lambda d: {"train_targets": d.train_targets.int()}, TypeError, "train_targets is torch.int32"),
        (lambda d: {"test_targets": d.test_targets + 1}, ValueError, "test_targets holds the label 12"),
        (lambda d: {"class_counts": [*d.class_counts[:-1], 4]}, ValueError, r"class_counts\[11\] is 4; .* holds 3"),
        (lambda d: {"class_names": d.class_names[1:]}, ValueError, "class_names has 11 names"),
        (lambda d: {"superclasses": ["a"]}, ValueError, "superclasses has 1 names"),
    ],
)
def test_container_refuses_what_does_not_fit(change, error, words) -> None:
    data = synthetic()
    with pytest.raises(error, match=words):
        dataclasses.replace(data, **change(data))


def test_container_is_frozen() -> None:
    data = synthetic()
    assert isinstance(data, LongTailedData)
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize("seed", [0, 3])
def test_what_lies_beyond_a_subset_is_the_end_of_each_shuffle(seed: int) -> None:
    whole = longtail_indices(LABELS, [60] * 10, seed).reshape(10, 60)
    assert indices_beyond(LABELS, 45, seed).tolist() == whole[:, 45:].ravel().tolist()
    assert indices_beyond(LABELS, -7, seed).tolist() == whole[:, -7:].ravel().tolist()
    assert not set(indices_beyond(LABELS, -7, seed)) & set(longtail_indices(LABELS, [53] * 10, seed))


def test_the_held_out_images_are_checked_and_count_in_the_digest() -> None:
    data = synthetic()
    held_out = dataclasses.replace(data, meta_images=data.test_images, meta_targets=data.test_targets)
    assert (data.meta_images, data.meta_targets) == (None, None)
    assert held_out.digest != data.digest
    with pytest.raises(ValueError, match="meta_targets has shape"):
        dataclasses.replace(data, meta_images=data.test_images, meta_targets=data.test_targets[1:])
    with pytest.raises(TypeError, match="meta_images is torch"):
        dataclasses.replace(data, meta_images=data.test_images.double(), meta_targets=data.test_targets)


@pytest.fixture(scope="module")
def cifar100_labels(cifar_root) -> np.ndarray:
    from torchvision.datasets import CIFAR100

    return np.array(CIFAR100(cifar_root, train=True).targets)


@pytest.mark.realdata
@pytest.mark.parametrize("factor", CHECKSUMS)
def test_canonical_subset_of_cifar100(factor: int, cifar100_labels: np.ndarray) -> None:
    counts = class_counts(100, 500, factor)
    indices = longtail_indices(cifar100_labels, counts)
    assert indices.tolist() == literal_subset(cifar100_labels, counts, 0).tolist()
    assert hashlib.sha256(indices.astype("<i8").tobytes()).hexdigest() == CHECKSUMS[factor]


@pytest.mark.realdata
def test_canonical_subsets_are_nested(cifar100_labels: np.ndarray) -> None:
    subsets = [longtail_indices(cifar100_labels, class_counts(100, 500, f)) for f in (200, 100, 50, 10)]
    for small, large in pairwise(subsets):
        assert set(small.tolist()) < set(large.tolist())
        for label in range(100):
            mine, other = (s[cifar100_labels[s] == label].tolist() for s in (small, large))
            assert other[: len(mine)] == mine
