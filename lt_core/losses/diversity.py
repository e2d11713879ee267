r"""How far experts are from their mean, which RIDE makes larger (chapter 14)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lt_core.losses._common import Counts, constant, float_counts
from lt_core.validation import REDUCTIONS, check_choice, check_number, checks_values, upcast


def expert_temperatures(class_counts: Counts, factor: float = 0.05, dtype: torch.dtype | None = None) -> Tensor:
    r"""One temperature a class, highest for the class with most images.

    .. math:: T_c = \frac{f\,C\,\pi_c + 1 - f}{\max_k \,(f\,C\,\pi_k + 1 - f)}

    Args:
        class_counts: C whole numbers, at least 1 each.
        factor: f in [0, 1); 0 gives ones.
        dtype: of the result; PyTorch's default dtype where None.

    Returns:
        Temperatures (C,) in (0, 1], on the CPU.

    Raises:
        ValueError: counts that are not positive whole numbers, a factor outside [0, 1).
        TypeError: counts or factor that are not numbers.

    Source:
        The released code of Wang et al., ICLR 2021, ``RIDELoss``.

    Example:
        >>> import lt_core as lt
        >>> lt.losses.expert_temperatures([90, 10], factor=0.5)
        tensor([1.0000, 0.4286])
    """
    counts = float_counts(class_counts)
    factor = check_number("factor", factor, low=0.0, high=1.0)
    if factor == 1.0:
        raise ValueError("factor is 1; allowed is a number in [0, 1), so that no temperature is near 0")
    raw = factor * len(counts) * counts / counts.sum() + 1 - factor
    return constant(raw / raw.max(), dtype)


def expert_diversity(logits: Tensor, temperatures: Tensor | None = None, reduction: str = "mean") -> Tensor:
    r"""Sum over experts of the divergence from the softmax of their mean logits.

    .. math::
        d = \bar T^2 \sum_k \operatorname{KL}\bigl(\operatorname{softmax}(\bar z / T) \,\|\,
        \operatorname{softmax}(z^k / T)\bigr), \qquad \bar z = \frac{1}{K}\sum_k z^k

    with a temperature for each class and :math:`\bar T` their mean. The released code detaches :math:`\bar z`, which
    changes nothing: the sum over experts has no gradient through it, since :math:`\sum_k (\bar z - z^k) = 0`.

    Args:
        logits: (N, K, C) floating point, of K experts.
        temperatures: (C,) above 0; None for 1 each.
        reduction: "mean" (over N), "sum" or "none".

    Returns:
        A scalar, or (N,) with ``reduction="none"``; float32 for half-precision logits, else their dtype.

    Raises:
        ValueError: a wrong shape, NaN, a temperature that is not above 0, an unknown reduction.
        TypeError: logits that are not floating point.

    Source:
        Wang et al., "Long-tailed Recognition by Routing Diverse Distribution-Aware Experts", ICLR 2021, section 3,
        in the released code's form: its loss has -0.45 times this.

    Example:
        >>> import torch, lt_core as lt
        >>> opposed = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
        >>> round(lt.losses.expert_diversity(opposed).item(), 4)
        0.2402
    """
    reduction = check_choice("reduction", reduction, REDUCTIONS)
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        kind = logits.dtype if isinstance(logits, Tensor) else type(logits).__name__
        raise TypeError(f"logits is {kind}; a floating-point tensor of shape (N, K, C) is needed")
    if logits.ndim != 3:
        raise ValueError(f"logits has shape {tuple(logits.shape)}; (N, K, C) is needed")
    if checks_values() and bool(torch.isnan(logits).any()):
        raise ValueError("logits holds NaN; every value must be a number")
    logits = upcast(logits)
    if temperatures is None:
        temperatures = logits.new_ones(logits.shape[2])
    if temperatures.shape != logits.shape[2:]:
        raise ValueError(f"temperatures has shape {tuple(temperatures.shape)}; ({logits.shape[2]},) is needed")
    if checks_values() and not bool((temperatures > 0).all()):
        raise ValueError(f"temperatures holds {temperatures.min().item():g}; every temperature must be above 0")
    temperatures = temperatures.to(logits)
    of_experts = (logits / temperatures).log_softmax(dim=2)
    of_mean = (logits.detach().mean(dim=1, keepdim=True) / temperatures).softmax(dim=2)
    divergences = F.kl_div(of_experts, of_mean.expand_as(of_experts), reduction="none").sum(dim=(1, 2))
    losses = temperatures.mean() ** 2 * divergences
    if reduction == "none":
        return losses
    return losses.sum() if reduction == "sum" else losses.mean()


class ExpertDiversity(nn.Module):
    """Module form of `expert_diversity`; its buffer ``temperatures`` may be changed between epochs.

    Args:
        num_classes: C; the temperatures start as ones.
        reduction: "mean", "sum" or "none".

    Shape:
        logits (N, K, C) float; a scalar, or (N,) with ``reduction="none"``.

    Example:
        >>> import torch, lt_core as lt
        >>> round(lt.losses.ExpertDiversity(2)(torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])).item(), 4)
        0.2402
    """

    temperatures: Tensor

    def __init__(self, num_classes: int, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = check_choice("reduction", reduction, REDUCTIONS)
        self.register_buffer("temperatures", torch.ones(num_classes))

    def forward(self, logits: Tensor) -> Tensor:
        return expert_diversity(logits, self.temperatures, self.reduction)

    def extra_repr(self) -> str:
        return f"num_classes={len(self.temperatures)}, reduction={self.reduction!r}"
