"""Samplers: their probabilities, what an epoch then holds, and bad input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lt_core.data import class_counts
from lt_core.data.sampling import SAMPLERS, class_probabilities, draw

COUNTS = class_counts(10, 500, 100)
TARGETS = torch.arange(10).repeat_interleave(torch.tensor(COUNTS))
DRAWN = [name for name in SAMPLERS if name != "uniform"]


def rates(name: str, progress: float = 0.0) -> np.ndarray:
    n = np.array(COUNTS, dtype=float)
    balanced, natural = np.full(10, 0.1), n / n.sum()
    return {
        "uniform": natural,
        "class_balanced": balanced,
        "under": balanced,
        "sqrt": n**0.5 / (n**0.5).sum(),
        "reverse": (n.max() / n) / (n.max() / n).sum(),
        "progressive": (1 - progress) * natural + progress * balanced,
    }[name]


@pytest.mark.parametrize("progress", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("name", SAMPLERS)
def test_probabilities_are_the_papers(name: str, progress: float) -> None:
    found = class_probabilities(name, COUNTS, progress)
    np.testing.assert_allclose(found, rates(name, progress), rtol=1e-12)


@given(st.sampled_from(SAMPLERS), st.lists(st.integers(1, 900), min_size=2, max_size=20), st.floats(0, 1))
def test_probabilities_sum_to_one_and_ignore_the_order_of_the_classes(
    name: str, counts: list[int], progress: float
) -> None:
    found = class_probabilities(name, counts, progress)
    assert found.sum() == pytest.approx(1.0)
    assert (found > 0).all()
    np.testing.assert_allclose(class_probabilities(name, counts[::-1], progress), found[::-1])


@pytest.mark.parametrize("name", DRAWN)
def test_an_epoch_has_as_many_images_as_the_data_and_each_class_its_share(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    epochs = [draw(name, TARGETS, COUNTS, 0.5, generator) for _ in range(40)]
    assert all(len(index) == len(TARGETS) for index in epochs)
    shares = TARGETS[torch.cat(epochs)].bincount(minlength=10).numpy() / (40 * len(TARGETS))
    expected = rates(name, 0.5)
    np.testing.assert_allclose(shares, expected, atol=5 * np.sqrt(expected.max() / (40 * len(TARGETS))))


@pytest.mark.parametrize("name", DRAWN)
def test_images_of_a_class_are_equally_likely(name: str) -> None:
    generator = torch.Generator().manual_seed(1)
    index = torch.cat([draw(name, TARGETS, COUNTS, 0.5, generator) for _ in range(60)])
    times = index.bincount(minlength=len(TARGETS)).double()
    for label in (0, 5, 9):
        own = times[label == TARGETS]
        assert own.min() > 0 or label == 0
        spread = (own - own.mean()).square().sum() / own.mean()  # a chi-square statistic
        assert spread < len(own) + 6 * (2 * len(own)) ** 0.5


def test_uniform_is_a_permutation() -> None:
    index = draw("uniform", TARGETS, COUNTS, 0.0, torch.Generator().manual_seed(0))
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


def test_the_repeats_that_the_book_counts() -> None:
    """How often an image of the rarest class comes in an epoch of CIFAR100-LT at factor 100."""
    counts = class_counts()
    n, total = np.array(counts), sum(counts)
    repeats = {name: total * class_probabilities(name, counts)[-1] / n[-1] for name in ("class_balanced", "sqrt")}
    assert repeats["class_balanced"] == pytest.approx(21.7, abs=0.05)
    assert repeats["sqrt"] == pytest.approx(5.6, abs=0.05)
    assert total * class_probabilities("reverse", counts)[-1] / n[-1] == pytest.approx(95, abs=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("random", COUNTS), "sampler is 'random'; allowed are 'uniform'"),
        (("sqrt", [3, 0]), "class_counts"),
        (("progressive", COUNTS, 1.5), r"progress is 1.5; allowed is a finite number in \[0, 1\]"),
    ],
)
def test_bad_input_is_named(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        class_probabilities(*arguments)
