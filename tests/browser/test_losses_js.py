"""`js/losses.js` computes the numbers of `lt_core`, to 1e-6: every name it exports, on random and on extreme input.

A table below holds, for each exported function, the calls to make and what `lt_core` answers. All calls of a function
go to the browser at once.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from playwright.sync_api import Browser
from torch import Tensor

import lt_core as lt
from lt_core.losses.registry import COSINE_LOSSES
from lt_core.widgets import base
from lt_core.widgets.base import LOSSES

Case = tuple[list[Any], Any]  # the arguments of a call, and what it must return

OPEN = """async (text) => {
  window.losses = await import(URL.createObjectURL(new Blob([text], { type: "text/javascript" })));
  const known = (value) => (typeof value === "function" ? null : value);
  return Object.fromEntries(Object.entries(window.losses).map(([name, value]) => [name, known(value)]));
}"""
CALL = "([name, calls]) => calls.map((args) => window.losses[name](...args))"
IMBALANCE_FACTORS = (1, 1.5, 2, 3.7, 10, 20, 50, 99.9, 100, 200, 256, 500)
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "ce": [{}],
    "focal": [{"gamma": g} for g in (0, 0.3, 0.5, 1, 2, 5)] + [{}],
    "cb": [{"beta": b} for b in (0, 0.9, 0.9999, 0.9999999)] + [{}],
    "ldam": [{}, {"max_margin": 0}, {"max_margin": 0.8, "scale": 12.5}, {"scale": 64}],
    "la": [{}, {"tau": 0}, {"tau": 0.5}, {"tau": 2.25}],
    "balanced_softmax": [{}],
    "ala": [
        {"difficulty": difficulty, "quantity": quantity, "detach": detach, "size": size, "scale": scale}
        for difficulty in (True, False, "probability")
        for quantity in ("log", "log2", "ldam", None)
        for detach in (True, False)
        for size, scale in ((None, 30), (0.5, 8))
    ]
    + [{}, {"difficulty": "probability"}, {"difficulty": "probability", "detach": False}],
    "gala": [
        {"form": form, "lambda_pos": pos, "lambda_neg": neg, "eps": eps}
        for form in ("released", "formula")
        for pos, neg in ((1, 1), (0.5, 2), (0, 1), (1, 0))
        for eps in (1e-3, 1e-9, 0.1)
    ]
    + [{}],
}
WEIGHTED = set(LOSSES) - {"cb"}  # cb's weights are its own


def numbers(tensor: Tensor) -> Any:
    return tensor.detach().tolist()


def double(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def random_counts(rng: np.random.Generator, classes: int) -> list[int]:
    return [int(n) for n in np.exp(rng.uniform(0, np.log(5000), classes))]


def random_scores(rng: np.random.Generator, name: str, classes: int) -> list[float]:
    return (rng.uniform(-1, 1, classes) if name in COSINE_LOSSES else rng.normal(0, 5, classes)).tolist()


def random_theta(rng: np.random.Generator, classes: int) -> list[float]:
    return (rng.exponential(5, classes) * rng.integers(0, 2, classes)).tolist()  # some are exactly 0


# ---- what lt_core says of one sample --------------------------------------------------------------------------------


def adjusted_scores(name: str, scores: Tensor, target: int, options: dict[str, Any]) -> Tensor:
    """The scores (C,) whose softmax the loss takes the cross-entropy of."""
    counts = options["class_counts"]
    if name == "la":
        return scores - lt.posthoc.adjust_logits(torch.zeros_like(scores)[None], counts, options.get("tau", 1.0))[0]
    if name == "balanced_softmax":
        return scores + double(counts).log() - double(counts).sum().log()
    if name == "gala":
        given = {key: options[key] for key in ("lambda_pos", "lambda_neg", "form", "eps") if key in options}
        theta = double(options["theta"])
        return lt.losses.gala_logits(scores[None], torch.tensor([target]), theta, **given)[0]
    if name in COSINE_LOSSES:
        loss = lt.losses.build_loss(name, counts, **own(name, options))
        margins = loss.margin(scores[None], torch.tensor([target]))
        return loss.scale * (scores - margins * torch.nn.functional.one_hot(torch.tensor(target), len(scores)))
    return scores


def own(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """The loss's own options, without those that every call has."""
    return {key: value for key, value in options.items() if key not in ("class_counts", "theta", "weight")}


def evaluated(name: str, scores: list[float], target: int, options: dict[str, Any]) -> dict[str, Any]:
    """Loss, gradient by autograd, adjusted scores and their softmax, all float64."""
    counts, y = options["class_counts"], torch.tensor([target])
    inputs = double([scores]).requires_grad_()
    weights = double([options["weight"]] * len(counts)) if "weight" in options else None
    if name == "gala":
        given = {**own(name, options), "weight": weights, "reduction": "sum"}
        loss = lt.losses.gala_loss(inputs, y, double(options["theta"]), **given)
    else:
        given = {"weight": weights} if name in WEIGHTED else {}
        loss = lt.losses.build_loss(name, counts, reduction="sum", **own(name, options), **given)(inputs, y)
    (gradient,) = torch.autograd.grad(loss, inputs)
    adjusted = adjusted_scores(name, double(scores), target, options)
    assert bool(gradient.isfinite().all())  # NaN would equal nothing, and hide which side is wrong
    return {
        "loss": loss.item(),
        "gradient": numbers(gradient[0]),
        "probabilities": numbers(torch.softmax(adjusted, dim=0)),
        "adjusted": numbers(adjusted),
    }


# ---- the calls, function by function --------------------------------------------------------------------------------


def loss_cases(rng: np.random.Generator, name: str) -> Iterator[Case]:
    for options, classes in itertools.product(OPTIONS[name], (2, 3, 10)):
        for weight in (None, 0.25, 3.0) if name in WEIGHTED else (None,):
            given = {"class_counts": random_counts(rng, classes), **options}
            given |= {"theta": random_theta(rng, classes)} if name == "gala" else {}
            given |= {} if weight is None else {"weight": weight}
            scores, target = random_scores(rng, name, classes), int(rng.integers(classes))
            yield [name, scores, target, given], evaluated(name, scores, target, given)


def extreme_cases(rng: np.random.Generator, name: str) -> Iterator[Case]:
    """Logits at ±1e4; cosines at ±1, also at scale 1e4."""
    edge = 1.0 if name in COSINE_LOSSES else 1e4
    rows = [[edge, -edge], [-edge, edge], [edge, edge, -edge], [0.0, edge, -edge], [-edge, -edge, -edge]]
    for options, scores in itertools.product(OPTIONS[name], rows):
        given = {"class_counts": [500, 20, 1][: len(scores)], **options}
        given |= {"theta": [0.0, 250.0, 1e6][: len(scores)]} if name == "gala" else {}
        given |= {"scale": 1e4} if name in COSINE_LOSSES else {}
        for target in range(len(scores)):
            yield [name, scores, target, given], evaluated(name, scores, target, given)


def every_loss(rng: np.random.Generator) -> Iterator[Case]:
    for name in LOSSES:
        yield from loss_cases(rng, name)
        yield from extreme_cases(rng, name)


def log_sum_exp(rng: np.random.Generator) -> Iterator[Case]:
    for row in score_rows(rng):
        yield [row], torch.logsumexp(double(row), dim=0).item()
    yield [[-np.inf, -np.inf]], -np.inf


def softmax(rng: np.random.Generator) -> Iterator[Case]:
    for row in score_rows(rng):
        yield [row], numbers(torch.softmax(double(row), dim=0))


def score_rows(rng: np.random.Generator) -> Iterator[list[float]]:
    yield from (rng.normal(0, spread, n).tolist() for spread in (1, 30) for n in (1, 2, 100))
    yield from ([1e4, -1e4], [-1e4, -1e4, -1e4], [1e4, 1e4])


def class_counts(rng: np.random.Generator) -> Iterator[Case]:
    for classes, factor, profile in itertools.product(
        (2, 3, 10, 100, 365), IMBALANCE_FACTORS, ("exp", "step", "balanced")
    ):
        yield [classes, 500, factor, profile], lt.data.class_counts(classes, 500, factor, profile)
    for _ in range(300):
        classes, largest = int(rng.integers(2, 200)), int(rng.integers(1, 6000))
        factor = float(np.exp(rng.uniform(0, np.log(largest))))
        yield [classes, largest, factor], lt.data.class_counts(classes, largest, factor)
    # A class in the middle has the square root of the factor: a whole number, which rounding must not lower.
    for root in range(2, 60):
        yield [3, root * root, root * root], lt.data.class_counts(3, root * root, root * root)
        assert lt.data.class_counts(3, root * root, root * root) == [root * root, root, 1]


def shot_group(rng: np.random.Generator) -> Iterator[Case]:
    for many, few in ((100, 20), (50, 50), (7.5, 2)):
        counts = [1, 2, 3, 7, 8, 19, 20, 21, 49, 50, 51, 99, 100, 101, 5000]
        masks = lt.metrics.shot_groups(counts, many, few)
        for c, n in enumerate(counts):
            expected = next(name for name, mask in masks.items() if mask[c])
            yield [n, many, few], expected
            if (many, few) == (100, 20):
                yield [n], expected


def log_prior(rng: np.random.Generator) -> Iterator[Case]:
    for counts in count_rows(rng):
        yield [counts], numbers(-lt.posthoc.adjust_logits(torch.zeros(1, len(counts)).double(), counts)[0])


def class_balanced_weights(rng: np.random.Generator) -> Iterator[Case]:
    for counts, beta in itertools.product(count_rows(rng), (None, 0, 0.5, 0.99, 0.9999, 1 - 1e-9)):
        given = [] if beta is None else [beta]
        yield [counts, *given], numbers(lt.losses.class_balanced_weights(counts, *given, dtype=torch.float64))


def ldam_margins(rng: np.random.Generator) -> Iterator[Case]:
    for counts, given in itertools.product(count_rows(rng), ([], [0], [0.3], [2])):
        yield [counts, *given], numbers(lt.losses.ldam_margins(counts, *given, dtype=torch.float64))


def quantity_factor(rng: np.random.Generator) -> Iterator[Case]:
    quantities, sizes = ("log", "log2", "ldam", None), (None, 0.5, 1.7)
    for counts, quantity, size in itertools.product(count_rows(rng), quantities, sizes):
        yield [counts, quantity, size], numbers(lt.losses.quantity_factor(counts, quantity, torch.float64, size))
    for counts in count_rows(rng):
        yield [counts], numbers(lt.losses.quantity_factor(counts, dtype=torch.float64))


def count_rows(rng: np.random.Generator) -> list[list[int]]:
    return [[500, 5], [7, 7, 7], lt.data.class_counts(), *(random_counts(rng, n) for n in (2, 5, 50))]


def difficulty_factor(rng: np.random.Generator) -> Iterator[Case]:
    for cosine in [-1.0, 0.0, 1.0, *rng.uniform(-1, 1, 20).tolist()]:
        yield [cosine], lt.losses.difficulty_factor(double(cosine)).item()


def face_margin(rng: np.random.Generator) -> Iterator[Case]:
    sizes = {"cosface": (0, 0.35), "arcface": (0, 0.1, 0.5, 1.5), "sphereface": (1, 1.35, 1.7, 2, 4.2)}
    for name, values in sizes.items():
        for size, cosine in itertools.product(values, [-1.0, -0.99, 0.0, 1.0, *rng.uniform(-1, 1, 20).tolist()]):
            loss = lt.losses.build_loss(name, [5, 5], margin=size)
            expected = loss.margin(double([[cosine, 0.0]]), torch.tensor([0])).item()
            yield [name, cosine, size], expected


def ala_factors(rng: np.random.Generator) -> Iterator[Case]:
    for options, classes in itertools.product(OPTIONS["ala"], (2, 7)):
        counts, target = random_counts(rng, classes), int(rng.integers(classes))
        cosines = random_scores(rng, "ala", classes)
        factors = lt.losses.ALALoss(counts, **options).factors(double([cosines]), torch.tensor([target]))
        yield [cosines, target, {"class_counts": counts, **options}], {k: v.item() for k, v in factors.items()}


def gala_logits(rng: np.random.Generator) -> Iterator[Case]:
    for options, classes in itertools.product(OPTIONS["gala"], (2, 7)):
        logits, target = random_scores(rng, "gala", classes), int(rng.integers(classes))
        theta = random_theta(rng, classes)
        expected = lt.losses.gala_logits(double([logits]), torch.tensor([target]), double(theta), **options)[0]
        yield [logits, target, {"theta": theta, **options}], numbers(expected)


def gala_accumulate(rng: np.random.Generator) -> Iterator[Case]:
    """Each batch of a run, from the buffers that `GALALoss` had before it to those that it has afterwards."""
    for accumulate, form in itertools.product(("double", "single"), lt.losses.gala.FORMS):
        loss = lt.losses.GALALoss(4, accumulate=accumulate, form=form).double()
        for size in (1, 8, 3, 32, 5):
            logits, targets = double(rng.normal(0, 3, (size, 4))), torch.tensor(rng.integers(0, 4, size))
            before = {"gradientSum": numbers(loss.gradient_sum), "theta": numbers(loss.theta)}
            adjusted = lt.losses.gala_logits(logits, targets, loss.theta, form=form)
            probabilities = torch.softmax(adjusted, dim=1)[torch.arange(size), targets]
            loss(logits, targets)
            given = [before, numbers(1 - probabilities), targets.tolist(), accumulate]
            expected = {"gradientSum": numbers(loss.gradient_sum), "theta": numbers(loss.theta)}
            yield given, expected
            if accumulate == "double":
                yield given[:3], expected


def adjust_logits(rng: np.random.Generator) -> Iterator[Case]:
    for counts, given in itertools.product(count_rows(rng), ([], [0], [0.5], [2])):
        logits = random_scores(rng, "ce", len(counts))
        yield [logits, counts, *given], numbers(lt.posthoc.adjust_logits(double([logits]), counts, *given)[0])


def rebalance_predictions(rng: np.random.Generator) -> Iterator[Case]:
    for (rows, classes), given in itertools.product(((1, 2), (50, 4), (9, 100)), ([], [0], [0.5], [1.9])):
        probabilities = torch.softmax(double(rng.normal(0, 3, (rows, classes))), dim=1)
        yield [numbers(probabilities), *given], numbers(lt.posthoc.rebalance_predictions(probabilities, *given))


def tau_normalize(rng: np.random.Generator) -> Iterator[Case]:
    for (rows, width), given in itertools.product(((2, 1), (3, 2), (20, 64)), ([], [0], [0.5], [2])):
        weight = double(rng.normal(0, 2, (rows, width)))
        yield [numbers(weight), *given], numbers(lt.posthoc.tau_normalize(weight, *given))


FUNCTIONS: dict[str, Callable[[np.random.Generator], Iterator[Case]]] = {
    "adjustLogits": adjust_logits,
    "alaFactors": ala_factors,
    "classBalancedWeights": class_balanced_weights,
    "classCounts": class_counts,
    "difficultyFactor": difficulty_factor,
    "evaluateLoss": every_loss,
    "faceMargin": face_margin,
    "galaAccumulate": gala_accumulate,
    "galaLogits": gala_logits,
    "ldamMargins": ldam_margins,
    "logPrior": log_prior,
    "logSumExp": log_sum_exp,
    "quantityFactor": quantity_factor,
    "rebalancePredictions": rebalance_predictions,
    "shotGroup": shot_group,
    "softmax": softmax,
    "tauNormalize": tau_normalize,
}
CONSTANTS = {"LOSS_NAMES": list(LOSSES), "COSINE_LOSSES": [name for name in LOSSES if name in COSINE_LOSSES]}


# ---- in the browser -------------------------------------------------------------------------------------------------


class Losses:
    """losses.js as a module on a blank page. ``exports`` maps its names to None (a function) or to a constant."""

    def __init__(self, browser: Browser) -> None:
        self.page = browser.new_page()
        self.exports: dict[str, Any] = self.page.evaluate(OPEN, base.read("losses.js"))

    def call(self, name: str, calls: list[list[Any]]) -> list[Any]:
        return self.page.evaluate(CALL, [name, calls])


@pytest.fixture(scope="module")
def losses(browser: Browser) -> Iterator[Losses]:
    library = Losses(browser)
    yield library
    library.page.close()


def differences(found: Any, expected: Any, at: str = "") -> list[str]:
    """Where ``found`` is not ``expected``; of a mapping, what is expected must be there, and more may."""
    if isinstance(expected, dict):
        return [d for key, value in expected.items() for d in differences(found[key], value, f"{at}.{key}")]
    if isinstance(expected, list):
        if len(found) != len(expected):
            return [f"{at} has length {len(found)}, not {len(expected)}"]
        return [
            d for i, (f, e) in enumerate(zip(found, expected, strict=True)) for d in differences(f, e, f"{at}[{i}]")
        ]
    same = (
        found == expected if isinstance(expected, int | str) else found == pytest.approx(expected, rel=1e-6, abs=1e-6)
    )
    return [] if same else [f"{at} is {found!r}, not {expected!r}"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_losses_js_equals_lt_core(losses: Losses, name: str) -> None:
    cases = list(FUNCTIONS[name](np.random.default_rng(5)))
    results = losses.call(name, [arguments for arguments, _ in cases])
    wrong = [
        f"{name}{arguments}: {'; '.join(found[:3])}"
        for (arguments, expected), result in zip(cases, results, strict=True)
        if (found := differences(result, expected))
    ]
    assert not wrong, f"{len(wrong)} of {len(cases)} calls differ, such as\n" + "\n".join(wrong[:5])


def test_everything_that_losses_js_exports_is_compared(losses: Losses) -> None:
    assert {name for name, value in losses.exports.items() if value is None} == set(FUNCTIONS)
    assert {name: value for name, value in losses.exports.items() if value is not None} == CONSTANTS
    assert set(OPTIONS) == set(LOSSES)


def test_class_counts_are_equal_on_a_wide_grid(losses: Losses) -> None:
    """Every number of classes from 2 to 1,000: the powers of JavaScript and of Python may differ by a rounding."""
    calls = [[c, 5000, f, "exp"] for c in range(2, 1001) for f in (1.1, 10, 33.3, 100)]
    code = "(calls) => calls.map((a) => window.losses.classCounts(...a).reduce((sum, n, c) => sum + (c + 1) * n, 0))"
    found = losses.page.evaluate(code, calls)
    expected = [sum((c + 1) * n for c, n in enumerate(lt.data.class_counts(*call))) for call in calls]
    wrong = [call for call, f, e in zip(calls, found, expected, strict=True) if f != e]
    assert not wrong, f"{len(wrong)} of {len(calls)} profiles differ, such as {wrong[:5]}"
