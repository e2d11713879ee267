"""SMOTE and its borderline form: where synthetic samples lie, between whom, how many, and who is skipped."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lt_core.data.oversampling import borderline_smote, smote

COUNTS = [30, 12, 6, 3, 2, 1]


def blobs(spread: float = 1.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    targets = torch.arange(6).repeat_interleave(torch.tensor(COUNTS))
    own = torch.Generator().manual_seed(seed)
    centres = 3 * torch.randn(6, 4, generator=own, dtype=torch.float64)
    return centres[targets] + spread * torch.randn(54, 4, generator=own, dtype=torch.float64), targets


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def neighbours(own: Tensor, i: int, k: int) -> list[int]:
    order = sorted((float((own[i] - own[j]).norm()), j) for j in range(len(own)) if j != i)
    return [j for _, j in order[:k]]


def segments_of(point: Tensor, own: Tensor, k: int, starts: range | list[int]) -> list[tuple[int, int]]:
    """The pairs of a sample and one of its k nearest whose segment the point lies on."""
    found = []
    for i in starts:
        for j in neighbours(own, i, k):
            way = own[j] - own[i]
            u = float((point - own[i]) @ way / (way @ way))
            if -1e-9 <= u < 1 + 1e-9 and float((own[i] + u * way - point).norm()) < 1e-9:
                found.append((i, j))
    return found


def test_all_classes_become_as_large_as_the_largest_and_the_given_come_first() -> None:
    x, y = blobs()
    more, labels = smote(x, y, COUNTS, generator())
    assert labels.bincount().tolist() == [30] * 6
    assert torch.equal(more[:54], x)
    assert torch.equal(labels[:54], y)
    again, _ = smote(x, y, COUNTS, generator())
    assert torch.equal(more, again)
    assert not torch.equal(more, smote(x, y, COUNTS, generator(1))[0])


def test_a_synthetic_sample_lies_between_a_sample_and_one_of_its_nearest_in_the_class() -> None:
    x, y = blobs()
    more, labels = smote(x, y, COUNTS, generator(), neighbors=3)
    for c in (1, 2, 3, 4):
        own, k = x[y == c], min(3, COUNTS[c] - 1)
        pairs = [segments_of(point, own, k, range(len(own))) for point in more[54:][labels[54:] == c]]
        assert all(pairs)
        assert len({pair for found in pairs for pair in found}) > 1


def test_a_class_of_one_is_repeated() -> None:
    x, y = blobs()
    more, labels = smote(x, y, COUNTS, generator())
    assert more[labels == 5].eq(x[y == 5]).all()


def test_samples_that_are_not_negative_stay_so() -> None:
    x, y = blobs()
    assert smote(x.relu(), y, COUNTS, generator())[0].min() >= 0


def test_every_sample_and_every_step_has_the_same_chance() -> None:
    """Two points: half of the segments begin at each, and the steps are uniform, so the samples are uniform too."""
    x, y = torch.tensor([[0.0]] * 8002), torch.zeros(8002, dtype=torch.int64)
    x[-2:], y[-2:] = torch.tensor([[0.0], [1.0]]), 1
    made = smote(x, y, [8000, 2], generator())[0][8002:, 0]
    assert made.mean().item() == pytest.approx(0.5, abs=0.02)
    assert made.var().item() == pytest.approx(1 / 12, abs=0.005)


def border_by_hand(x: Tensor, y: Tensor, c: int, m: int) -> list[int]:
    members = (y == c).nonzero().squeeze(1).tolist()
    found = []
    for place, i in enumerate(members):
        others = sum(int(y[j]) != c for j in neighbours(x, i, m))
        if m / 2 <= others < m:
            found.append(place)
    return found


@pytest.mark.parametrize("m", [4, 5, 10])
def test_borderline_samples_start_at_the_border_and_the_other_classes_are_named(m: int) -> None:
    x, y = blobs(spread=2.5)
    more, labels, skipped = borderline_smote(x, y, COUNTS, generator(), surroundings=m)
    borders = {c: border_by_hand(x, y, c, m) for c in range(1, 6)}
    assert set(skipped) == {c for c, found in borders.items() if not found}
    assert 0 < len(skipped) < 5
    for c, border in borders.items():
        made = more[54:][labels[54:] == c]
        assert len(made) == (30 - COUNTS[c] if border else 0)
        assert all(segments_of(point, x[y == c], min(5, COUNTS[c] - 1), border) for point in made)


def test_an_isolated_class_and_a_class_among_others_are_skipped() -> None:
    x = torch.cat([torch.randn(20, 2), torch.full((4, 2), 100.0) + torch.randn(4, 2), torch.zeros(1, 2)])
    y = torch.tensor([0] * 20 + [1] * 4 + [2])
    more, _, skipped = borderline_smote(x, y, [20, 4, 1], generator(), surroundings=3)
    assert skipped == (1, 2)  # safe, and noise
    assert len(more) == 25


def test_bad_input_is_named() -> None:
    x, y = blobs()
    for function in (smote, borderline_smote):
        with pytest.raises(ValueError, match="neighbors is 0"):
            function(x, y, COUNTS, generator(), neighbors=0)
        with pytest.raises(ValueError, match="class_counts are not those of targets"):
            function(x, y, [30, 12, 6, 3, 1, 2], generator())
    with pytest.raises(ValueError, match="surroundings is 0"):
        borderline_smote(x, y, COUNTS, generator(), surroundings=0)
