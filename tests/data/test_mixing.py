"""mixup and Remix: the shares of images and of labels."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lt_core.data.mixing import REMIX_RATIO, label_shares, mixing_shares


def test_a_batch_has_one_share_and_they_are_uniform() -> None:
    shares = mixing_shares(10_001 * 3 - 1, 3, torch.Generator().manual_seed(0))
    assert len(shares) == 10_001 * 3 - 1
    batches = list(shares.split(3))
    assert all(len(batch.unique()) == 1 for batch in batches)
    first = torch.stack([batch[0] for batch in batches])
    levels = torch.linspace(0.1, 0.9, 9)
    torch.testing.assert_close(first.quantile(levels), levels, rtol=0, atol=0.02)


def by_hand(share: float, first: int, second: int) -> float:
    """Remix's rule, case by case, for one mixture of images whose classes have so many images."""
    if first >= REMIX_RATIO * second and share < 0.5:
        return 0.0
    if second >= REMIX_RATIO * first and 1 - share < 0.5:
        return 1.0
    return share


@given(st.floats(0, 1, width=32), st.integers(1, 500), st.integers(1, 500))
def test_remix_gives_the_label_to_the_rarer_class(share: float, first: int, second: int) -> None:
    counts, targets = torch.tensor([first, second]), torch.tensor([[0, 1]])
    (found,) = label_shares("remix", torch.tensor([share]), targets, counts).tolist()
    assert found == pytest.approx(by_hand(share, first, second), abs=1e-6)


def test_mixup_keeps_the_share_and_equal_classes_are_as_in_mixup() -> None:
    shares, targets = torch.tensor([0.1, 0.9]), torch.tensor([[0, 1], [1, 0]])
    assert label_shares("mixup", shares, targets, torch.tensor([90, 1])) is shares
    assert torch.equal(label_shares("remix", shares, targets, torch.tensor([50, 50])), shares)


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(ValueError, match="mixing is 'cutmix'; allowed are 'mixup', 'remix'"):
        label_shares("cutmix", torch.ones(1), torch.zeros(1, 2, dtype=torch.int64), torch.ones(2))
