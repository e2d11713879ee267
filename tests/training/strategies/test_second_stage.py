"""Second stages: what each trains, what it starts from, and what stays."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import lt_core as lt
from lt_core import posthoc
from lt_core.models.recalibrated import AlignedClassifier
from lt_core.seeding import set_seed
from lt_core.training import RunConfig, TrainingError, engine
from lt_core.training.base import Base
from lt_core.training.build import build_network

CPU = torch.device("cpu")
DATA = lt.data.load_dataset("digits_lt")
SETTING: dict[str, Any] = {"dataset": "digits_lt", "recipe": "short", "batch_size": 64, "epochs": 2}


def first_stage(**values: Any) -> nn.Module:
    """A network as a first stage leaves it: rows towards the class means, longer for the larger classes, and a bias."""
    set_seed(5)
    network: Any = build_network(RunConfig(**SETTING, **values), DATA)
    with torch.no_grad():
        if isinstance(network.classifier, nn.Linear):
            x = network.eval().features(lt.data.augment.Normalize()(DATA.train_images))
            means = torch.stack([x[DATA.train_targets == c].mean(0) for c in range(10)])
            common = F.normalize(x.mean(0), dim=0)  # without it, all images would be of the class with the longest row
            rows = F.normalize(means - (means @ common)[:, None] * common, dim=1) * torch.linspace(3, 1, 10)[:, None]
            network.classifier.weight.copy_(rows)
            network.classifier.bias.copy_(torch.linspace(0.2, -0.2, 10))
    return network.eval()


def stage(base: nn.Module | None = None, **values: Any) -> engine.Trainer:
    network = first_stage() if base is None else base
    config = RunConfig(**{**SETTING, **values})
    return engine.Trainer(config, DATA, CPU, precision="float32", base=Base(network.state_dict(), {}))


def logits(network: nn.Module, images: Tensor = DATA.test_images) -> Tensor:
    normal = lt.data.augment.Normalize()
    with torch.no_grad():
        return network(normal(images))


def features(network: Any, images: Tensor = DATA.train_images) -> Tensor:
    normal = lt.data.augment.Normalize()
    with torch.no_grad():
        return network.features(normal(images))


@pytest.mark.parametrize("strategy", ["lws", "continued", "mislas"])
def test_a_stage_that_starts_from_the_base_predicts_as_it_before_the_first_step(strategy: str) -> None:
    base, run = first_stage(), stage(strategy=strategy)
    torch.testing.assert_close(run.test_logits(), logits(base))


def test_crt_starts_from_the_features_and_a_classifier_of_its_own() -> None:
    base, run = first_stage(), stage(strategy="crt")
    torch.testing.assert_close(run.model.features(torch.zeros(1, 3, 16, 16)), base.features(torch.zeros(1, 3, 16, 16)))
    assert not torch.equal(run.model.classifier.weight, base.classifier.weight)


@pytest.mark.parametrize(
    ("strategy", "trained"),
    [
        ("crt", {"weight", "bias"}),
        ("lws", {"factors"}),
        ("disalign", {"scales", "shifts", "confidence.weight", "confidence.bias"}),
        ("mislas", {"factors", "classifier.weight", "classifier.bias"}),
    ],
)
def test_what_is_trained(strategy: str, trained: set[str]) -> None:
    run = stage(strategy=strategy, strategy_options={"batchnorm": "eval"})
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    run.train_epoch()
    moved = {name for name, value in run.model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {f"classifier.{name}" for name in trained}
    groups = run.step.optimizer.param_groups
    assert sum(len(group["params"]) for group in groups) == len(trained)


def test_lws_scales_the_bias_too() -> None:
    base, run = first_stage(), stage(strategy="lws")
    factors = torch.linspace(0.5, 2, 10)
    with torch.no_grad():
        run.model.classifier.factors.copy_(factors)
    torch.testing.assert_close(run.test_logits(), factors * logits(base))


def test_lws_learns_the_gradient_of_each_factor() -> None:
    """One step by hand: d loss / d f_c is the sum over the batch of (p_c - 1[c = y]) z_c, and decay pulls to zero."""
    base, run = first_stage(), stage(strategy="lws", weight_decay=5e-4)
    run.step.set_learning_rate(0.1)
    run.strategy.train()
    images, targets = DATA.train_images[:64], DATA.train_targets[:64]
    run.step(images, targets)
    z = logits(base, images)
    gradient = ((z.softmax(1) - F.one_hot(targets, 10)) * z).mean(0)
    torch.testing.assert_close(run.model.classifier.factors.detach(), 1 - 0.1 * (gradient + 5e-4))


def test_mislas_moves_the_classifier_at_a_share_of_the_rate() -> None:
    run = stage(strategy="mislas", strategy_options={"share": 0.25})
    run.step.set_learning_rate(0.4)
    assert [group["lr"] for group in run.step.optimizer.param_groups] == pytest.approx([0.1, 0.4])
    still = stage(strategy="mislas", strategy_options={"share": 0.0})
    before = still.model.classifier.classifier.weight.clone()
    still.train_epoch()
    assert torch.equal(still.model.classifier.classifier.weight, before)
    assert not torch.equal(still.model.classifier.factors, torch.ones(10))


def test_mislas_shifts_the_statistics_by_default() -> None:
    run = stage(strategy="mislas")
    before = run.model.bn1.running_mean.clone()
    run.train_epoch()
    assert not torch.equal(run.model.bn1.running_mean, before)


def test_the_two_forms_of_disalign_are_one_function() -> None:
    base = nn.Linear(4, 3)
    released, paper = AlignedClassifier(base, 4, 3, "released"), AlignedClassifier(base, 4, 3)
    paper.load_state_dict(released.state_dict())
    with torch.no_grad():
        paper.scales.copy_(torch.tensor([0.5, 1.0, 3.0]))
        released.scales.copy_(paper.scales - 1)
        paper.shifts.copy_(torch.tensor([1.0, 0.0, -2.0]))
        released.shifts.copy_(paper.shifts)
    x = torch.randn(6, 4)
    sigma = torch.sigmoid(0.1 * x.sum(1, keepdim=True) + paper.confidence.bias)
    expected = sigma * (paper.scales * base(x) + paper.shifts) + (1 - sigma) * base(x)
    torch.testing.assert_close(paper(x), expected)
    torch.testing.assert_close(released(x), expected)


def test_disalign_begins_with_the_predictions_of_its_base() -> None:
    base = first_stage()
    torch.testing.assert_close(stage(strategy="disalign").test_logits(), logits(base))
    released = stage(strategy="disalign", strategy_options={"form": "released"})
    assert torch.equal(released.test_logits().argmax(1), logits(base).argmax(1))


def test_disalign_weights_are_powers_of_the_shares() -> None:
    weight = stage(strategy="disalign", strategy_options={"rho": 1.5}).loss.weight
    counts = DATA.class_counts
    assert (weight[-1] / weight[0]).item() == pytest.approx((counts[0] / counts[-1]) ** 1.5)
    assert weight.sum().item() == pytest.approx(10)
    assert stage(strategy="disalign", strategy_options={"rho": 0.0}).loss.weight.tolist() == pytest.approx([1.0] * 10)
    with pytest.raises(ValueError, match="drw is True, but strategy 'disalign' needs False"):
        stage(strategy="disalign", drw=True)
    with pytest.raises(TrainingError, match="'disalign' sets class weights itself"):
        stage(strategy="disalign", loss_options={"weight": [1.0] * 10})


@pytest.mark.parametrize("strategy", ["lws", "tau_norm", "ncm", "disalign", "fsa", "further", "oltr"])
def test_a_base_with_another_classifier_is_refused(strategy: str) -> None:
    with pytest.raises(TrainingError, match=f"'{strategy}' goes on from a resnet8 with a linear classifier"):
        stage(first_stage(loss="ldam"), strategy=strategy)


def test_nothing_moves_where_nothing_is_learned() -> None:
    for strategy in ("tau_norm", "ncm", "pc_softmax"):
        run = stage(strategy=strategy, sampler="class_balanced")
        run.run_epoch()
        first = {name: value.clone() for name, value in run.model.state_dict().items()}
        run.run_epoch()
        assert all(torch.equal(value, first[name]) for name, value in run.model.state_dict().items())
        trunk = {k: v for k, v in first.items() if not k.startswith("classifier.")}
        assert all(torch.equal(value, first_stage().state_dict()[name]) for name, value in trunk.items())
    assert RunConfig(dataset="cifar100_lt", method="ncm").epochs == 1


def tau_norm(tau: Any, bias: str = "drop") -> engine.Trainer:
    run = stage(strategy="tau_norm", strategy_options={"tau": tau, "bias": bias})
    run.run_epoch()
    return run


def test_tau_zero_with_its_bias_is_the_base() -> None:
    base = first_stage()
    torch.testing.assert_close(tau_norm(0, "keep").test_logits(), logits(base))
    torch.testing.assert_close(tau_norm(0).test_logits(), logits(base) - base.classifier.bias)


def test_tau_one_makes_unit_rows() -> None:
    base, run = first_stage(), tau_norm(1.0)
    weight = base.classifier.weight / base.classifier.weight.norm(dim=1, keepdim=True)
    torch.testing.assert_close(run.test_logits(), features(base, DATA.test_images) @ weight.T)


@pytest.mark.parametrize("bias", ["drop", "keep"])
def test_the_best_tau_is_the_best_on_training_images(bias: str) -> None:
    base, run = first_stage(), tau_norm("train", bias)
    x, shift = features(base), base.classifier.bias if bias == "keep" else 0.0
    accuracies = []
    for step in range(21):
        scores = x @ posthoc.tau_normalize(base.classifier.weight, step / 10).T + shift
        correct = scores.argmax(1) == DATA.train_targets
        accuracies.append(torch.stack([correct[DATA.train_targets == c].float().mean() for c in range(10)]).mean())
    assert run.strategy.facts() == {"tau": accuracies.index(max(accuracies)) / 10}
    assert len({round(float(a), 6) for a in accuracies}) > 3  # the choice is one
    torch.testing.assert_close(run.test_logits(), tau_norm(run.strategy.facts()["tau"], bias).test_logits())


def test_a_bad_tau_is_named() -> None:
    with pytest.raises(ValueError, match="tau is 'best'; a number or 'train' is needed"):
        RunConfig(strategy="tau_norm", strategy_options={"tau": "best"})
    with pytest.raises(ValueError, match="tau is -1"):
        RunConfig(strategy="tau_norm", strategy_options={"tau": -1})


def test_pc_softmax_is_the_base_after_adjustment() -> None:
    run = stage(strategy="pc_softmax")
    run.run_epoch()
    torch.testing.assert_close(run.test_logits(), posthoc.adjust_logits(logits(first_stage()), DATA.class_counts))


def test_ncm_takes_the_nearest_mean_of_centred_directions() -> None:
    base, run = first_stage(), stage(strategy="ncm")
    run.run_epoch()
    x, y = features(base), DATA.train_targets
    centre = torch.stack([row for row in x]).mean(0)
    unit = [(row - centre) / (row - centre).norm() for row in x]
    means = torch.stack([torch.stack([u for u, c in zip(unit, y.tolist(), strict=True) if c == k]).mean(0)
                         for k in range(10)])  # fmt: skip
    test = F.normalize(features(base, DATA.test_images) - centre, dim=1)
    torch.testing.assert_close(run.test_logits(), -(torch.cdist(test, means) ** 2), rtol=1e-4, atol=1e-5)
