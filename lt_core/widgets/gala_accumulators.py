"""`GalaAccumulators`: which prior does GALA learn (chapter 07)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import traitlets
from torch import Tensor

from lt_core.losses.gala import ACCUMULATE, FORMS
from lt_core.validation import as_counts, check_choice, check_number, check_whole
from lt_core.widgets.base import Explorer, choice, number, source, style, whole

# The toy: six classes on a line. The two of 30 images differ in difficulty alone: one overlaps with the largest class.
TOY_COUNTS = (300, 100, 30, 30, 10, 3)
TOY_CENTRES = (0.0, -2.5, 1.5, 6.5, 3.5, -4.5)
TOY_NAMES = ("", "", "hard", "easy", "", "")
TOY_STEPS = 200


class GalaAccumulators(Explorer):
    r"""GALA's accumulators :math:`\theta` and :math:`\phi` per class, over the steps of a training run.

    Without arguments the page itself trains a toy by full-batch gradient descent (learning rate 0.2, momentum 0.9):
    class k has ``TOY_COUNTS[k]`` points on a line, the quantiles of a logistic distribution of scale 0.55 around
    ``TOY_CENTRES[k]``, and the classifier is linear with biases. With ``trajectory`` the page shows a run of yours.

    Args:
        step: one of the steps, or None for the last.
        lambda_pos: :math:`\lambda_1` of the loss, in [0, 2].
        lambda_neg: :math:`\lambda_2`, in [0, 2]; without effect in the released form.
        form: "released" or "formula".
        accumulate: "double" or "single".
        trajectory: ``theta`` of a `lt_core.losses.GALALoss` after some of its steps: (T, C), T and C at least 2, at
            least 0; or None. It is kept in float32. The four options above then say how the run was made.
        steps: the T numbers of those steps, whole, rising, at least 1; 1 to T if None.
        class_counts: the C training counts of that run, not all equal.
        class_names: C names, or nothing.
        eps: :math:`\epsilon` of the loss, above 0.

    Attributes:
        theta: the C accumulators at ``step``. The page computes those of the toy; until it has, the list is empty.

    Raises:
        ValueError: a value outside its range, shapes that do not fit, counts or steps without a trajectory.
        TypeError: a value of the wrong type.

    Source:
        "Gradient-Aware Logit Adjustment Loss for Long-tailed Classifier", arXiv:2403.09036; `lt_core.losses.GALALoss`.

    Example:
        >>> import lt_core as lt
        >>> run = [[0.4, 0.1], [2.0, 1.0]]
        >>> widget = lt.widgets.GalaAccumulators(trajectory=run, class_counts=[40, 10])
        >>> widget
        GalaAccumulators(step=2, lambda_pos=1.0, lambda_neg=1.0, form='released', accumulate='double')
        >>> round(widget.slope, 2)
        0.5
    """

    _esm = source("gala_accumulators.js")
    _css = style()
    settings = ("step", "lambda_pos", "lambda_neg", "form", "accumulate")

    step = whole(TOY_STEPS, low=1)
    lambda_pos = number(1.0, low=0.0, high=2.0)
    lambda_neg = number(1.0, low=0.0, high=2.0)
    form = choice("released", FORMS)
    accumulate = choice("double", ACCUMULATE)
    eps = traitlets.Float(1e-3).tag(sync=True)
    steps = traitlets.List(traitlets.Int()).tag(sync=True)
    class_counts = traitlets.List(traitlets.Int()).tag(sync=True)
    class_names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    centres = traitlets.List(traitlets.Float()).tag(sync=True)  # of the toy; empty with a trajectory
    trajectory = traitlets.Bytes().tag(sync=True)  # float32, (T, C); empty for the toy
    theta = traitlets.List(traitlets.Float()).tag(sync=True)

    def __init__(
        self,
        step: int | None = None,
        lambda_pos: float = 1.0,
        lambda_neg: float = 1.0,
        form: str = "released",
        accumulate: str = "double",
        trajectory: Tensor | np.ndarray | Sequence[Sequence[float]] | None = None,
        steps: Sequence[int] | None = None,
        class_counts: Sequence[int] | Tensor | None = None,
        class_names: Sequence[str] = (),
        eps: float = 1e-3,
    ) -> None:
        check_number("lambda_pos", lambda_pos, low=0.0, high=2.0)
        check_number("lambda_neg", lambda_neg, low=0.0, high=2.0)
        check_choice("form", form, FORMS)
        check_choice("accumulate", accumulate, ACCUMULATE)
        check_number("eps", eps, low=0.0, open_low=True)
        if trajectory is None:
            for name, value in (("steps", steps), ("class_counts", class_counts), ("class_names", class_names or None)):
                if value is not None:
                    raise ValueError(f"{name} is {value!r}; without a trajectory the toy has its own")
            shown: dict[str, Any] = _toy()
        else:
            shown = _run(trajectory, steps, class_counts, class_names)
        numbers = shown["steps"]
        last = numbers[-1] if step is None else step
        _check_step(last, numbers)
        super().__init__(
            step=last,
            lambda_pos=lambda_pos,
            lambda_neg=lambda_neg,
            form=form,
            accumulate=accumulate,
            eps=eps,
            **shown,
        )
        self._read_theta()

    @traitlets.validate("step")
    def _step_is_known(self, proposal: Any) -> Any:
        _check_step(proposal["value"], self.steps)
        return proposal["value"]

    @traitlets.observe("step")
    def _read_theta(self, change: Any = None) -> None:
        """Keep ``theta`` at ``step``; the page does so for the toy."""
        if self.trajectory:
            rows = np.frombuffer(self.trajectory, dtype="<f4").reshape(len(self.steps), -1)
            self.theta = rows[self.steps.index(self.step)].tolist()

    @property
    def log_theta(self) -> np.ndarray:
        r"""The logarithms that ``lambda_pos`` multiplies, (C,), at the shown step."""
        if not self.theta:
            raise RuntimeError(
                "theta is empty: the page computes it; show the widget first, and read it in a later cell"
            )
        return np.log(np.array(self.theta) + self.eps)

    @property
    def slope(self) -> float:
        r"""Slope of the line fitted to ``log_theta`` over the logarithms of the counts; balanced softmax has 1."""
        return float(np.polyfit(np.log(self.class_counts), self.log_theta, deg=1)[0])

    @property
    def effective_counts(self) -> np.ndarray:
        r"""What is added up, plus epsilon, scaled to the geometric mean of the counts, (C,).

        A common factor cancels in the softmax, so with :math:`\lambda_1 = 1` the released form is, at this step, a
        balanced softmax with these counts.
        """
        centred = self.log_theta - self.log_theta.mean()
        return np.exp(centred + np.log(self.class_counts).mean())


def _toy() -> dict[str, Any]:
    return {
        "steps": list(range(1, TOY_STEPS + 1)),
        "class_counts": list(TOY_COUNTS),
        "class_names": list(TOY_NAMES),
        "centres": list(TOY_CENTRES),
    }


def _run(
    trajectory: Tensor | np.ndarray | Sequence[Sequence[float]],
    steps: Sequence[int] | None,
    class_counts: Sequence[int] | Tensor | None,
    class_names: Sequence[str],
) -> dict[str, Any]:
    try:
        rows = torch.as_tensor(trajectory).detach().to("cpu", torch.float32)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError("trajectory is not a table of numbers; (T, C) accumulators are needed") from None
    if rows.ndim != 2 or min(rows.shape) < 2:
        raise ValueError(f"trajectory has shape {tuple(rows.shape)}; (T, C) with T and C of at least 2 is needed")
    if not bool((torch.isfinite(rows) & (rows >= 0)).all()):
        raise ValueError("trajectory holds a negative or infinite value or NaN; accumulators are finite and at least 0")
    length, classes = rows.shape
    if class_counts is None:
        raise ValueError("class_counts is None; with a trajectory its C counts are needed")
    counts = [int(n) for n in as_counts(class_counts)]
    if len(counts) != classes:
        raise ValueError(f"class_counts has {len(counts)} counts; the trajectory has {classes} classes")
    if min(counts) == max(counts):
        raise ValueError(f"class_counts are all {counts[0]}; a slope needs two different counts")
    if class_names and len(class_names) != classes:
        raise ValueError(f"class_names has {len(class_names)} names; {classes} are needed")
    numbers = list(range(1, length + 1)) if steps is None else list(steps)
    for i, at in enumerate(numbers):
        check_whole(f"steps[{i}]", at, low=numbers[i - 1] + 1 if i else 1)
    if len(numbers) != length:
        raise ValueError(f"steps has {len(numbers)} numbers; the trajectory has {length} rows")
    return {
        "steps": [int(at) for at in numbers],
        "class_counts": counts,
        "class_names": list(class_names),
        "trajectory": rows.numpy().astype("<f4").tobytes(),
    }


def _check_step(step: int, steps: Sequence[int]) -> None:
    check_whole("step", step, low=steps[0], high=steps[-1])
    if step not in steps:
        raise ValueError(f"step is {step}; allowed are the steps of the trajectory, {steps[0]} to {steps[-1]}")
