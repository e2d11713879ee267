"""The report of one's own scores: intervals, halves, advice and page, against hand-worked and independent values."""

from __future__ import annotations

import math
import re
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
import torch
from scipy.stats import norm

from lt_core.report import own
from lt_core.report.own import AS_IT_IS, Adjustment
from lt_core.report.own_page import Source, write_page

C = 8
COUNTS = [400, 200, 100, 60, 30, 15, 8, 4]
NAMES = [f"class {c}" for c in range(C)]


def biased(images: int = 40, bias: float = 1.0, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores of a model that holds ``bias`` times the log of the counts too much, and the labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(C).repeat_interleave(images)
    z = torch.randn(len(labels), C, generator=generator, dtype=torch.float64)
    z[torch.arange(len(labels)), labels] += 2
    return (z + bias * torch.tensor(COUNTS, dtype=torch.float64).log()).log_softmax(1), labels


def test_halves_have_half_of_every_class() -> None:
    labels = torch.tensor([0] * 7 + [1] * 4 + [2] * 5)
    first, second = own.halves(labels, seed=3)
    assert sorted([*first.tolist(), *second.tolist()]) == list(range(16))
    for c, size in enumerate((7, 4, 5)):
        parts = sorted([int((labels[half] == c).sum()) for half in (first, second)])
        assert parts in ([size // 2, size - size // 2], [size // 2, size // 2])
    assert own.halves(labels, seed=4)[0].tolist() != first.tolist()


def test_the_mean_over_classes_and_its_interval_by_hand() -> None:
    values = torch.tensor([1.0, 0.0, 1.0, 0.0, -1.0], dtype=torch.float64)
    mean, margin = own.class_mean(values, torch.tensor([0, 0, 1, 1, 2]), 4)
    # Means .5, .5 and -1 of the classes that have an image; variances .5 and .5, and for the single image their mean.
    assert mean == pytest.approx(0.0)
    error = math.sqrt(0.5 / 2 + 0.5 / 2 + 0.5 / 1) / 3
    assert margin == pytest.approx(100 * 1.959964 * error, rel=1e-6)
    assert own.class_mean(torch.ones(2, dtype=torch.float64), torch.tensor([0, 1]), 2) == (100.0, None)


def test_the_interval_covers() -> None:
    """Over many test sets the 95 % interval of a class mean holds the truth about as often as it says."""
    random, hits = np.random.default_rng(0), 0
    share = random.uniform(0.1, 0.9, C)
    labels = torch.arange(C).repeat_interleave(30)
    for _ in range(400):
        values = torch.from_numpy((random.random(len(labels)) < share[labels.numpy()]).astype(float))
        mean, margin = own.class_mean(values, labels, C)
        assert margin is not None
        hits += abs(mean - 100 * share.mean()) <= margin
    assert 0.92 <= hits / 400 <= 0.98


def test_a_biased_model_is_advised_to_take_the_prior_off() -> None:
    advice = own.advise(*biased(), COUNTS)
    assert {choice.name for choice in advice.chosen} <= {"adjust", "rebalance"}
    assert advice.margin is not None
    assert advice.gain - advice.margin > 10
    assert advice.verdict.startswith("It pays")


def test_a_model_without_a_bias_is_left_alone_or_not_resolved() -> None:
    verdicts = [own.advise(*biased(bias=0.0, seed=seed), COUNTS).verdict for seed in range(12)]
    assert sum(verdict.startswith("It pays") for verdict in verdicts) <= 1


def test_a_gain_is_that_of_the_half_that_did_not_choose() -> None:
    scores, labels = biased(images=21, seed=5)
    advice = own.advise(scores, labels, COUNTS, seed=1)
    first, second = own.halves(labels, seed=1)
    gains = torch.zeros(len(labels), dtype=torch.float64)
    for choice, half in ((advice.chosen[0], second), (advice.chosen[1], first)):
        right = choice(scores[half], COUNTS).argmax(1) == labels[half]
        gains[half] = right.double() - (scores[half].argmax(1) == labels[half]).double()
    expected = np.mean([gains[labels == c].mean().item() for c in range(C)])
    assert advice.gain == pytest.approx(100 * expected)
    assert advice.top1_gain == pytest.approx(100 * gains.mean().item())


def test_of_equal_choices_the_first_is_taken() -> None:
    """Scores that no adjustment changes: the advice is to do nothing."""
    labels = torch.arange(C).repeat_interleave(4)
    scores = (40 * torch.nn.functional.one_hot(labels, C).double()).log_softmax(1)
    advice = own.advise(scores, labels, COUNTS)
    assert advice.chosen == (AS_IT_IS, AS_IT_IS)
    assert (advice.gain, advice.margin) == (0.0, 0.0)
    assert advice.verdict.startswith("Leave the scores")


def test_without_counts_there_is_no_prior_to_take_off() -> None:
    assert {choice.name for choice in own.choices(None)} == {"none", "rebalance"}
    assert {choice.name for choice in own.advise(*biased(), None).chosen} == {"rebalance"}


def test_wilson_is_the_root_of_its_quadratic() -> None:
    """The ends are the shares p with (k/n - p)^2 = z^2 p (1 - p) / n."""
    labels = torch.tensor([0] * 20 + [1] * 3 + [2])
    predictions = torch.tensor([0] * 13 + [1] * 7 + [1, 1, 0] + [2])
    rows = own.class_rows(predictions, labels, ["a", "b", "c", "d"], [200, 50, 5, 5])
    z = norm.ppf(0.975)
    for row, (k, n) in zip(rows, ((13, 20), (2, 3), (1, 1)), strict=False):
        assert row.accuracy == pytest.approx(100 * k / n)
        assert row.low is not None
        assert row.high is not None
        for end in (row.low / 100, row.high / 100):
            assert (k / n - end) ** 2 == pytest.approx(z**2 * end * (1 - end) / n, abs=1e-9)
    assert (rows[3].accuracy, rows[3].low, rows[3].images) == (None, None, 0)
    assert [row.predicted for row in rows] == [14, 9, 1, 0]
    assert [row.group for row in rows] == ["many", "medium", "few", "few"]
    assert [row.train for row in own.class_rows(predictions, labels, ["a", "b", "c", "d"], None)] == [None] * 4


def test_the_worst_confusions_have_the_most_images_then_the_largest_share() -> None:
    labels = torch.tensor([0] * 10 + [1] * 4 + [2] * 2)
    predictions = torch.tensor([1, 1, 2] + [0] * 7 + [0, 0, 2, 1] + [0, 2])
    found = own.worst_confusions(predictions, labels, 3)
    assert [(pair.label, pair.other, len(pair.images)) for pair in found] == [
        (1, 0, 2), (0, 1, 2), (2, 0, 1), (1, 2, 1), (0, 2, 1),
    ]  # fmt: skip
    assert found[0].share == pytest.approx(50)
    assert found[1].images == [0, 1]
    assert len(own.worst_confusions(predictions, labels, 3, limit=2)) == 2


def test_a_result_has_the_log_loss_and_the_groups() -> None:
    scores, labels = biased()
    plain = own.result(AS_IT_IS, scores, labels, COUNTS)
    assert plain.log_loss == pytest.approx(torch.nn.functional.nll_loss(scores, labels).item())
    assert list(plain.groups) == ["many", "medium", "few"]
    adjusted = own.result(Adjustment("adjust", 1.0), scores, labels, COUNTS)
    # The bias is the log prior, so the adjusted scores are those without a bias.
    unbiased = own.result(AS_IT_IS, *biased(bias=0.0), COUNTS)
    assert adjusted.log_loss == pytest.approx(unbiased.log_loss)
    assert own.result(AS_IT_IS, scores, labels, None).groups == {}


def test_only_bins_with_enough_images_are_drawn() -> None:
    scores = torch.tensor([[0.8, 0.2]] * 12 + [[0.55, 0.45]] * 9, dtype=torch.float64).log()
    labels = torch.tensor([0] * 9 + [1] * 3 + [0] * 9)
    confidence, accuracy = own.result(AS_IT_IS, scores, labels, None).curve
    assert confidence == pytest.approx([0.8])
    assert accuracy == pytest.approx([0.75])


def test_the_page_loads_nothing_and_escapes_names(tmp_path: Path) -> None:
    scores, labels = biased()
    images = torch.zeros(len(labels), 3, 8, 12, dtype=torch.uint8)
    names = ["<script>alert(1)</script>", "Käfer & Co", *NAMES[2:]]
    write_page(tmp_path / "page.html", scores, labels, names, COUNTS, Source("A <run>", images=images))
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert "Käfer &amp; Co" in text
    assert "<title>A &lt;run&gt;</title>" in text
    own_address = r"http://www\.w3\.org/[\w/.#-]+"  # names of SVG's vocabularies, which nothing fetches
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)|url\((?!#)|https?://", re.sub(own_address, "", text))
    assert text.count("data:image/png;base64,") > 10
    assert f"{round(100 * (NormalDist().cdf(1.959964) * 2 - 1))} % interval" in text


def test_without_counts_the_page_says_so(tmp_path: Path) -> None:
    scores, labels = biased()
    write_page(tmp_path / "page.html", scores, labels, NAMES)
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "The training images of each class are not known" in text
    assert "prior taken off" not in text
    assert '<th scope="col">many</th>' not in text


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"class_names": NAMES[:-1]}, ValueError, "class_names has 7 entries; the scores have 8 classes"),
        ({"class_counts": COUNTS[:-1]}, ValueError, "class_counts has 7 entries"),
        ({"class_counts": [0, *COUNTS[1:]]}, ValueError, "class_counts"),
        ({"labels": torch.full((320,), 8)}, ValueError, "targets"),
        ({"log_probabilities": torch.full((320, C), math.nan)}, ValueError, "NaN"),
    ],
)
def test_bad_input_is_named(tmp_path: Path, change: dict[str, object], error: type[Exception], message: str) -> None:
    scores, labels = biased()
    given = {"log_probabilities": scores, "labels": labels, "class_names": NAMES, "class_counts": COUNTS, **change}
    with pytest.raises(error, match=message):
        write_page(tmp_path / "page.html", **given)  # type: ignore[arg-type]
    assert not (tmp_path / "page.html").exists()
