"""Two images in one: mixup and Remix, as shares of the first image and of its label."""

from __future__ import annotations

import torch
from torch import Tensor

from lt_core.validation import check_choice

MIXINGS = ("none", "mixup", "remix")
REMIX_RATIO, REMIX_SHARE = 3.0, 0.5  # kappa and tau of Remix


def mixing_shares(count: int, batch_size: int, generator: torch.Generator) -> Tensor:
    """Share of the first image in each mixture, (count,) float32 in [0, 1]: one draw a batch, as in released code."""
    batches = -(-count // batch_size)
    # Beta(1, 1) is uniform; another alpha would need torch.distributions, which takes no generator.
    shares = torch.rand(batches, generator=generator)
    return shares.repeat_interleave(batch_size)[:count]


def label_shares(kind: str, shares: Tensor, targets: Tensor, class_counts: Tensor) -> Tensor:
    r"""Share of the first image's label in a mixture's label.

    mixup keeps the image's share. Remix gives the whole label to the rarer class where it is rare enough,

    .. math::
        \lambda_y = 0 \text{ if } n_a / n_b \ge \kappa \text{ and } \lambda < \tau, \qquad
        \lambda_y = 1 \text{ if } n_a / n_b \le 1 / \kappa \text{ and } 1 - \lambda < \tau, \qquad
        \lambda_y = \lambda \text{ else,}

    with :math:`\kappa = 3` and :math:`\tau = 1/2`.

    Args:
        kind: "mixup" or "remix".
        shares: (B,) in [0, 1], of the first images.
        targets: (B, 2) int64, the labels of both images.
        class_counts: (C,) on the same device.

    Returns:
        (B,) in [0, 1].

    Source:
        Zhang et al., ICLR 2018; Chou et al., "Remix: Rebalanced Mixup", ECCV workshops 2020, Eq. 5.

    Example:
        >>> label_shares("remix", torch.tensor([0.4, 0.6]), torch.tensor([[0, 1], [0, 1]]), torch.tensor([90, 10]))
        tensor([0.0000, 0.6000])
    """
    if check_choice("mixing", kind, MIXINGS[1:]) == "mixup":
        return shares
    counts = class_counts.to(shares)[targets]
    ratio = counts[:, 0] / counts[:, 1]
    to_second = (ratio >= REMIX_RATIO) & (shares < REMIX_SHARE)
    to_first = (ratio <= 1 / REMIX_RATIO) & (1 - shares < REMIX_SHARE)
    return torch.where(to_second, 0.0, torch.where(to_first, 1.0, shares))
