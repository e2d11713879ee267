"""`Rebalance`: what a post-hoc adjustment takes from the head and gives to the tail (chapter 08)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import traitlets
from torch import Tensor

from lt_core.metrics import shot_accuracy
from lt_core.posthoc import adjust_logits, rebalance_predictions
from lt_core.records import LOG_STEP
from lt_core.validation import as_counts, check_choice, check_number, check_probabilities, check_targets
from lt_core.widgets.base import Explorer, choice, number, source, style

METHODS = ("rebalance", "adjust")
MAX_TAU = 2.0


class Rebalance(Explorer):
    r"""Column masses, and accuracy by shot group, of recorded predictions under a post-hoc adjustment of strength τ.

    The reader changes τ, the method and the run. The probabilities are rounded as records keep them, to steps of
    0.08 nats, and everything shown and returned here is computed from the rounded ones: an accuracy may differ by 0.1
    to 0.3 points from that of the full precision. The page gets, for each image, the classes that win at some τ in
    [0, 2] under one of the two methods: 2 to 3 of a hundred, about 65 KB for 10,000 images.

    Args:
        probabilities: (N, C) floating point in [0, 1], rows summing to 1, every column with a positive sum; or a
            mapping of names to such tensors, predictions of several runs for the same samples. C is at most 255.
        targets: labels (N,) int64 in [0, C).
        class_counts: the *training* set's C counts, whole numbers, at least 1 each.
        class_names: C names, or nothing.
        run: name of the run that is shown; None is the first.
        method: "rebalance" (`lt_core.posthoc.rebalance_predictions`) or "adjust" (`lt_core.posthoc.adjust_logits`).
        tau: strength in [0, 2].

    Raises:
        ValueError: a wrong shape, no run, values that are no probabilities, a label outside [0, C), a bad count, an
            unknown run or method, a tau outside its range, names that are not C.
        TypeError: a value of the wrong type.

    Source:
        GALA, arXiv:2403.09036, post-hoc prediction re-balancing, as in its released code; Menon et al., "Long-tail
        learning via logit adjustment", ICLR 2021, Eq. 9.

    Example:
        >>> import torch, lt_core as lt
        >>> probabilities = torch.tensor([[0.9, 0.1], [0.7, 0.3]])
        >>> widget = lt.widgets.Rebalance(probabilities, torch.tensor([0, 1]), class_counts=[500, 5])
        >>> widget
        Rebalance(run='the model', method='rebalance', tau=1.0)
        >>> widget.accuracy()
        {'all': 1.0, 'many': 1.0, 'medium': None, 'few': 1.0}
    """

    _esm = source("rebalance.js")
    _css = style()
    settings = ("run", "method", "tau")

    run = traitlets.Unicode().tag(sync=True)
    method = choice("rebalance", METHODS)
    tau = number(1.0, low=0.0, high=MAX_TAU)
    runs = traitlets.List(traitlets.Unicode()).tag(sync=True)
    class_counts = traitlets.List(traitlets.Int()).tag(sync=True)
    class_names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    # For each run, the sum of each column of its probabilities.
    column_sums = traitlets.List(traitlets.List(traitlets.Float())).tag(sync=True)
    # One byte each: the labels (N); then for each run the images' numbers of candidates (N), the candidates' classes,
    # image by image and in rising order, and how many steps each lies below its image's most probable class.
    candidates = traitlets.Bytes().tag(sync=True)
    num_images = traitlets.Int().tag(sync=True)
    log_step = traitlets.Float(LOG_STEP).tag(sync=True)

    def __init__(
        self,
        probabilities: Tensor | Mapping[str, Tensor],
        targets: Tensor,
        class_counts: Sequence[int] | Tensor,
        class_names: Sequence[str] = (),
        run: str | None = None,
        method: str = "rebalance",
        tau: float = 1.0,
    ) -> None:
        named = probabilities if isinstance(probabilities, Mapping) else {"the model": probabilities}
        counts = as_counts(class_counts)
        _check(named, targets, len(counts))
        if class_names and len(class_names) != len(counts):
            raise ValueError(f"class_names has {len(class_names)} names; {len(counts)} are needed")
        check_choice("method", method, METHODS)
        check_number("tau", tau, low=0.0, high=MAX_TAU)
        run = next(iter(named)) if run is None else run
        check_choice("run", run, list(named))
        self._targets = targets.cpu()
        self._steps = {name: _steps(values) for name, values in named.items()}
        sums = {name: _probabilities(steps).sum(0) for name, steps in self._steps.items()}
        prior = (counts / counts.sum()).log()
        packed = [_pack(steps, [sums[name].log(), prior]) for name, steps in self._steps.items()]
        super().__init__(
            run=run,
            method=method,
            tau=tau,
            runs=list(named),
            class_counts=[int(n) for n in counts],
            class_names=list(class_names),
            column_sums=[values.tolist() for values in sums.values()],
            candidates=b"".join([_bytes(self._targets), *packed]),
            num_images=len(targets),
        )

    @traitlets.validate("run")
    def _known(self, proposal: Any) -> Any:
        check_choice("run", proposal["value"], self.runs)
        return proposal["value"]

    @property
    def probabilities(self) -> Tensor:
        """Probabilities (N, C), float64, of the chosen run, as rounded for the page."""
        return _probabilities(self._steps[self.run])

    def predictions(self) -> Tensor:
        """Predicted labels (N,), int64, of the chosen run after the chosen method."""
        if self.method == "rebalance":
            return rebalance_predictions(self.probabilities, self.tau).argmax(1)
        return adjust_logits(self.probabilities.log(), self.class_counts, self.tau).argmax(1)

    def accuracy(self) -> dict[str, float | None]:
        """`lt_core.metrics.shot_accuracy` of `predictions`: "all", "many", "medium" and "few", in [0, 1]."""
        return shot_accuracy(self.predictions(), self._targets, self.class_counts)

    def column_masses(self) -> Tensor:
        """Sum of each class's scores (C,), float64, rows not renormalised, scaled to a mean of 1: what is drawn."""
        sums = self.probabilities.sum(0)
        divisor = sums if self.method == "rebalance" else torch.tensor(self.class_counts, dtype=torch.float64)
        masses = sums / divisor**self.tau
        return masses / masses.mean()


def _check(named: Mapping[str, Tensor], targets: Tensor, num_classes: int) -> None:
    """Raise unless ``named`` holds probabilities of the same samples for ``num_classes`` classes."""
    if not named:
        raise ValueError("probabilities is an empty mapping; at least one run is needed")
    if num_classes > 255:
        raise ValueError(f"class_counts has {num_classes} classes; at most 255 can be shown")
    for key, values in named.items():
        if not isinstance(key, str):
            raise TypeError(f"probabilities has the key {key!r} of type {type(key).__name__}; a name is needed")
        name = f"probabilities[{key!r}]" if len(named) > 1 else "probabilities"
        check_probabilities(values, name)
        if values.shape[1] != num_classes:
            raise ValueError(f"{name} has {values.shape[1]} columns; class_counts has {num_classes} classes")
        check_targets(targets, *values.shape)
        if bool((values.sum(0) == 0).any()):
            empty = int((values.sum(0) == 0).nonzero()[0])
            raise ValueError(f"{name}[:, {empty}] is 0 in every row; every class needs a positive sum")


def _steps(probabilities: Tensor) -> Tensor:
    """How far each class lies below its row's most probable one, in steps (N, C) of `LOG_STEP`, uint8."""
    logs = probabilities.detach().cpu().double().log()
    return ((logs.amax(1, keepdim=True) - logs) / LOG_STEP).round().clamp(0, 255).byte()


def _probabilities(steps: Tensor) -> Tensor:
    return (-LOG_STEP * steps.double()).softmax(1)


def _pack(steps: Tensor, biases: Sequence[Tensor]) -> bytes:
    """The candidates of one run under any of the biases; see `Rebalance.candidates`."""
    scores = -LOG_STEP * steps.double()
    wins = torch.zeros_like(steps, dtype=torch.bool)
    for bias in biases:
        wins |= winners(scores, bias, MAX_TAU)
    return b"".join([_bytes(wins.sum(1)), _bytes(wins.nonzero()[:, 1]), _bytes(steps[wins])])


def winners(scores: Tensor, bias: Tensor, max_tau: float) -> Tensor:
    r"""Which classes have the largest score at some strength, exactly: the upper envelope of C lines for each row.

    .. math:: \arg\max_j \bigl(s_{ij} - \tau b_j\bigr), \qquad 0 \le \tau \le \tau_{\max}

    Args:
        scores: (N, C) float64.
        bias: (C,) float64, what a class gives back at strength 1.
        max_tau: largest strength.

    Returns:
        Boolean (N, C). Of equal scores the lowest class wins, as in ``torch.argmax``.
    """
    wins = torch.zeros_like(scores, dtype=torch.bool)
    rows, best = torch.arange(len(scores)), scores.argmax(1)
    while len(rows):
        wins[rows, best] = True
        # A class that gives back less than the best one so far catches up; the first to do so is the next winner.
        gain = bias[best][:, None] - bias
        behind = scores[rows, best][:, None] - scores[rows]
        when = torch.where(gain > 0, behind / gain, torch.inf)
        first = when.amin(1)
        # Several that catch up at once: the one that goes on fastest leads from there.
        best = torch.where(when == first[:, None], gain, -torch.inf).argmax(1)
        inside = first <= max_tau
        rows, best = rows[inside], best[inside]
    return wins


def _bytes(values: Tensor) -> bytes:
    return values.byte().numpy().tobytes()
