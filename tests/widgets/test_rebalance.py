"""`Rebalance`: what it stores for the page suffices for the predictions of `lt_core.posthoc` at every strength."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import lt_core as lt
from lt_core.records import LOG_STEP
from lt_core.widgets.rebalance import MAX_TAU, Rebalance, winners

COUNTS = [300, 120, 60, 20, 9, 9]
FOLDERS = {"cross-entropy": "ce-if100-s0", "balanced softmax": "balanced_softmax-if100-s0"}
TAUS = [i / 20 for i in range(41)]


def sample(rows: int = 400, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Predictions that follow `COUNTS`, and labels."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(rows, 6, generator=generator, dtype=torch.float64)
    probabilities = (logits + torch.tensor(COUNTS).log()).softmax(1)
    return probabilities, torch.randint(0, 6, (rows,), generator=generator)


def unpack(widget: Rebalance) -> tuple[Tensor, dict[str, Tensor]]:
    """The labels, and for each run the scores (N, C) that the page has at strength 0, elsewhere minus infinity."""
    data = torch.frombuffer(bytearray(widget.candidates), dtype=torch.uint8).long()
    targets, data = data[: widget.num_images], data[widget.num_images :]
    runs = {}
    for name in widget.runs:
        numbers, data = data[: widget.num_images], data[widget.num_images :]
        size = int(numbers.sum())
        classes, steps, data = data[:size], data[size : 2 * size], data[2 * size :]
        scores = torch.full((widget.num_images, len(widget.class_counts)), -torch.inf, dtype=torch.float64)
        scores[torch.arange(widget.num_images).repeat_interleave(numbers), classes] = -LOG_STEP * steps.double()
        runs[name] = scores
    assert len(data) == 0
    return targets, runs


def biases(widget: Rebalance, run: str) -> dict[str, Tensor]:
    sums = torch.tensor(widget.column_sums[widget.runs.index(run)], dtype=torch.float64)
    counts = torch.tensor(widget.class_counts, dtype=torch.float64)
    return {"rebalance": sums.log(), "adjust": (counts / counts.sum()).log()}


def assert_same_predictions(widget: Rebalance, taus: list[float]) -> None:
    _, stored = unpack(widget)
    for run in widget.runs:
        widget.run = run
        probabilities = widget.probabilities
        for method, bias in biases(widget, run).items():
            for tau in taus:
                if method == "rebalance":
                    expected = lt.posthoc.rebalance_predictions(probabilities, tau).argmax(1)
                else:
                    expected = lt.posthoc.adjust_logits(probabilities.log(), widget.class_counts, tau).argmax(1)
                assert torch.equal((stored[run] - tau * bias).argmax(1), expected), (run, method, tau)


def test_defaults() -> None:
    probabilities, targets = sample()
    widget = Rebalance(probabilities, targets, COUNTS)
    assert repr(widget) == "Rebalance(run='the model', method='rebalance', tau=1.0)"
    assert widget.runs == ["the model"]
    assert widget.class_counts == COUNTS
    assert len(widget._esm) < 60_000


def test_candidates_give_the_predictions_of_posthoc() -> None:
    runs = {"a": sample(seed=1)[0], "b": sample(seed=2)[0].float()}
    widget = Rebalance(runs, sample()[1], COUNTS)
    assert torch.equal(unpack(widget)[0], sample()[1])
    assert_same_predictions(widget, [*TAUS, 0.123, 1.987])


def recorded(*names: str, **options: float) -> Rebalance:
    folders = {name: lt.records.find_results() / "study" / "strong" / FOLDERS[name] for name in names}
    probabilities = {name: lt.records.load_probabilities(folder) for name, folder in folders.items()}
    labels, _ = lt.report.analysis.cifar100_test_labels()
    return Rebalance(probabilities, labels, lt.data.class_counts(), **options)


def test_candidates_of_recorded_runs_are_few_and_exact() -> None:
    widget = recorded("cross-entropy", "balanced softmax")
    assert widget.runs == ["cross-entropy", "balanced softmax"]
    assert 100_000 < len(widget.candidates) < 135_000
    assert_same_predictions(widget, [0, 0.35, 1, 1.55, 2])


def test_recorded_probabilities_are_stored_without_another_rounding() -> None:
    folder = lt.records.find_results() / "study" / "strong" / "ce-if100-s0"
    widget = recorded("cross-entropy")
    torch.testing.assert_close(widget.probabilities, lt.records.load_probabilities(folder), rtol=1e-12, atol=0)


def test_recorded_accuracy_is_near_the_record() -> None:
    record = lt.records.load(lt.records.find_results() / "study" / "strong" / "ce-if100-s0")
    widget = recorded("cross-entropy", tau=0)
    assert 100 * widget.accuracy()["all"] == pytest.approx(record["final"]["last"]["top1"], abs=0.3)
    widget.tau = 1
    for method in ("rebalance", "adjust"):
        widget.method = method
        assert 100 * widget.accuracy()["all"] == pytest.approx(record["posthoc"][method]["top1"], abs=0.3)


@given(st.integers(0, 10_000), st.floats(0, MAX_TAU))
def test_only_winners_win(seed: int, tau: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    # Whole numbers, so that ties are frequent; equal biases are parallel lines.
    scores = torch.randint(-6, 1, (40, 7), generator=generator).double()
    bias = torch.randint(-3, 4, (7,), generator=generator).double()
    wins = winners(scores, bias, MAX_TAU)
    at_tau = scores - tau * bias
    best = at_tau.where(wins, -torch.inf).max(1)
    torch.testing.assert_close(best.values, at_tau.max(1).values)
    if tau == 0:
        assert torch.equal(best.indices, at_tau.argmax(1))


def test_every_winner_wins_somewhere() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = -6 * torch.rand(200, 8, generator=generator, dtype=torch.float64)
    bias = torch.randn(8, generator=generator, dtype=torch.float64)
    found = torch.zeros(200, 8, dtype=torch.bool)
    for tau in torch.linspace(0, MAX_TAU, 20_001, dtype=torch.float64):
        found[torch.arange(200), (scores - tau * bias).argmax(1)] = True
    wins = winners(scores, bias, MAX_TAU)
    assert not bool((found & ~wins).any())
    assert int((wins & ~found).sum()) <= 2  # a class may win on a shorter stretch than the grid's step


def test_equal_scores_go_to_the_lowest_class() -> None:
    scores = torch.zeros(1, 4, dtype=torch.float64)
    # At 0 all are equal and class 0 wins; above, class 1 and class 3 are equal.
    assert winners(scores, torch.tensor([0.0, -1.0, -0.5, -1.0]).double(), 2.0).tolist() == [[True, True, False, False]]


@pytest.mark.parametrize("method", ["rebalance", "adjust"])
@pytest.mark.parametrize("tau", [0, 0.5, 2])
def test_derived_values_are_those_of_the_package(method: str, tau: float) -> None:
    probabilities, targets = sample()
    widget = Rebalance({"a": sample(seed=9)[0], "b": probabilities}, targets, COUNTS, run="b", method=method, tau=tau)
    rounded = widget.probabilities
    assert (rounded.log() - probabilities.log()).abs().max() < LOG_STEP  # half a step, and the row's new sum
    if method == "rebalance":
        scores = lt.posthoc.rebalance_predictions(rounded, tau)
    else:
        scores = lt.posthoc.adjust_logits(rounded.log(), COUNTS, tau).exp()
    assert torch.equal(widget.predictions(), scores.argmax(1))
    assert widget.accuracy() == lt.metrics.shot_accuracy(scores.argmax(1), targets, COUNTS)
    masses = scores.sum(0)
    torch.testing.assert_close(widget.column_masses(), masses / masses.mean())


def test_what_the_reader_chooses_is_checked() -> None:
    probabilities, targets = sample()
    widget = Rebalance({"a": probabilities, "b": probabilities}, targets, COUNTS)
    widget.run = "b"
    with pytest.raises(ValueError, match="run is 'c'; allowed are 'a', 'b'"):
        widget.run = "c"
    with pytest.raises(ValueError, match="method is 'other'; allowed are 'rebalance', 'adjust'"):
        widget.method = "other"
    with pytest.raises(ValueError, match=r"tau is 2.5; allowed is a finite number in \[0, 2\]"):
        widget.tau = 2.5
    assert repr(widget) == "Rebalance(run='b', method='rebalance', tau=1.0)"


PROBABILITIES, TARGETS = sample(20)
EMPTY_COLUMN = torch.tensor([[0.5, 0.5, 0.0, 0.0, 0.0, 0.0]]).repeat(20, 1)
BAD: list[tuple[dict[str, object], type[Exception], str]] = [
    ({"probabilities": PROBABILITIES.tolist()}, TypeError, "probabilities is list"),
    ({"probabilities": 2 * PROBABILITIES}, ValueError, r"probabilities\[\d+\] sums to 2|probabilities holds"),
    ({"probabilities": {}}, ValueError, "probabilities is an empty mapping"),
    ({"probabilities": {1: PROBABILITIES}}, TypeError, "probabilities has the key 1 of type int"),
    ({"probabilities": {"a": PROBABILITIES, "b": TARGETS}}, TypeError, r"probabilities\['b'\] is torch.int64"),
    ({"probabilities": EMPTY_COLUMN}, ValueError, r"probabilities\[:, 2\] is 0 in every row"),
    ({"probabilities": {"a": PROBABILITIES, "b": PROBABILITIES[:9]}}, ValueError, r"targets has shape \(20,\)"),
    ({"targets": TARGETS.float()}, TypeError, "targets is torch.float32"),
    ({"targets": TARGETS + 5}, ValueError, "targets holds the label"),
    ({"class_counts": COUNTS[:5]}, ValueError, "probabilities has 6 columns; class_counts has 5 classes"),
    ({"class_counts": [0, *COUNTS[1:]]}, ValueError, r"class_counts\[0\] is 0"),
    ({"class_counts": [1] * 256}, ValueError, "class_counts has 256 classes; at most 255"),
    ({"class_names": ["a"]}, ValueError, "class_names has 1 names; 6 are needed"),
    ({"run": "b"}, ValueError, "run is 'b'; allowed are 'the model'"),
    ({"method": "tau_normalize"}, ValueError, "method is 'tau_normalize'"),
    ({"tau": -0.1}, ValueError, "tau is -0.1"),
    ({"tau": "1"}, TypeError, "tau is '1' of type str"),
]


@pytest.mark.parametrize(("change", "error", "message"), BAD)
def test_bad_input(change: dict[str, object], error: type[Exception], message: str) -> None:
    arguments = {"probabilities": PROBABILITIES, "targets": TARGETS, "class_counts": COUNTS} | change
    with pytest.raises(error, match=message):
        Rebalance(**arguments)
