r"""Adjustments at inference time (chapters 03, 04 and 08)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lt_core.validation import check_counts, check_number, check_probabilities, check_scores, upcast


def adjust_logits(logits: Tensor, class_counts: Sequence[int] | Mapping[int, int] | Tensor, tau: float = 1.0) -> Tensor:
    r"""Take the log of the training prior off the logits of a model trained with plain cross-entropy.

    .. math:: \tilde z_j = z_j - \tau \log \frac{n_j}{\sum_k n_k}

    On top of a loss that already adjusts (balanced softmax, logit-adjusted, GALA) this corrects twice.

    Args:
        logits: (N, C) floating point.
        class_counts: the training set's C counts, whole numbers, at least 1 each; a mapping from the label and a pandas
            Series are aligned by their labels.
        tau: strength, at least 0.

    Returns:
        Adjusted logits (N, C); float32 for half-precision logits, else their dtype.

    Raises:
        ValueError: a wrong shape, a NaN logit, a bad count or tau.
        TypeError: logits that are not floating point, an option of the wrong type.

    Source:
        Menon et al., "Long-tail learning via logit adjustment", ICLR 2021, Eq. 9.

    Example:
        >>> import torch, lt_core as lt
        >>> lt.posthoc.adjust_logits(torch.zeros(1, 2), [3, 1])
        tensor([[0.2877, 1.3863]])
    """
    counts = check_counts(class_counts)
    tau = check_number("tau", tau, low=0.0)
    check_scores(logits)
    if logits.shape[1] != len(counts):
        raise ValueError(f"logits has {logits.shape[1]} columns; class_counts has {len(counts)} classes")
    scores, total = upcast(logits), sum(counts)
    # In Python's float64: the device may have none.
    log_prior = [tau * math.log(count / total) for count in counts]
    return scores - torch.tensor(log_prior, dtype=scores.dtype, device=scores.device)


def rebalance_predictions(probabilities: Tensor, tau: float = 1.0) -> Tensor:
    r"""Divide each class's predictions by a power of their sum over the set of samples given.

    .. math:: \tilde p_{ij} = \frac{p_{ij}}{\bigl(\sum_k p_{kj}\bigr)^\tau}

    Rows are not renormalised: only their order is used. The result of one sample depends on all the others
    (the method is transductive), so pass the whole test set at once; it assumes that the classes are equally
    frequent there.

    Args:
        probabilities: (N, C) floating point in [0, 1], rows summing to 1. A column whose sum is 0 is an
            error: the model gives that class to no sample, and nothing can be said about it.
        tau: strength, at least 0; 0 changes nothing.

    Returns:
        Re-balanced scores (N, C), at least 0; float32 for half-precision probabilities, else their dtype.

    Raises:
        ValueError: a wrong shape, no rows, values outside [0, 1], rows that do not sum to 1, a column of
            zeros, a bad tau.
        TypeError: probabilities that are not floating point, a tau that is no number.

    Source:
        GALA, arXiv:2403.09036, post-hoc prediction re-balancing, as in its released code.

    Example:
        >>> import torch, lt_core as lt
        >>> probabilities = torch.tensor([[0.9, 0.1], [0.7, 0.3]])
        >>> lt.posthoc.rebalance_predictions(probabilities).argmax(dim=1)
        tensor([0, 1])
    """
    tau = check_number("tau", tau, low=0.0)
    check_probabilities(probabilities)
    values = upcast(probabilities)
    sums = values.sum(dim=0)
    if bool((sums == 0).any()):
        empty = int((sums == 0).nonzero()[0])
        raise ValueError(
            f"probabilities[:, {empty}] is 0 in every row; every class needs a positive sum"
            " (`rebalance_logits` takes the logits, where nothing is rounded to 0)"
        )
    return values / sums**tau


def rebalance_logits(logits: Tensor, tau: float = 1.0) -> Tensor:
    r"""`rebalance_predictions` of the logits' softmax, in log space: no column is ever zero.

    .. math::
        \log \tilde p_{ij} = \log p_{ij} - \tau \log \sum_k p_{kj}, \qquad p_i = \operatorname{softmax}(z_i)

    A network that gives a class to no sample, a collapsed one say, has probabilities that are rounded to 0; its
    log-probabilities are finite. The softmax of a row of the result is the row of re-balanced scores, renormalised.

    Args:
        logits: (N, C) floating point and finite, the whole test set at once.
        tau: strength, at least 0; 0 gives the log-softmax.

    Returns:
        Logarithms of the re-balanced scores (N, C); float32 for half-precision logits, else their dtype.

    Raises:
        ValueError: a wrong shape, no rows, a logit that is not finite, a bad tau.
        TypeError: logits that are not floating point, an option of the wrong type.

    Source:
        As `rebalance_predictions`.

    Example:
        >>> import torch, lt_core as lt
        >>> logits = torch.tensor([[800.0, 0.0], [900.0, 0.0]])  # class 1 has a probability of 0 in float64
        >>> lt.posthoc.rebalance_logits(logits).argmax(dim=1)
        tensor([1, 0])
    """
    tau = check_number("tau", tau, low=0.0)
    check_scores(logits)
    if logits.shape[0] < 1 or logits.shape[1] < 2:
        raise ValueError(f"logits has shape {tuple(logits.shape)}; (N, C) with N >= 1 and C >= 2 is needed")
    infinite = torch.isinf(logits)
    if bool(infinite.any()):
        raise ValueError(f"logits holds {logits[infinite][0].item()}; every value must be finite")
    log_p = torch.log_softmax(upcast(logits), dim=1)
    return log_p - tau * torch.logsumexp(log_p, dim=0)


def tau_normalize(weight: Tensor, tau: float = 1.0) -> Tensor:
    r"""Divide each row of a linear classifier by a power of its norm.

    .. math:: \tilde w_c = \frac{w_c}{\lVert w_c \rVert_2^\tau}

    The classifier is then used without its bias.

    Args:
        weight: rows of the classifier, (C, d) floating point; no row of zeros.
        tau: strength, at least 0; 0 changes nothing, 1 gives unit rows.

    Returns:
        Normalised rows (C, d); float32 for half-precision rows, else their dtype.

    Raises:
        ValueError: a wrong shape, a row that is zero or not finite, a bad tau.
        TypeError: a weight that is not floating point, a tau that is no number.

    Source:
        Kang et al., "Decoupling Representation and Classifier for Long-Tailed Recognition", ICLR 2020,
        section 4.3.

    Example:
        >>> import torch, lt_core as lt
        >>> lt.posthoc.tau_normalize(torch.tensor([[3.0, 4.0], [0.0, 2.0]]))
        tensor([[0.6000, 0.8000],
                [0.0000, 1.0000]])
    """
    tau = check_number("tau", tau, low=0.0)
    if not isinstance(weight, Tensor) or not weight.is_floating_point():
        kind = weight.dtype if isinstance(weight, Tensor) else type(weight).__name__
        raise TypeError(f"weight is {kind}; a floating-point tensor of shape (C, d) is needed")
    if weight.ndim != 2:
        raise ValueError(f"weight has shape {tuple(weight.shape)}; (C, d) is needed")
    rows = upcast(weight)
    norms = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    wrong = ~(torch.isfinite(norms) & (norms > 0)).squeeze(1)
    if bool(wrong.any()):
        c = int(wrong.nonzero()[0])
        raise ValueError(f"weight[{c}] has norm {norms[c].item():g}; every row needs a finite norm above 0")
    return rows / norms**tau
