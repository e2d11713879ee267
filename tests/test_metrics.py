import itertools
import math
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.classification import MulticlassAccuracy

from lt_core.metrics import (
    balanced_error,
    column_mean_slope,
    expected_calibration_error,
    per_class_accuracy,
    shot_accuracy,
    shot_groups,
)

COUNTS = [500, 101, 100, 20, 19, 1]
LABELS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=60)


def draw(rows=300, seed=0):
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(0, 6, (rows,), generator=generator)
    wrong = torch.rand(rows, generator=generator) < 0.4
    return torch.where(wrong, torch.randint(0, 6, (rows,), generator=generator), targets), targets


def slow_recall(predictions, targets, num_classes=6):
    out = []
    for c in range(num_classes):
        hits = [p == t for p, t in zip(predictions, targets, strict=True) if t == c]
        out.append(sum(hits) / len(hits) if hits else math.nan)
    return np.array(out)


def test_borders_of_the_groups():
    groups = shot_groups(COUNTS)
    assert groups["many"].tolist() == [True, True, False, False, False, False]
    assert groups["medium"].tolist() == [False, False, True, True, False, False]
    assert groups["few"].tolist() == [False, False, False, False, True, True]
    moved = shot_groups(COUNTS, many=19, few=19)
    assert [int(mask.sum()) for mask in moved.values()] == [4, 1, 1]


@given(st.lists(st.integers(1, 500), min_size=2, max_size=30), st.integers(0, 200), st.integers(0, 200))
def test_every_class_is_in_one_group(counts, a, b):
    groups = shot_groups(counts, many=max(a, b), few=min(a, b))
    assert (sum(mask.int() for mask in groups.values()) == 1).all()


@given(LABELS)
def test_per_class_accuracy_against_a_plain_loop(pairs):
    predictions, targets = (torch.tensor(column) for column in zip(*pairs, strict=True))
    ours = per_class_accuracy(predictions, targets, 6)
    assert ours.dtype == torch.float64
    np.testing.assert_allclose(ours.numpy(), slow_recall(predictions.tolist(), targets.tolist()))


def test_against_torchmetrics():
    predictions, targets = draw()
    each = MulticlassAccuracy(6, average="none")(predictions, targets)
    torch.testing.assert_close(per_class_accuracy(predictions, targets, 6).float(), each)
    macro = MulticlassAccuracy(6, average="macro")(predictions, targets).item()
    assert shot_accuracy(predictions, targets, COUNTS)["all"] == pytest.approx(macro)
    assert balanced_error(predictions, targets, 6) == pytest.approx(1 - macro)


@given(LABELS)
def test_shot_accuracy_against_numpy(pairs):
    predictions, targets = (torch.tensor(column) for column in zip(*pairs, strict=True))
    result = shot_accuracy(predictions, targets, COUNTS)
    recall, counts = slow_recall(predictions.tolist(), targets.tolist()), np.array(COUNTS)
    masks = {"all": counts > 0, "many": counts > 100, "medium": (counts >= 20) & (counts <= 100), "few": counts < 20}
    assert list(result) == ["all", "many", "medium", "few"]
    for name, mask in masks.items():
        chosen = recall[mask & ~np.isnan(recall)]
        assert result[name] == (pytest.approx(chosen.mean()) if len(chosen) else None)


def test_empty_groups_are_none():
    predictions, targets = draw()
    result = shot_accuracy(predictions, targets, [500] * 6)
    assert result["many"] == result["all"]
    assert result["medium"] is None
    assert result["few"] is None
    only_head = torch.zeros(4, dtype=torch.int64)
    assert shot_accuracy(only_head, only_head, COUNTS) == {"all": 1.0, "many": 1.0, "medium": None, "few": None}


def test_numbers_and_counts_of_other_libraries():
    predictions, targets = draw()
    labelled = pd.Series(COUNTS).sample(frac=1, random_state=0)  # shuffled, its index with it
    assert labelled.tolist() != COUNTS
    expected = shot_accuracy(predictions, targets, COUNTS, 100, 20)
    assert shot_accuracy(predictions, targets, labelled, np.float32(100), torch.tensor(20)) == expected
    each = per_class_accuracy(predictions, targets, 6)
    assert torch.equal(per_class_accuracy(predictions, targets, np.int64(6)), each)


def test_nothing_is_float64_on_the_scores_device(no_float64):
    predictions, targets = draw()
    logits = torch.randn(300, 6, generator=torch.Generator().manual_seed(4))
    probabilities = logits.softmax(1)
    expected = column_mean_slope(probabilities.double(), COUNTS)
    with no_float64():
        shot_groups(COUNTS)
        assert shot_accuracy(predictions, targets, COUNTS)["all"] > 0.5
        assert balanced_error(predictions, targets, 6) < 0.5
        assert column_mean_slope(probabilities, COUNTS) == pytest.approx(expected, abs=1e-6)
        assert expected_calibration_error(probabilities, targets) > 0.01


def test_group_means_weigh_classes_not_samples():
    targets = torch.tensor([0] * 98 + [1] * 2)
    predictions = torch.zeros(100, dtype=torch.int64)
    assert shot_accuracy(predictions, targets, [500, 400])["many"] == 0.5
    assert balanced_error(predictions, targets, 2) == 0.5


def slow_ece(probabilities, targets, bins):
    confidence, correct = probabilities.max(1), probabilities.argmax(1) == targets
    edges, total = np.linspace(0, 1, bins + 1), 0.0
    for low, high in itertools.pairwise(edges):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            total += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    return total


@pytest.mark.parametrize("bins", [1, 10, 15])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_calibration_error_against_numpy(bins, dtype):
    _, targets = draw()
    logits = 2 * torch.randn(300, 6, generator=torch.Generator().manual_seed(4), dtype=dtype)
    logits[torch.arange(300), targets] += 1
    p = logits.softmax(1)
    expected = slow_ece(p.numpy(), targets.numpy(), bins)
    assert expected > 0.01
    assert expected_calibration_error(p, targets, bins) == pytest.approx(expected, abs=1e-6)


def test_calibration_error_of_certainty():
    p, targets = torch.eye(3)[torch.tensor([0, 1, 2, 0])], torch.tensor([0, 1, 2, 0])
    assert expected_calibration_error(p, targets) == 0.0
    assert expected_calibration_error(p.half(), (targets + 1) % 3) == 1.0


def test_torchmetrics_is_imported_only_when_needed():
    code = "import sys, lt_core.metrics, lt_core.posthoc; print('torchmetrics' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


Y = torch.tensor([0, 1])
P = torch.tensor([[0.5, 0.5], [0.9, 0.1]])
BAD = [
    (lambda: shot_groups([5, 0]), ValueError, r"class_counts\[1\] is 0"),
    (lambda: shot_groups([5, 1], many=10, few=20), ValueError, "few is 20 and many is 10"),
    (lambda: shot_groups([5, 1], many="100"), TypeError, "many is '100'"),
    (lambda: per_class_accuracy(Y, Y, 1), ValueError, "num_classes is 1"),
    (lambda: per_class_accuracy(Y, Y, 2.0), TypeError, "num_classes is 2.0"),
    (lambda: per_class_accuracy(Y, Y + 1, 2), ValueError, "targets holds the label 2"),
    (lambda: per_class_accuracy(Y - 1, Y, 2), ValueError, "predictions holds the label -1"),
    (lambda: per_class_accuracy(Y.float(), Y, 2), TypeError, "predictions is torch.float32"),
    (lambda: per_class_accuracy(P, Y, 2), TypeError, "predictions is torch.float32"),
    (lambda: per_class_accuracy(Y, Y[:1], 2), ValueError, "predictions has shape"),
    (lambda: per_class_accuracy(Y, Y[None], 2), ValueError, "targets has shape"),
    (lambda: per_class_accuracy(Y[:0], Y[:0], 2), ValueError, "empty"),
    (lambda: per_class_accuracy([0, 1], Y, 2), TypeError, "predictions is list"),
    (lambda: balanced_error(Y, Y + 1, 2), ValueError, "label 2"),
    (lambda: shot_accuracy(Y, Y - 100, [5, 1]), ValueError, "label -100; .*that label is not ignored here"),
    (lambda: per_class_accuracy(Y - 100, Y, 2), ValueError, "predictions holds the label -100; .*not ignored here"),
    (lambda: expected_calibration_error(P, Y - 100), ValueError, "targets holds the label -100"),
    (lambda: shot_accuracy(Y, Y, [5, -1]), ValueError, r"class_counts\[1\] is -1"),
    (lambda: shot_accuracy(Y, Y + 1, [5, 1]), ValueError, "label 2"),
    (lambda: expected_calibration_error(P, Y, bins=0), ValueError, "bins is 0"),
    (lambda: expected_calibration_error(P, Y, bins=1.5), TypeError, "bins is 1.5"),
    (lambda: expected_calibration_error(2 * P, Y), ValueError, "probability lies in|sums to"),
    (lambda: expected_calibration_error(P, Y + 1), ValueError, "label 2"),
    (lambda: expected_calibration_error(P, Y[:1]), ValueError, "targets has shape"),
    (lambda: expected_calibration_error(P[:0], Y[:0]), ValueError, "N >= 1"),
]


@pytest.mark.parametrize(("call", "error", "match"), BAD)
def test_bad_input(call, error, match):
    with pytest.raises(error, match=match):
        call()


@given(st.lists(st.integers(1, 500), min_size=3, max_size=20).filter(lambda n: len(set(n)) > 1), st.floats(-2, 2))
def test_column_slope_is_the_power_of_the_counts(counts, power):
    prior = torch.tensor(counts, dtype=torch.float64) ** power
    probabilities = (prior / prior.sum()).expand(4, -1)
    assert column_mean_slope(probabilities, counts) == pytest.approx(power, abs=1e-6)


def test_column_slope_against_numpys_line_fit():
    probabilities = torch.rand(50, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).softmax(1)
    expected = np.polyfit(np.log(COUNTS), np.log(probabilities.mean(0).numpy()), 1)[0]
    assert column_mean_slope(probabilities, COUNTS) == pytest.approx(expected)
    assert column_mean_slope(probabilities.float(), torch.tensor(COUNTS)) == pytest.approx(expected, abs=1e-5)


def test_column_slope_is_none_where_it_is_not_defined():
    uniform = torch.full((2, 3), 1 / 3)
    assert column_mean_slope(uniform, [5, 5, 5]) is None
    assert column_mean_slope(torch.tensor([[0.5, 0.5, 0.0]]), [5, 3, 1]) is None


@pytest.mark.parametrize(
    ("probabilities", "counts", "message"),
    [
        (torch.full((2, 3), 1 / 3), [5, 1], "class_counts has 2 classes"),
        (torch.full((2, 3), 1 / 3), [5, 1, 0], "class_counts"),
        (torch.full((2, 3), 0.5), [5, 1, 1], "probabilities"),
        (torch.zeros(0, 3), [5, 1, 1], "probabilities"),
    ],
)
def test_column_slope_refuses_bad_input(probabilities, counts, message):
    with pytest.raises(ValueError, match=message):
        column_mean_slope(probabilities, counts)


def test_a_probability_above_one_by_a_rounding_is_no_logit():
    sure = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    mean = sum(sure / 10 for _ in range(10))
    assert mean.max() > 1
    assert expected_calibration_error(mean, torch.tensor([0, 0, 1])) == pytest.approx(0.0, abs=1e-6)
