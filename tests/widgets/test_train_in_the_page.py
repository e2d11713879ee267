"""`TrainInThePage` in Python: its data, its checks, and the training it does with `lt_core`'s losses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import lt_core as lt
from lt_core.widgets.train_in_the_page import FACTORS, MEANS, STEPS, scores, train

POINTS = [[0.0, 1.0], [1.0, 0.0], [2.0, 2.0], [3.0, 1.0]]
LABELS = [0, 1, 0, 1]
OWN = {"points": POINTS, "labels": LABELS, "test_points": POINTS, "test_labels": LABELS}


@pytest.fixture(scope="module")
def widget():
    return lt.widgets.TrainInThePage()


def test_the_defaults_are_chapter_01s_toy(widget) -> None:
    assert repr(widget) == "TrainInThePage(loss='ce', network='linear', imbalance_factor=100)"
    assert widget.counts == lt.data.class_counts(3, 200, 100) == [200, 20, 2]
    assert (widget.step, widget.accuracy, widget.class_names) == (STEPS, [], ["head", "middle", "tail"])
    distances = np.linalg.norm(MEANS[:, None] - MEANS, axis=2)
    np.testing.assert_allclose(distances, 3 * (1 - np.eye(3)), atol=1e-12)
    points, labels = widget.test_data()
    assert points.shape == (900, 2)
    # Three units apart at a spread of one: standardising keeps the ratio, 300 points know it to a few percent.
    centres = torch.stack([points[labels == k].mean(dim=0) for k in range(3)])
    spread = torch.stack([points[labels == k].std(dim=0) for k in range(3)]).mean(dim=0)
    torch.testing.assert_close(torch.pdist(centres / spread), torch.full((3,), 3.0).double(), rtol=0.1, atol=0)


def test_the_state_is_small_and_its_seed_decides_it(widget) -> None:
    state = widget.points + widget.test_points + widget.start
    again, other = lt.widgets.TrainInThePage(), lt.widgets.TrainInThePage(seed=1)
    assert len(state) < 20_000
    assert again.points + again.test_points + again.start == state
    assert other.points != widget.points


def test_a_more_imbalanced_set_is_part_of_a_less_imbalanced_one() -> None:
    widget = lt.widgets.TrainInThePage(imbalance_factor=FACTORS[0])
    larger = {tuple(p) for p in widget.training_data()[0].tolist()}
    assert len(larger) == sum(widget.counts) == 600
    for factor in FACTORS[1:]:
        widget.imbalance_factor = factor
        points, labels = widget.training_data()
        assert torch.bincount(labels).tolist() == widget.counts == lt.data.class_counts(3, 200, factor)
        smaller = {tuple(p) for p in points.tolist()}
        assert smaller < larger
        larger = smaller


def test_the_docstrings_best_rules() -> None:
    axis = torch.linspace(-6, 9, 1200, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    density = torch.exp(-0.5 * (grid[:, None] - torch.tensor(MEANS)).square().sum(dim=2)) / (2 * torch.pi)
    area = (axis[1] - axis[0]) ** 2

    def accuracy(prior: list[int]) -> list[float]:
        rule = (torch.tensor(prior) * density).argmax(dim=1)
        return [100 * (density[rule == k, k].sum() * area).item() for k in range(3)]

    # A border that runs along the grid's columns is off by half a cell: 0.25 points.
    assert accuracy([1, 1, 1]) == pytest.approx([88.5, 88.5, 88.5], abs=0.3)
    assert accuracy([100, 10, 1]) == pytest.approx([98.7, 76.5, 43.5], abs=0.3)
    for number in ("88.5 %", "98.7 %, 76.5 % and 43.5 %"):
        assert number in " ".join((lt.widgets.TrainInThePage.__doc__ or "").split())


def test_training_is_the_library_s_loss_by_hand(widget) -> None:
    """The linear network under cross-entropy is softmax regression; one step of Adam is the sign of its gradient."""
    points, labels = widget.training_data()
    (start,) = widget.first_weights()
    features = torch.cat([points, torch.ones(len(points), 1).double()], dim=1)
    residuals = (features @ start.T).softmax(dim=1) - torch.nn.functional.one_hot(labels, 3)
    gradient = residuals.T @ features / len(points)
    (after,) = train("ce", points, labels, widget.counts, [start], 1)
    torch.testing.assert_close(after, start - 0.1 * gradient.sign(), rtol=0, atol=1e-6)


def test_accuracy_without_training_is_that_of_the_first_weights() -> None:
    widget = lt.widgets.TrainInThePage(network="tiny", loss="ala", step=0)
    points, labels = widget.test_data()
    predictions = scores(points, widget.first_weights(), cosine=True).argmax(dim=1)
    right = (predictions == labels).reshape(3, 300).double().mean(dim=1)
    assert widget.test_accuracy() == right.tolist()
    assert [w.shape for w in widget.first_weights()] == [(12, 3), (3, 13)]


def test_balanced_softmax_gives_the_tail_its_share(widget) -> None:
    plain, balanced = widget.test_accuracy("ce"), widget.test_accuracy("balanced_softmax")
    assert plain[0] > 0.97
    assert plain[2] < 0.5
    assert min(balanced) > 0.8


def test_your_own_points() -> None:
    widget = lt.widgets.TrainInThePage(**OWN, class_names=("no", "yes"), imbalance_factor=2)
    assert (widget.pools, widget.counts, widget.class_names) == ([2, 2], [2, 1], ["no", "yes"])
    points, labels = widget.training_data()
    expected = (np.array(POINTS) - np.mean(POINTS, axis=0)) / np.std(POINTS, axis=0)
    np.testing.assert_allclose(points, expected[[0, 2, 1]], atol=1e-6)
    assert labels.tolist() == [0, 0, 1]
    assert lt.widgets.TrainInThePage(**OWN).class_names == ["class 0", "class 1"]


def test_a_class_with_too_few_points_keeps_what_it_has() -> None:
    points, labels = np.random.default_rng(0).standard_normal((11, 2)), [0] * 9 + [1] * 2
    own = {"points": points, "labels": labels, "test_points": points, "test_labels": labels}
    widget = lt.widgets.TrainInThePage(**own, imbalance_factor=1)
    assert widget.counts == [9, 2]
    widget.imbalance_factor = 200
    assert widget.counts == [9, 1]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"loss": "hinge"}, ValueError, "loss is 'hinge'; allowed are 'ce'"),
        ({"network": "deep"}, ValueError, "network is 'deep'; allowed are 'linear', 'tiny'"),
        ({"imbalance_factor": 3}, ValueError, "imbalance_factor is 3; allowed are 1, 2, 5"),
        ({"step": 201}, ValueError, r"step is 201; allowed is a whole number in \[0, 200\]"),
        ({"step": 1.5}, TypeError, "step is 1.5"),
        ({"seed": -1}, ValueError, "seed is -1"),
        ({"class_names": ("a", "b")}, ValueError, "class_names has 2 names; 3 are needed"),
        ({"points": POINTS}, ValueError, "labels, test_points, test_labels not given"),
        ({**OWN, "points": "ab"}, TypeError, "points is str"),
        ({**OWN, "points": [[1.0, 2.0, 3.0]] * 4}, ValueError, r"points has shape \(4, 3\)"),
        ({**OWN, "points": [*POINTS[:3], [float("nan"), 0.0]]}, ValueError, "points holds NaN"),
        ({**OWN, "points": [[x, 1.0] for x, _ in POINTS]}, ValueError, "points all lie on one"),
        ({**OWN, "points": POINTS * 501, "labels": LABELS * 501}, ValueError, "points has 2004 points; at most 2000"),
        ({**OWN, "labels": [0.0, 1.0, 0.0, 1.0]}, TypeError, "labels holds float64"),
        ({**OWN, "labels": [0, 1, 0]}, ValueError, r"labels has shape \(3,\)"),
        ({**OWN, "labels": [0, 0, 0, 0]}, ValueError, r"labels holds the labels \[0\]"),
        ({**OWN, "labels": [0, 2, 0, 2]}, ValueError, r"labels holds the labels \[0, 2\]"),
        ({**OWN, "points": POINTS * 2, "labels": range(8)}, ValueError, r"C - 1 for a C in \[2, 6\]"),
        ({**OWN, "test_labels": [0, 0, 0, 0]}, ValueError, "test_labels holds the labels"),
        ({**OWN, "test_labels": [0, 1, 2, 1]}, ValueError, "needed are all of 0 to 1"),
    ],
)
def test_bad_input(arguments, error, message) -> None:
    with pytest.raises(error, match=message):
        lt.widgets.TrainInThePage(**arguments)


def test_bad_values_are_refused_later_too(widget) -> None:
    with pytest.raises(ValueError, match="loss is 'hinge'"):
        widget.loss = "hinge"
    with pytest.raises(ValueError, match="loss is 'hinge'"):
        widget.test_accuracy("hinge")
    with pytest.raises(ValueError, match="step is -1"):
        widget.test_accuracy(step=-1)
