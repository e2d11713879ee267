"""What the tests of the book's equations share."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
import torch
from torch import Tensor


def _close(left: Tensor, right: Tensor, tolerance: float) -> bool:
    return left.shape == right.shape and torch.allclose(left, right, rtol=tolerance, atol=tolerance)


@pytest.fixture
def assert_equation() -> Callable[..., None]:
    """``assert_equation(left, right, wrong=[...])``: both sides agree, and every wrong variant of the right differs.

    ``wrong`` holds the right-hand side with a sign flipped (one variant per sign that matters); the negated right-hand
    side is always among them. A test that could not notice a wrong sign therefore fails.
    """

    def check(
        left: Tensor | float, right: Tensor | float, wrong: Iterable[Tensor | float] = (), tolerance: float = 1e-8
    ) -> None:
        left, right = (torch.as_tensor(side, dtype=torch.float64) for side in (left, right))
        assert torch.isfinite(left).all(), "the left side is not finite"
        assert _close(left, right, tolerance), f"the sides differ by {(left - right).abs().max().item():.3g}"
        for number, variant in enumerate([-right, *wrong]):
            variant = torch.as_tensor(variant, dtype=torch.float64)
            assert not _close(left, variant, 1e3 * tolerance), f"wrong variant {number} passes for the equation"

    return check


@pytest.fixture
def generator() -> torch.Generator:
    """Random input of an equation test."""
    return torch.Generator().manual_seed(20261121)
