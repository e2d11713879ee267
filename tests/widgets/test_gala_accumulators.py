"""`GalaAccumulators` in Python: what it takes and refuses, and the numbers it derives from a run."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import lt_core as lt
from lt_core.widgets.gala_accumulators import TOY_CENTRES, TOY_COUNTS, TOY_NAMES, TOY_STEPS

COUNTS = [40, 10, 3]


def recorded(accumulate: str = "double") -> tuple[lt.losses.GALALoss, torch.Tensor]:
    """A loss after five batches, and its theta after each."""
    generator = torch.Generator().manual_seed(0)
    loss = lt.losses.GALALoss(3, accumulate=accumulate)
    rows = []
    for _ in range(5):
        labels = torch.multinomial(torch.tensor([40.0, 10.0, 3.0]), 64, replacement=True, generator=generator)
        loss(torch.randn(64, 3, generator=generator), labels)
        rows.append(loss.theta.clone())
    return loss, torch.stack(rows)


def test_the_toy_is_the_default() -> None:
    widget = lt.widgets.GalaAccumulators()
    assert repr(widget) == (
        "GalaAccumulators(step=200, lambda_pos=1.0, lambda_neg=1.0, form='released', accumulate='double')"
    )
    assert (widget.step, widget.steps) == (TOY_STEPS, list(range(1, TOY_STEPS + 1)))
    assert (widget.class_counts, widget.centres) == (list(TOY_COUNTS), list(TOY_CENTRES))
    assert (widget.class_names, widget.trajectory, widget.theta) == (list(TOY_NAMES), b"", [])
    assert max(TOY_COUNTS) / min(TOY_COUNTS) == 100
    assert TOY_COUNTS[TOY_NAMES.index("hard")] == TOY_COUNTS[TOY_NAMES.index("easy")]


def test_before_the_page_has_computed_the_toy_nothing_is_derived() -> None:
    with pytest.raises(RuntimeError, match="theta is empty"):
        lt.widgets.GalaAccumulators().slope  # noqa: B018


@pytest.mark.parametrize("accumulate", ["double", "single"])
def test_a_recorded_run_is_read_back_at_every_step(accumulate: str) -> None:
    loss, rows = recorded(accumulate)
    widget = lt.widgets.GalaAccumulators(trajectory=rows, class_counts=COUNTS, accumulate=accumulate)
    assert (widget.step, widget.steps) == (5, [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(np.float32(widget.theta), loss.theta.numpy())
    np.testing.assert_allclose(widget.log_theta, loss.log_theta(), rtol=1e-5)
    widget.step = 2
    np.testing.assert_array_equal(np.float32(widget.theta), rows[1].numpy())
    assert np.frombuffer(widget.trajectory, dtype="<f4").tolist() == rows.flatten().tolist()


def test_the_slope_is_one_where_theta_is_proportional_to_the_counts() -> None:
    counts = np.array(COUNTS)
    rows = np.stack([0.01 * counts, 5.0 * counts**0.6])
    widget = lt.widgets.GalaAccumulators(trajectory=rows, class_counts=COUNTS, steps=[10, 70], eps=1e-9)
    assert widget.slope == pytest.approx(0.6, rel=1e-5)
    widget.step = 10
    assert widget.slope == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(widget.effective_counts, counts, rtol=1e-5)


def test_at_lambda_1_the_effective_counts_give_the_same_loss_as_balanced_softmax() -> None:
    loss, rows = recorded()
    widget = lt.widgets.GalaAccumulators(trajectory=rows, class_counts=COUNTS)
    logits, targets = torch.randn(20, 3, dtype=torch.float64), torch.arange(20) % 3
    expected = lt.losses.gala_loss(logits, targets, loss.theta.double())
    prior = torch.log(torch.tensor(widget.effective_counts))
    torch.testing.assert_close(torch.nn.functional.cross_entropy(logits + prior, targets), expected)


RUN = {"trajectory": [[0.1, 0.2, 0.3], [1, 2, 3]], "class_counts": COUNTS}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"lambda_pos": -0.1}, ValueError, "lambda_pos is -0.1"),
        ({"lambda_pos": 2.5}, ValueError, "lambda_pos is 2.5"),
        ({"lambda_neg": "1"}, TypeError, "lambda_neg is '1'"),
        ({"form": "paper"}, ValueError, "form is 'paper'"),
        ({"accumulate": "triple"}, ValueError, "accumulate is 'triple'"),
        ({"eps": 0}, ValueError, "eps is 0"),
        ({"step": 0}, ValueError, "step is 0"),
        ({"step": 201}, ValueError, "step is 201"),
        ({"step": 1.5}, TypeError, "step is 1.5"),
        ({"steps": [1, 2]}, ValueError, "steps is .* without a trajectory"),
        ({"class_counts": COUNTS}, ValueError, "class_counts is .* without a trajectory"),
        ({"class_names": ["a"]}, ValueError, "class_names is .* without a trajectory"),
        ({**RUN, "trajectory": "theta"}, TypeError, "trajectory is not a table of numbers"),
        ({**RUN, "trajectory": [1.0, 2.0]}, ValueError, r"trajectory has shape \(2,\)"),
        ({**RUN, "trajectory": [[1.0, 2.0, 3.0]]}, ValueError, r"trajectory has shape \(1, 3\)"),
        ({**RUN, "trajectory": [[1, 2, 3], [1, 2, -3]]}, ValueError, "trajectory holds a negative"),
        ({**RUN, "trajectory": [[1, 2, 3], [1, 2, np.nan]]}, ValueError, "or NaN"),
        ({**RUN, "class_counts": None}, ValueError, "class_counts is None"),
        ({**RUN, "class_counts": [3, 2]}, ValueError, "class_counts has 2 counts; the trajectory has 3 classes"),
        ({**RUN, "class_counts": [3, 2, 0]}, ValueError, r"class_counts\[2\] is 0"),
        ({**RUN, "class_counts": [3, 3, 3]}, ValueError, "class_counts are all 3"),
        ({**RUN, "class_names": ["a", "b"]}, ValueError, "class_names has 2 names; 3 are needed"),
        ({**RUN, "steps": [1, 2, 3]}, ValueError, "steps has 3 numbers; the trajectory has 2 rows"),
        ({**RUN, "steps": [5, 5]}, ValueError, r"steps\[1\] is 5"),
        ({**RUN, "steps": [0, 5]}, ValueError, r"steps\[0\] is 0"),
        ({**RUN, "steps": [1, 2.5]}, TypeError, r"steps\[1\] is 2.5"),
        ({**RUN, "steps": [10, 20], "step": 15}, ValueError, "step is 15; allowed are the steps"),
    ],
)
def test_bad_input_is_named(options: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        lt.widgets.GalaAccumulators(**options)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("step", 15, ValueError),
        ("step", "10", TypeError),
        ("lambda_pos", 3.0, ValueError),
        ("lambda_neg", -1.0, ValueError),
        ("form", "paper", ValueError),
        ("accumulate", None, ValueError),
    ],
)
def test_what_is_set_later_is_checked_too(name: str, value: object, error: type[Exception]) -> None:
    widget = lt.widgets.GalaAccumulators(**RUN, steps=[10, 20])
    before = repr(widget)
    with pytest.raises(error, match=name):
        setattr(widget, name, value)
    assert repr(widget) == before
