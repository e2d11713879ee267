"""Class probabilities of samplers against drawing, against arithmetic, and their input checks."""

from __future__ import annotations

import pytest
import torch

from lt_core.data import SAMPLERS, class_counts, class_probabilities
from lt_core.data.sampling import draw

COUNTS = [500, 50, 10]
TEN = class_counts(10, 500, 100)
TARGETS = torch.arange(10).repeat_interleave(torch.tensor(TEN))
DRAWN = [name for name in SAMPLERS if name != "uniform"]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_sums_to_one(sampler: str) -> None:
    shares = class_probabilities(COUNTS, sampler, progress=0.3 if sampler == "progressive" else None)
    assert shares.shape == (3,)
    assert shares.dtype == torch.float64
    assert shares.sum().item() == pytest.approx(1)
    assert bool((shares > 0).all())


def test_by_hand() -> None:
    assert class_probabilities(COUNTS, "uniform").tolist() == pytest.approx([500 / 560, 50 / 560, 10 / 560])
    assert class_probabilities(COUNTS).tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3])
    assert class_probabilities([100, 25, 1], "sqrt").tolist() == pytest.approx([10 / 16, 5 / 16, 1 / 16])
    assert class_probabilities([100, 25, 1], "reverse").tolist() == pytest.approx([0.01 / 1.05, 0.04 / 1.05, 1 / 1.05])


def test_progressive_goes_from_uniform_to_class_balanced() -> None:
    ends = [class_probabilities(COUNTS, "progressive", progress) for progress in (0, 1)]
    torch.testing.assert_close(ends[0], class_probabilities(COUNTS, "uniform"))
    torch.testing.assert_close(ends[1], class_probabilities(COUNTS, "class_balanced"))
    middle = class_probabilities(COUNTS, "progressive", 0.5)
    torch.testing.assert_close(middle, sum(ends) / 2)


def test_visits_of_an_epoch_on_cifar100_lt() -> None:
    counts = class_counts(imbalance_factor=100)
    n = torch.tensor(counts, dtype=torch.float64)
    visits = {name: class_probabilities(counts, name) * n.sum() / n for name in ("class_balanced", "sqrt", "reverse")}
    assert [round(v[-1].item(), 1) for v in visits.values()] == [21.7, 5.6, 95.1]
    assert visits["class_balanced"][0].item() == pytest.approx(0.217, abs=1e-3)
    for sampler, expected in visits.items():
        drawn = torch.multinomial(
            class_probabilities(counts, sampler), 200_000, replacement=True, generator=torch.Generator().manual_seed(0)
        )
        found = torch.bincount(drawn, minlength=100) / 200_000
        assert (found - expected * n / n.sum()).abs().max().item() < 0.003


def test_counts_may_be_a_mapping() -> None:
    torch.testing.assert_close(class_probabilities({1: 1, 0: 3}, "uniform"), torch.tensor([0.75, 0.25]).double())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([5, 0],), "class_counts"),
        (([5, 1], "balanced"), "sampler"),
        (([5, 1], "progressive"), "progress is missing"),
        (([5, 1], "progressive", 1.5), "progress"),
        (([5, 1], "sqrt", 0.5), "only the sampler 'progressive'"),
    ],
)
def test_bad_input(arguments: tuple, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        class_probabilities(*arguments)


@pytest.mark.parametrize("name", DRAWN)
def test_an_epoch_has_as_many_images_as_the_data_and_each_class_its_share(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    epochs = [draw(name, TARGETS, TEN, 0.5, generator) for _ in range(40)]
    assert all(len(index) == len(TARGETS) for index in epochs)
    shares = TARGETS[torch.cat(epochs)].bincount(minlength=10).double() / (40 * len(TARGETS))
    expected = class_probabilities(TEN, name, 0.5 if name == "progressive" else None)
    assert (shares - expected).abs().max() < 5 * (expected.max() / (40 * len(TARGETS))).sqrt()


@pytest.mark.parametrize("name", DRAWN)
def test_images_of_a_class_are_equally_likely(name: str) -> None:
    generator = torch.Generator().manual_seed(1)
    index = torch.cat([draw(name, TARGETS, TEN, 0.5, generator) for _ in range(60)])
    times = index.bincount(minlength=len(TARGETS)).double()
    for label in (0, 5, 9):
        own = times[label == TARGETS]
        assert own.min() > 0 or label == 0
        spread = (own - own.mean()).square().sum() / own.mean()  # a chi-square statistic
        assert spread < len(own) + 6 * (2 * len(own)) ** 0.5


def test_uniform_is_a_permutation() -> None:
    index = draw("uniform", TARGETS, TEN, 0.0, torch.Generator().manual_seed(0))
    assert torch.equal(index.sort().values, torch.arange(len(TARGETS)))


def test_under_sampling_draws_an_image_once_a_round_and_anew_in_the_next() -> None:
    targets, counts = torch.tensor([0] * 30 + [1] * 6), [30, 6]
    index = draw("under", targets, counts, 0.0, torch.Generator().manual_seed(0))
    rounds = index.split(12)
    assert [len(r) for r in rounds] == [12, 12, 12]
    for one in rounds:
        assert targets[one].bincount().tolist() == [6, 6]
        assert len(one.unique()) == 12
    heads = [set(r[targets[r] == 0].tolist()) for r in rounds]
    assert heads[0] != heads[1]
