"""SMOTE and Borderline-SMOTE: synthetic samples between a class's own, up to the size of the largest class."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lt_core.validation import check_counts, check_whole


def smote(
    features: Tensor,
    targets: Tensor,
    class_counts: Sequence[int],
    generator: torch.Generator,
    neighbors: int = 5,
) -> tuple[Tensor, Tensor]:
    r"""Add synthetic samples until every class is as large as the largest.

    .. math:: \tilde x = x_i + u\,(x_j - x_i), \qquad u \sim U[0, 1)

    with :math:`x_i` a sample of the class and :math:`x_j` one of its k nearest neighbours in the class; k is the
    smaller of ``neighbors`` and :math:`n - 1`. Sample, neighbour and u are drawn anew for each synthetic sample. A
    class of one sample has no neighbour and is repeated.

    Args:
        features: (N, d) floating point, on the CPU.
        targets: (N,) int64, on the CPU.
        class_counts: C counts; those of ``targets``.
        generator: a CPU generator.
        neighbors: at least 1.

    Returns:
        Features and targets: those given, then the synthetic ones by class; C times the largest count in all.

    Raises:
        ValueError, TypeError: a bad number of neighbours, or counts that are not those of ``targets``.

    Source:
        Chawla et al., "SMOTE: Synthetic Minority Over-sampling Technique", JAIR 2002; as imbalanced-learn does it,
        which refuses classes of at most k samples.

    Example:
        >>> features, targets = torch.tensor([[0.0], [1.0], [2.0], [7.0], [9.0]]), torch.tensor([0, 0, 0, 1, 1])
        >>> more, labels = smote(features, targets, [3, 2], torch.Generator().manual_seed(0))
        >>> labels.tolist(), bool(7 <= more[5] <= 9)
        ([0, 0, 0, 1, 1, 1], True)
    """

    def everyone(label: int, members: Tensor) -> Tensor:
        return torch.arange(len(members))

    return _enlarged(features, targets, class_counts, generator, neighbors, everyone)


def borderline_smote(
    features: Tensor,
    targets: Tensor,
    class_counts: Sequence[int],
    generator: torch.Generator,
    neighbors: int = 5,
    surroundings: int = 10,
) -> tuple[Tensor, Tensor, tuple[int, ...]]:
    r"""SMOTE from the samples at a class's border alone.

    A sample is at the border where at least half, but not all, of its m nearest neighbours among the samples of all
    classes are of other classes. Its partners on a segment are neighbours in its own class, as in `smote`
    ("borderline-1"). A class without such a sample stays as small as it is.

    Args:
        features, targets, class_counts, generator, neighbors: as in `smote`.
        surroundings: m, at least 1; where there are not so many other samples, all of them.

    Returns:
        Features and targets as `smote` gives them, and the classes that were skipped.

    Raises:
        ValueError, TypeError: as `smote`, or a bad ``surroundings``.

    Source:
        Han, Wang and Mao, "Borderline-SMOTE", ICIC 2005; as imbalanced-learn does it for several classes.

    Example:
        >>> x, y = torch.tensor([[0.0], [0.1], [0.2], [0.3], [5.0], [5.1]]), torch.tensor([0, 0, 0, 0, 1, 1])
        >>> borderline_smote(x, y, [4, 2], torch.Generator().manual_seed(0), surroundings=1)[2]
        (1,)
    """
    m = min(check_whole("surroundings", surroundings, 1), len(targets) - 1)
    skipped = []

    def border(label: int, members: Tensor) -> Tensor:
        around = _nearest(features[members], features, members, m)
        others = (targets[around] != label).sum(1)
        found = ((2 * others >= m) & (others < m)).nonzero().squeeze(1)
        if not len(found):
            skipped.append(label)
        return found

    more, labels = _enlarged(features, targets, class_counts, generator, neighbors, border)
    return more, labels, tuple(skipped)


def _enlarged(
    features: Tensor,
    targets: Tensor,
    class_counts: Sequence[int],
    generator: torch.Generator,
    neighbors: int,
    starts: Callable[[int, Tensor], Tensor],
) -> tuple[Tensor, Tensor]:
    """All classes at the size of the largest; ``starts`` says at which of a class's members the segments begin."""
    check_whole("neighbors", neighbors, 1)
    counts = check_counts(class_counts)
    if torch.bincount(targets, minlength=len(counts)).tolist() != list(counts):
        raise ValueError("class_counts are not those of targets")
    parts, labels = [features], [targets]
    for label, count in enumerate(counts):
        missing = max(counts) - count
        members = (targets == label).nonzero().squeeze(1)
        begins = starts(label, members) if missing else members[:0]
        if not len(begins):
            continue
        own, k = features[members], min(neighbors, count - 1)
        partners = _nearest(own[begins], own, begins, k) if k else begins[:, None]
        picks = torch.randint(partners.numel(), (missing,), generator=generator)
        rows, columns = picks // partners.shape[1], picks % partners.shape[1]
        steps = torch.rand(missing, 1, generator=generator, dtype=features.dtype)
        origins = own[begins[rows]]
        parts.append(origins + steps * (own[partners[rows, columns]] - origins))
        labels.append(torch.full((missing,), label))
    return torch.cat(parts), torch.cat(labels)


def _nearest(points: Tensor, others: Tensor, places: Tensor, k: int) -> Tensor:
    """Indices (M, k) of the k nearest ``others`` of each point; ``places`` says where the points themselves are."""
    distances = torch.cdist(points, others, compute_mode="donot_use_mm_for_euclid_dist")
    distances[torch.arange(len(points)), places] = torch.inf  # a sample is no neighbour of itself
    return distances.topk(k, dim=1, largest=False).indices
