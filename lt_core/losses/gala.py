r"""Gradient-aware logit adjustment: a prior learned from accumulated gradients (chapter 07).

On one sample the positive gradient, :math:`1 - \tilde p_y` on the target's row, equals the sum of the
negative gradients :math:`\tilde p_j` on the other rows. The accumulated positives :math:`\theta_k` of class k
and the negatives :math:`\phi_k` that the samples of class k cause are therefore one vector, and one buffer is
kept.
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from lt_core.losses._common import (
    Loss,
    Weight,
    as_index,
    as_weight,
    cross_entropy,
    is_kept,
    reduce_losses,
    target_mask,
)
from lt_core.validation import (
    REDUCTIONS,
    check_choice,
    check_logits,
    check_number,
    check_whole,
    checks_values,
    in_transform,
    short,
    upcast,
)

FORMS = ("released", "formula")
ACCUMULATE = ("double", "single")


def gala_logits(
    logits: Tensor,
    targets: Tensor,
    theta: Tensor,
    lambda_pos: float = 1.0,
    lambda_neg: float = 1.0,
    form: str = "released",
    eps: float = 1e-3,
) -> Tensor:
    r"""Logits adjusted by accumulated gradients, with :math:`\phi = \theta`.

    .. math::
        \texttt{released:}\quad \tilde z_j = z_j + \lambda_+ \log(\theta_j + \epsilon)

        \texttt{formula:}\quad \tilde z_j = z_j + \lambda_+ \log(\theta_j + \epsilon)
        - \lambda_- \log(\theta_y + \epsilon) \;\text{ for } j \neq y, \quad \tilde z_y = z_y

    The released code also subtracts :math:`\lambda_- \log(\phi_y + \epsilon)` from every logit of the row. A
    softmax does not see a constant, so that term is left out here, and ``lambda_neg`` changes nothing in this
    form. The two forms have the same softmax where :math:`\lambda_+ = \lambda_-`; otherwise their gaps
    :math:`\tilde z_j - \tilde z_y` differ by :math:`(\lambda_+ - \lambda_-) \log(\theta_y + \epsilon)`.

    Args:
        logits: (N, C) floating point.
        targets: (N,) int64 in [0, C), or -100; the released form does not depend on them.
        theta: accumulated gradients (C,), at least 0.
        lambda_pos: :math:`\lambda_+`, at least 0.
        lambda_neg: :math:`\lambda_-`, at least 0.
        form: "released" or "formula".
        eps: :math:`\epsilon` inside every logarithm, above 0.

    Returns:
        Adjusted logits (N, C); float32 for half-precision logits, else their dtype.

    Raises:
        ValueError: a wrong shape, a label outside [0, C) that is not -100, a NaN logit, a negative theta, a bad option.
        TypeError: logits or theta that are not floating point, targets that are not int64, an option of the wrong type.

    Source:
        The formula in the GALA repository (formula.svg), and its released code.

    Example:
        >>> import torch, lt_core as lt
        >>> logits, targets, theta = torch.zeros(1, 3), torch.tensor([0]), torch.tensor([1.0, 1.0, 9.0])
        >>> lt.losses.gala_logits(logits, targets, theta, form="formula")
        tensor([[0.0000, 0.0000, 2.1963]])
    """
    options = _checked(lambda_pos, lambda_neg, form, eps)
    check_logits(logits, targets)
    _check_theta(theta, logits.shape[1])
    return _adjust(upcast(logits), targets, theta, *options)


def gala_loss(
    logits: Tensor,
    targets: Tensor,
    theta: Tensor,
    lambda_pos: float = 1.0,
    lambda_neg: float = 1.0,
    form: str = "released",
    eps: float = 1e-3,
    weight: Weight = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Cross-entropy on `gala_logits`, with the accumulated gradients given and constant.

    .. math::
        \ell = w_y \operatorname{CE}(\tilde z, y), \qquad
        \frac{\partial \ell}{\partial z_j} = w_y\,(\tilde p_j - 1[j = y]), \quad
        \tilde p = \operatorname{softmax}(\tilde z)

    Args:
        logits: (N, C) floating point.
        targets: (N,) int64 in [0, C), or -100 for a sample to leave out.
        theta: accumulated gradients (C,), at least 0.
        lambda_pos: at least 0.
        lambda_neg: at least 0; without effect in the released form.
        form: "released" or "formula".
        eps: above 0.
        weight: class weights (C,), at least 0, or None.
        reduction: "mean" (divided by the sum of the samples' weights), "sum" or "none".

    Returns:
        A scalar, or (N,) with ``reduction="none"``; float32 for half-precision logits, else their dtype.

    Raises:
        ValueError: a wrong shape, a label outside [0, C) that is not -100, a NaN logit, a negative theta, a bad option.
        TypeError: logits or theta that are not floating point, targets that are not int64, an option of the wrong type.

    Example:
        >>> import torch, lt_core as lt
        >>> logits, targets, theta = torch.zeros(1, 2), torch.tensor([1]), torch.tensor([3.0, 1.0])
        >>> round(lt.losses.gala_loss(logits, targets, theta, eps=1e-9).item(), 4)  # log 4
        1.3863
    """
    options = _checked(lambda_pos, lambda_neg, form, eps)
    reduction = check_choice("reduction", reduction, REDUCTIONS)
    check_logits(logits, targets)
    _check_theta(theta, logits.shape[1])
    weights = as_weight(weight, logits.shape[1])
    adjusted = _adjust(upcast(logits), targets, theta, *options)
    return cross_entropy(adjusted, targets, weights, reduction)


class GALALoss(Loss):
    r"""`gala_loss` with accumulators that it updates after every training step.

    The loss of step t uses :math:`\theta` of step t - 1. Then, in training mode and with gradients enabled, with
    :math:`G_k = \frac1B \sum_{i: y_i = k} (1 - \tilde p_{i,y_i})` over the batch of size B,

    .. math::
        S \leftarrow S + G, \qquad
        \theta \leftarrow \theta + S \;(\texttt{double}) \quad\text{or}\quad
        \theta \leftarrow S \;(\texttt{single})

    so that "double" is :math:`\theta(t) = \sum_{u \le t} (t - u + 1)\, G(u)`, as in the released code, and
    "single" the plain sum. :math:`G` is divided by the batch size whatever ``reduction``, and ``weight`` does
    not enter it. In eval mode the accumulators are frozen and still applied. At :math:`\theta = 0` the
    released form is cross-entropy.

    The gradient is that of `gala_loss`: the accumulators are constants.

    Only what trains is counted, and once. Under `torch.no_grad` and inside `torch.func` transforms :math:`\theta` is
    read, not written. A sample with the label -100, and one whose residual is not finite (a logit overflowed, and a
    gradient scaler will skip the step), is neither in the sum nor in B; the finite samples of such a step count.
    Recomputation by activation checkpointing does not count again, and the gradient is that of the first computation;
    with ``use_reentrant=True``, where the first computation runs without gradients, the recomputation is what counts.

    Args:
        num_classes: C, at least 2.
        lambda_pos: at least 0.
        lambda_neg: at least 0; without effect in the released form.
        form: "released" or "formula".
        accumulate: "double" or "single".
        eps: above 0; it bounds how far apart the logarithms can be in the first steps.
        weight: class weights (C,), at least 0, or None; kept as the buffer ``weight``.
        reduction: "mean", "sum" or "none".

    Attributes:
        gradient_sum: buffer S, (C,).
        theta: buffer :math:`\theta`, (C,). Both are float32 or wider, in the state dict, and 0 at the start.

    Shape:
        logits (N, C) float, targets (N,) int64 in [0, C), or -100 for a sample to leave out; a scalar, or (N,) with
        ``reduction="none"``.

    Raises:
        ValueError: a wrong shape, a label outside [0, C) that is not -100, a NaN logit, a bad option.
        TypeError: logits that are not floating point, targets that are not int64, an option of the wrong type.

    Source:
        "Gradient-Aware Logit Adjustment Loss for Long-tailed Classifier", arXiv:2403.09036, its repository's
        formula.svg (form "formula") and released code (form "released", accumulate "double").

    Example:
        >>> import torch, lt_core as lt
        >>> loss = lt.losses.GALALoss(num_classes=2)
        >>> logits, targets = torch.zeros(4, 2), torch.tensor([0, 0, 0, 1])
        >>> round(loss(logits, targets).item(), 4)  # log 2: the first step is cross-entropy
        0.6931
        >>> loss.theta
        tensor([0.3750, 0.1250])
    """

    gradient_sum: Tensor
    theta: Tensor

    def __init__(
        self,
        num_classes: int,
        lambda_pos: float = 1.0,
        lambda_neg: float = 1.0,
        form: str = "released",
        accumulate: str = "double",
        eps: float = 1e-3,
        weight: Weight = None,
        reduction: str = "mean",
    ) -> None:
        num_classes = check_whole("num_classes", num_classes, low=2)
        super().__init__(num_classes, weight, reduction)
        self.lambda_pos, self.lambda_neg, self.form, self.eps = _checked(lambda_pos, lambda_neg, form, eps)
        self.accumulate = check_choice("accumulate", accumulate, ACCUMULATE)
        self.register_buffer("gradient_sum", torch.zeros(num_classes, dtype=torch.float32))
        self.register_buffer("theta", torch.zeros(num_classes, dtype=torch.float32))

    @property
    def phi(self) -> Tensor:
        """Accumulated negative gradients; they are ``theta``, because on each sample they add up to the positive."""
        return self.theta

    def log_theta(self) -> Tensor:
        r"""A copy of :math:`\log(\theta + \epsilon)`, (C,): what :math:`\lambda_+` multiplies."""
        return torch.log(self.theta + self.eps)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        check_logits(logits, targets, self.num_classes)
        compiling = torch.compiler.is_compiling()
        counts = self.training and torch.is_grad_enabled() and (compiling or not in_transform())
        # Activation checkpointing would recompute what the backward pass needs, from a theta that has moved on: what
        # the loss saves is kept as it is, whatever hooks are set around it.
        with saved_tensors_hooks(_as_it_is, _as_it_is) if counts and not compiling else nullcontext():
            losses = self._losses(upcast(logits), targets)
            result = reduce_losses(losses, targets, self.weight, self.reduction)
        if not counts:
            return result
        values = losses.detach()
        if compiling or torch._C._current_graph_task_id() == -1:
            self._accumulate(values, targets)
        elif losses.requires_grad:
            # Inside a backward pass, so this is a recomputation. Without reentrant autograd the first computation has
            # been counted, and this graph is thrown away. With it the first ran under `no_grad`, and this graph is
            # differentiated: then it counts.
            losses.register_hook(lambda _: self._accumulate(values, targets))
        return result

    def _losses(self, scores: Tensor, targets: Tensor) -> Tensor:
        adjusted = _adjust(scores, targets, self.theta, self.lambda_pos, self.lambda_neg, self.form, self.eps)
        return cross_entropy(adjusted, targets, None, "none")

    def _accumulate(self, losses: Tensor, targets: Tensor) -> None:
        # New tensors, not in-place updates: a compiled backward pass recomputes log(theta) from the buffer, and would
        # read the updated one.
        with torch.no_grad():
            self.gradient_sum = self.gradient_sum + self._batch_residuals(losses, targets)
            self.theta = self.theta + self.gradient_sum if self.accumulate == "double" else self.gradient_sum.clone()

    def _batch_residuals(self, losses: Tensor, targets: Tensor) -> Tensor:
        """The batch's G (C,), from its unweighted losses (N,).

        In a run of several processes the two parts of the quotient, residuals and batch size, are summed over them, so
        that every process adds the G of the whole batch.
        """
        residuals = -torch.expm1(-losses).to(self.theta)  # 1 - p_y, since the loss is -log p_y
        seen = is_kept(targets) & torch.isfinite(residuals)
        # A masked sum rather than a scatter: deterministic on every device.
        own = target_mask(targets, len(self.theta)) & seen[:, None]
        parts = torch.cat([torch.where(own, residuals[:, None], 0.0).sum(dim=0), seen.sum(dim=0, keepdim=True)])
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(parts)
        return parts[:-1] / parts[-1].clamp(min=1)

    def extra_repr(self) -> str:
        lambdas = f"lambda_pos={self.lambda_pos}, lambda_neg={self.lambda_neg}"
        options = f"form={self.form!r}, accumulate={self.accumulate!r}, eps={self.eps}"
        return f"num_classes={self.num_classes}, {lambdas}, {options}, {super().extra_repr()}"


def _adjust(
    scores: Tensor,
    targets: Tensor,
    theta: Tensor,
    lambda_pos: float,
    lambda_neg: float,
    form: str,
    eps: float,
) -> Tensor:
    log_theta = torch.log(theta.detach() + eps).to(scores.dtype)
    if form == "released":
        return scores + lambda_pos * log_theta
    offsets = lambda_pos * log_theta - lambda_neg * log_theta[as_index(targets)][:, None]
    return scores + torch.where(target_mask(targets, scores.shape[1]), 0.0, offsets)


def _as_it_is(tensor: Tensor) -> Tensor:
    return tensor


def _checked(lambda_pos: float, lambda_neg: float, form: str, eps: float) -> tuple[float, float, str, float]:
    return (
        check_number("lambda_pos", lambda_pos, low=0.0),
        check_number("lambda_neg", lambda_neg, low=0.0),
        check_choice("form", form, FORMS),
        check_number("eps", eps, low=0.0, open_low=True),
    )


def _check_theta(theta: Tensor, num_classes: int) -> None:
    if not isinstance(theta, Tensor) or not theta.is_floating_point():
        kind = theta.dtype if isinstance(theta, Tensor) else type(theta).__name__
        raise TypeError(f"theta is {kind}; a floating-point tensor of shape ({num_classes},) is needed")
    if theta.shape != (num_classes,):
        raise ValueError(f"theta has shape {tuple(theta.shape)}; ({num_classes},) is needed")
    if checks_values() and not bool((torch.isfinite(theta) & (theta >= 0)).all()):
        raise ValueError(f"theta is {short(theta.tolist())}; accumulated gradients are finite and at least 0")
