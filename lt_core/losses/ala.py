r"""Adaptive logit adjustment: a margin from a difficulty factor and a quantity factor (chapter 06)."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from lt_core.losses._common import Counts, Weight, as_index, constant, float_counts, is_kept
from lt_core.losses.ldam import margins_of
from lt_core.losses.margin import CosineMarginLoss, as_cosines, checked, margin_cross_entropy, target_cosines
from lt_core.validation import check_choice, check_cosines, check_number

QUANTITIES = ("log", "log2", "ldam", None)
DIFFICULTIES: tuple[bool | str, ...] = (True, False, "probability")


def quantity_factor(
    class_counts: Counts,
    quantity: str | None = "log",
    dtype: torch.dtype | None = None,
    size: float | None = None,
) -> Tensor:
    r"""The class's part of ALA's margin; larger for rarer classes.

    With :math:`r_c = n_c / \min_k n_k`,

    .. math::
        \texttt{log:}\quad \mathrm{QF}_c &= \frac{1}{\log(r_c + 1)} \\
        \texttt{log2:}\quad \mathrm{QF}_c &= \frac{\log 2}{\log(r_c + 1)} \\
        \texttt{ldam:}\quad \mathrm{QF}_c &= \tfrac12 r_c^{-1/4} \\
        \texttt{None:}\quad \mathrm{QF}_c &= 1

    with the natural logarithm. At a count ratio of 100 "log" runs from 1.443 down to 0.217; "log2" is 1 at the
    rarest class.

    The formulas differ in shape and in size. ``size`` scales the whole factor, so that two shapes can be compared
    at one size: 0.5 is LDAM's, and :math:`1 / \log 2 \approx 1.4427` that of "log".

    Args:
        class_counts: C whole numbers, at least 1 each.
        quantity: "log", "log2", "ldam" or None.
        dtype: of the result; PyTorch's default dtype where None.
        size: the rarest class's factor, above 0; None leaves it as the formula has it. With ``quantity=None`` every
            class's factor is ``size``.

    Returns:
        Factors (C,) on the CPU.

    Raises:
        ValueError: counts that are not positive whole numbers, an unknown ``quantity``, a ``size`` that is not above 0.
        TypeError: counts or ``size`` that are not numbers.

    Source:
        The ALA paper (AAAI 2022), Eq. 7, for "log"; "ldam" is the margin of its Table 4; "log2" is found in a
        third party's code.

    Example:
        >>> import lt_core as lt
        >>> lt.losses.quantity_factor([500, 5])
        tensor([0.2167, 1.4427])
        >>> lt.losses.quantity_factor([500, 5], size=0.5)
        tensor([0.0751, 0.5000])
    """
    return constant(_quantity(float_counts(class_counts), quantity, size), dtype)


def _quantity(counts: NDArray[np.float64], quantity: str | None, size: float | None) -> NDArray[np.float64]:
    quantity = check_choice("quantity", quantity, QUANTITIES)
    ratio = counts / counts.min()
    if quantity == "log":
        factor = 1.0 / np.log(ratio + 1.0)
    elif quantity == "log2":
        factor = math.log(2.0) / np.log(ratio + 1.0)
    elif quantity == "ldam":
        factor = margins_of(counts, 0.5)
    else:
        factor = np.ones_like(ratio)
    if size is None:
        return factor
    return factor * (check_number("size", size, low=0.0, open_low=True) / factor.max())


def difficulty_factor(target_cosines: Tensor, detach: bool = True) -> Tensor:
    r"""The sample's part of ALA's margin, :math:`\mathrm{DF} = (1 - \cos\theta_y) / 2`: 0 easy, 1 hard.

    Args:
        target_cosines: each sample's cosine with its own class, of any shape.
        detach: take DF as a constant when differentiating, as the paper does.

    Returns:
        Factors of the same shape, in [0, 1] for cosines in [-1, 1], which is not checked.

    Source:
        The ALA paper (AAAI 2022), Eq. 6 and the note below it.

    Example:
        >>> import torch, lt_core as lt
        >>> lt.losses.difficulty_factor(torch.tensor([1.0, 0.0, -1.0]))
        tensor([0.0000, 0.5000, 1.0000])
    """
    factor = (1.0 - target_cosines) / 2.0
    return factor.detach() if detach else factor


def ala_loss(
    cosines: Tensor,
    targets: Tensor,
    class_counts: Counts,
    scale: float = 30.0,
    difficulty: bool | str = True,
    quantity: str | None = "log",
    detach: bool = True,
    size: float | None = None,
    weight: Weight = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Cross-entropy on scaled cosines, with a margin for hard samples and rare classes taken off the target.

    .. math::
        \ell = w_y \operatorname{CE}\bigl(s\,(\cos\theta_j - A\,1[j = y])_j,\; y\bigr), \qquad
        A = \mathrm{DF} \cdot \mathrm{QF}_y = \frac{1 - \cos\theta_y}{2}\, \mathrm{QF}_y

    DF is a constant when differentiating, so with :math:`\tilde p` the softmax of the adjusted scores

    .. math::
        \frac{\partial \ell}{\partial \cos\theta_j} = w_y\, s\,(\tilde p_j - 1[j = y]) .

    With ``detach=False`` the target's entry is multiplied by :math:`1 + \mathrm{QF}_y / 2`; the others stay.
    The detached field is the gradient of no function of the cosines.

    The paper names the probability as another measure of difficulty and finds it worse. ``difficulty="probability"``
    is that one, with :math:`p` the softmax of the scores before the adjustment:

    .. math:: \mathrm{DF} = 1 - p_y, \qquad p = \operatorname{softmax}(s \cos\theta)

    With ``detach=False`` it adds :math:`w_y s^2\, \mathrm{QF}_y\, p_y (1 - \tilde p_y)(p_j - 1[j = y])` to entry j.

    Args:
        cosines: (N, C) floating point in [-1, 1]; up to 1.01 in absolute value they are clamped, without a gradient.
        targets: (N,) int64 in [0, C), or -100 for a sample to leave out.
        class_counts: C whole numbers, at least 1 each.
        scale: the factor s, above 0.
        difficulty: True, DF from the cosine; "probability"; or False, no DF: A = QF.
        quantity: "log", "log2", "ldam" or None (see `quantity_factor`); with None A = DF. With neither factor
            there is no adjustment and A = 0: cross-entropy on scaled cosines.
        detach: take DF as a constant when differentiating; False is for the ablation only.
        size: QF of the rarest class, above 0; None leaves it as the formula has it. A ``size`` with
            ``quantity=None`` is a factor too, the same for every class.
        weight: class weights (C,), at least 0, or None.
        reduction: "mean" (divided by the sum of the samples' weights), "sum" or "none".

    Returns:
        A scalar, or (N,) with ``reduction="none"``; float32 for half-precision cosines, else their dtype.

    Raises:
        ValueError: a wrong shape, a label outside [0, C) that is not -100, a NaN, a cosine beyond 1.01 in absolute
            value, a bad option.
        TypeError: cosines that are not floating point, targets that are not int64, an option of the wrong type.

    Source:
        "Adaptive Logit Adjustment Loss for Long-Tailed Visual Recognition", AAAI 2022, Eq. 4-8; the text below Eq. 4
        speaks of the probability and gives no formula for it.

    Example:
        >>> import torch, lt_core as lt
        >>> cosines, targets = torch.tensor([[0.0, 0.0]]), torch.tensor([1])
        >>> round(lt.losses.ala_loss(cosines, targets, [500, 5]).item(), 3)  # close to 30 * 0.5 * 1.443
        21.64
    """
    factors = _class_factors(class_counts, difficulty, quantity, size)
    detach = check_choice("detach", detach, (True, False))
    cosines, scale, weights, reduction = checked(cosines, targets, len(factors), scale, weight, reduction)
    labels = as_index(targets)
    of_samples = constant(factors, cosines.dtype, cosines.device)[labels]
    margins = of_samples * _difficulty(cosines, labels, scale, difficulty, detach)
    return margin_cross_entropy(cosines, targets, margins, scale, weights, reduction)


class ALALoss(CosineMarginLoss):
    """Module form of `ala_loss`.

    Args:
        class_counts: C whole numbers, at least 1 each.
        scale: the factor s, above 0.
        difficulty: the difficulty factor: True, from the cosine; "probability"; or False, none.
        quantity: "log", "log2", "ldam" or None.
        detach: take DF as a constant when differentiating; False is for the ablation only.
        size: the rarest class's quantity factor, above 0; None leaves it as the formula has it.
        weight: class weights (C,), at least 0, or None; kept as the buffer ``weight``.
        reduction: "mean", "sum" or "none".

    Attributes:
        class_factors: buffer (C,), float64: what multiplies DF, the quantity factors;
            zeros where both factors are off.

    Example:
        >>> import lt_core as lt
        >>> lt.losses.ALALoss([500, 5], quantity="log2").class_factors
        tensor([0.1502, 1.0000], dtype=torch.float64)
    """

    class_factors: Tensor

    def __init__(
        self,
        class_counts: Counts,
        scale: float = 30.0,
        difficulty: bool | str = True,
        quantity: str | None = "log",
        detach: bool = True,
        size: float | None = None,
        weight: Weight = None,
        reduction: str = "mean",
    ) -> None:
        factors = _class_factors(class_counts, difficulty, quantity, size)
        super().__init__(len(factors), scale, weight, reduction)
        self.difficulty = check_choice("difficulty", difficulty, DIFFICULTIES)
        self.quantity = check_choice("quantity", quantity, QUANTITIES)
        self.detach = check_choice("detach", detach, (True, False))
        self.size = None if size is None else check_number("size", size)
        self.register_buffer("class_factors", constant(factors, torch.float64), persistent=False)

    def margin(self, cosines: Tensor, targets: Tensor) -> Tensor:
        difficulty = _difficulty(cosines, targets, self.scale, self.difficulty, self.detach)
        return self.class_factors.to(cosines)[targets] * difficulty

    def factors(self, cosines: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """What the loss subtracts from each sample's target cosine, and its two parts.

        Args:
            cosines: (N, C) floating point in [-1, 1].
            targets: (N,) int64 in [0, C), or -100 for a sample to leave out.

        Returns:
            "DF", "QF" and "A", each (N,) and detached. A factor that is switched off is 1; A is what is
            subtracted, 0 where both are off. All three are 0 for a sample with the label -100.
        """
        check_cosines(cosines, targets, self.num_classes)
        with torch.no_grad():
            cosines, labels = as_cosines(cosines), as_index(targets)
            difficulty = _difficulty(cosines, labels, self.scale, self.difficulty, detach=True)
            quantity = self.class_factors.to(cosines)[labels]
            off = self.quantity is None and self.size is None
            factors = {
                "DF": difficulty,
                "QF": torch.ones_like(quantity) if off else quantity,
                "A": quantity * difficulty,
            }
            return {name: torch.where(is_kept(targets), factor, 0.0) for name, factor in factors.items()}

    def extra_repr(self) -> str:
        options = f"difficulty={self.difficulty!r}, quantity={self.quantity!r}, detach={self.detach}, size={self.size}"
        return f"{options}, {super().extra_repr()}"


def _class_factors(
    class_counts: Counts, difficulty: bool | str, quantity: str | None, size: float | None
) -> NDArray[np.float64]:
    factors = _quantity(float_counts(class_counts), quantity, size)
    check_choice("difficulty", difficulty, DIFFICULTIES)
    # Two absent factors are an absent adjustment (first row of the paper's Table 4), not a margin of 1 * 1.
    absent = not difficulty and quantity is None and size is None
    return np.zeros_like(factors) if absent else factors


def _difficulty(cosines: Tensor, targets: Tensor, scale: float, difficulty: bool | str, detach: bool) -> Tensor:
    """DF (N,) of cosines (N, C) in float32 or wider, labels in [0, C); ones where it is switched off."""
    if not difficulty:
        return torch.ones_like(cosines[:, 0])
    if difficulty != "probability":
        return difficulty_factor(target_cosines(cosines, targets), detach)
    # 1 - p_y from -log p_y: as precise at p_y close to 1 as elsewhere.
    seen = cosines.detach() if detach else cosines
    return -torch.expm1(-F.cross_entropy(scale * seen, targets, reduction="none"))
