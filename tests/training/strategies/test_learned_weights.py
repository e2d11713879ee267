"""L2RW and Meta-Weight-Net: their weights against gradients that autograd takes image by image."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch.func import functional_call
from torch.nn import functional as F

import lt_core as lt
from lt_core import records
from lt_core.report.systems import method_of
from lt_core.training import RunConfig, TrainingError, engine, evaluate, train
from lt_core.training.build import load_data
from lt_core.training.configs import load_config
from lt_core.training.strategies.learned_weights import LearnedWeights, WeightNet, share_out

CPU = torch.device("cpu")


def strategy(name: str, precision: str = "float32", **options: Any) -> Any:
    config = RunConfig(
        dataset="digits_lt", recipe="short", batch_size=64, epochs=4, strategy=name, strategy_options=options
    )
    built = engine.Trainer(config, lt.data.load_dataset("digits_lt"), CPU, precision=precision).strategy
    built.train()
    return built


def batches(built: LearnedWeights) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    images, targets, balanced, labels = built.order(torch.Generator().manual_seed(0))
    return built.normalize(images[:16]), targets[:16], built.normalize(balanced[:24]), labels[:24]


def gradient_of_each(built: LearnedWeights, images: torch.Tensor, targets: torch.Tensor) -> list[tuple[Any, ...]]:
    """One backward pass an image, with the statistics of the whole batch."""
    parameters = list(built.model.parameters())
    losses = F.cross_entropy(built.model(images), targets, reduction="none")
    return [torch.autograd.grad(loss, parameters, retain_graph=True) for loss in losses]


def dots(each: list[tuple[Any, ...]], direction: tuple[Any, ...]) -> torch.Tensor:
    return torch.stack([sum((a * b).sum() for a, b in zip(one, direction, strict=True)) for one in each])


def test_the_weights_of_l2rw_are_inner_products_of_gradients() -> None:
    built = strategy("l2rw")
    images, targets, balanced, labels = batches(built)
    labels = torch.full_like(labels, int(targets[0]))  # a second batch that only images of one class serve
    each = gradient_of_each(built, images, targets)
    mean = F.cross_entropy(built.model(balanced), labels)
    products = dots(each, torch.autograd.grad(mean, list(built.model.parameters())))
    assert (products > 0).any()
    assert (products < 0).any()
    expected = products.clamp(min=0) / products.clamp(min=0).sum()
    torch.testing.assert_close(built.weights(images, targets, balanced, labels), expected, rtol=1e-3, atol=1e-6)


def test_they_are_minus_the_derivative_after_a_virtual_step_of_any_length() -> None:
    """What the paper writes down: weights of zero, a step, and the derivative of the balanced loss."""
    built = strategy("l2rw")
    images, targets, balanced, labels = batches(built)
    expected = built.weights(images, targets, balanced, labels)
    for length in (0.1, 3.0):
        start = torch.zeros(len(images), requires_grad=True)
        weights = dict(built.model.named_parameters())
        losses = F.cross_entropy(built.model(images), targets, reduction="none")
        moves = torch.autograd.grad((start * losses).sum(), list(weights.values()), create_graph=True)
        moved = {name: p - length * move for (name, p), move in zip(weights.items(), moves, strict=True)}
        loss = F.cross_entropy(functional_call(built.model, moved, (balanced,)), labels)
        (derivative,) = torch.autograd.grad(loss, start)
        torch.testing.assert_close(share_out((-derivative).clamp(min=0)), expected, rtol=1e-3, atol=1e-6)


def test_weights_sum_to_one_or_are_all_zero() -> None:
    assert share_out(torch.tensor([1.0, 3.0])).tolist() == [0.25, 0.75]
    assert share_out(torch.zeros(3)).tolist() == [0.0, 0.0, 0.0]
    built = strategy("l2rw")
    images, targets, _, _ = batches(built)
    against = {name: -g for name, g in built.balanced_gradient(built.trained(), images, targets).items()}
    assert (built.inner_products(against, images, targets) < 0).all()
    built.balanced_gradient = lambda *_: against  # of a balanced batch that a step on any of these images harms
    weights = built.weights(images, targets, images, targets)
    assert weights.tolist() == [0.0] * 16


@pytest.mark.parametrize("virtual", ["released", "paper"])
def test_the_gradient_of_v_is_that_of_the_virtual_step(virtual: str) -> None:
    built = strategy("meta_weight_net", virtual=virtual)
    images, targets, balanced, labels = batches(built)
    built.weight_optimizer = torch.optim.SGD(built.weight_net.parameters(), lr=1.0)
    weights = dict(built.model.named_parameters())
    losses = F.cross_entropy(built.model(images), targets, reduction="none")
    shares = built.weight_net(losses if virtual == "released" else losses.detach())
    virtual_loss = (shares / shares.sum() * losses).sum()
    moves = torch.autograd.grad(virtual_loss, list(weights.values()), create_graph=True)
    rate = built.recipe.learning_rate_at(0, 4)
    moved = {name: p - rate * move for (name, p), move in zip(weights.items(), moves, strict=True)}
    loss = F.cross_entropy(functional_call(built.model, moved, (balanced,)), labels)
    expected = torch.autograd.grad(loss, list(built.weight_net.parameters()))
    before = [p.clone() for p in built.weight_net.parameters()]
    built.learn(images, targets, built.loss(built.model(images), targets), balanced, labels)
    for p, was, gradient in zip(built.weight_net.parameters(), before, expected, strict=True):
        torch.testing.assert_close(was - p, gradient, rtol=2e-2, atol=1e-3 * gradient.abs().max().item())
        assert gradient.abs().max() > 0


def test_the_two_forms_of_the_virtual_step_differ() -> None:
    losses = torch.tensor([0.1, 1.0, 3.0], dtype=torch.float64)
    torch.manual_seed(0)
    net = WeightNet().double()
    released, paper = strategy("meta_weight_net"), strategy("meta_weight_net", virtual="paper")
    released.weight_net, paper.weight_net = net, net
    torch.testing.assert_close(paper.virtual_shares(losses).sum(), torch.tensor(1.0, dtype=torch.float64))
    step = 1e-6
    ups = torch.stack([losses + step * row for row in torch.eye(3)])
    slopes = torch.stack([(share_out(net(up)) * up).sum() for up in ups]) - (share_out(net(losses)) * losses).sum()
    torch.testing.assert_close(released.virtual_shares(losses), slopes / step, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(released.virtual_shares(losses), paper.virtual_shares(losses), rtol=1e-3)


def test_equal_weights_are_cross_entropy() -> None:
    built = strategy("meta_weight_net")
    for p in built.weight_net.parameters():
        p.data.zero_()  # V is then one half everywhere, and its step is none
    built.learn = lambda *_: None
    images, targets, balanced, labels = built.order(torch.Generator().manual_seed(0))
    loss, outputs = built.step(images[:16], targets[:16], balanced[:16], labels[:16])
    torch.testing.assert_close(loss, F.cross_entropy(outputs, targets[:16]))


@pytest.mark.parametrize("name", ["l2rw", "meta_weight_net"])
def test_running_statistics_see_the_batch_once_and_the_balanced_batch_never(name: str) -> None:
    built = strategy(name)
    images, targets, balanced, labels = built.order(torch.Generator().manual_seed(0))
    built.step(images[:32], targets[:32], balanced[:32], labels[:32])
    torch.manual_seed(0)
    plain = strategy("plain")
    plain.model.load_state_dict(dict(built.model.named_parameters()), strict=False)
    plain.step(images[:32], targets[:32])
    for (key, value), other in zip(built.model.named_buffers(), plain.model.buffers(), strict=True):
        torch.testing.assert_close(value, other, msg=key)


def test_the_second_batch_has_all_classes_alike() -> None:
    built = strategy("l2rw")
    images, targets, balanced, labels = built.order(torch.Generator().manual_seed(3))
    assert balanced.shape == images.shape
    assert labels.bincount().float().std() < 0.3 * labels.bincount().float().mean()
    assert targets.bincount().float().std() > 0.8 * targets.bincount().float().mean()
    known = {image.numpy().tobytes(): int(y) for image, y in zip(built.images, built.targets, strict=True)}
    assert all(known[image.numpy().tobytes()] == y for image, y in zip(balanced, labels.tolist(), strict=True))


@pytest.mark.parametrize("name", ["l2rw", "meta_weight_net"])
def test_half_precision_gives_nearly_the_same_weights(name: str) -> None:
    wide, half = strategy("l2rw"), strategy("l2rw", precision="bfloat16")
    half.model.load_state_dict(wide.model.state_dict())
    one, other = wide.weights(*batches(wide)), half.weights(*batches(wide))
    assert (one - other).abs().max() < 0.05


def test_v_is_saved(tmp_path: Path) -> None:
    built = strategy("meta_weight_net", learning_rate=0.1)
    batch = [part[:32] for part in built.order(torch.Generator().manual_seed(0))]
    built.step(*batch)
    fresh = strategy("meta_weight_net", learning_rate=0.1)
    assert not torch.equal(fresh.weight_net[0].weight, built.weight_net[0].weight)
    torch.save(built.state_dict(), tmp_path / "state.pt")
    fresh.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    fresh.model.load_state_dict(built.model.state_dict())
    for one in (built, fresh):
        one.step(*batch)  # with the momentum that was saved
    torch.testing.assert_close(fresh.weight_net[0].weight, built.weight_net[0].weight)


@pytest.mark.parametrize("name", ["l2rw", "meta_weight_net"])
@pytest.mark.parametrize(("key", "value"), [("loss", "ldam"), ("drw", True), ("mixing", "mixup")])
def test_what_does_not_go_with_learned_weights_is_refused(name: str, key: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{key} is .*, but strategy {name!r} needs"):
        RunConfig(dataset="digits_lt", strategy=name, **{key: value})


@pytest.mark.parametrize("name", ["l2rw", "meta_weight_net", "range_loss", "sam"])
def test_several_processes_are_refused_by_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lt_core.training.distributed.world", lambda: 2)
    config = RunConfig(dataset="digits_lt", batch_size=64, method=name)
    with pytest.raises(TrainingError, match=f"{name!r} works in one process; start it without torchrun"):
        engine.Trainer(config, lt.data.load_dataset("digits_lt"), CPU)


@pytest.mark.parametrize("name", ["l2rw", "meta_weight_net"])
def test_compiling_is_refused_and_not_chosen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = RunConfig(dataset="digits_lt", recipe="short", batch_size=64, epochs=1, method=name)
    with pytest.raises(TrainingError, match=f"a step of {name!r} cannot be compiled; use --compile off"):
        train(config, progress=False, compile="on")
    monkeypatch.setattr(engine, "pick_compile", lambda choice, *_: choice != "off")  # as on a GPU
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        assert train(config, progress=False)["environment"]["compiled"] is False


HELD_OUT: dict[str, Any] = {
    **{"dataset": "digits_lt", "recipe": "short", "batch_size": 64, "epochs": 2},
    "strategy_options": {"meta_per_class": 10},
}


@pytest.mark.parametrize("name", ["l2rw", "meta_weight_net"])
def test_the_balanced_batch_is_of_held_out_images_alone(name: str) -> None:
    config = RunConfig(**HELD_OUT, strategy=name)
    data = load_data(config)
    built = engine.Trainer(config, data, CPU, precision="float32").strategy
    images, targets, balanced, labels = built.order(torch.Generator().manual_seed(3))
    assert len(images) == len(targets) == len(balanced) == len(labels) == len(data.train_images)
    known = {image.numpy().tobytes(): int(y) for image, y in zip(data.meta_images, data.meta_targets, strict=True)}
    seen = [image.numpy().tobytes() for image in balanced]
    assert [known[image] for image in seen] == labels.tolist()
    assert {image.numpy().tobytes() for image in data.train_images}.isdisjoint(seen)
    for first in range(0, len(seen) - 99, 100):  # once through all, in a new order each time
        assert len(set(seen[first : first + 100])) == 100
    assert seen[:100] != seen[100:200]


@pytest.mark.parametrize("name", ["l2rw", "meta_weight_net"])
def test_a_run_with_held_out_images_resumes_and_says_so(
    name: str, tmp_path: Path, interrupted: Callable[[], AbstractContextManager[None]]
) -> None:
    config = RunConfig(**HELD_OUT, strategy=name)
    whole = train(config, tmp_path / "whole", progress=False)
    assert records.load(tmp_path / "whole")["config"] == config.to_dict()
    losses = [row["train_loss"] for row in whole["epochs"]]
    assert losses[-1] < losses[0]
    assert whole["strategy"] == {"training_images": sum(lt.data.class_counts(10, 114, 100)), "meta_images": 100}
    assert config.run_name == f"digits_lt-ce-{name}-meta_per_class_10-e2-b64-if100-s0"
    assert records.label(whole) == f"cross-entropy (meta_per_class 10, strategy {name})"
    assert evaluate(tmp_path / "whole")["top1"] == pytest.approx(whole["final"]["last"]["top1"])

    with interrupted():
        train(config, tmp_path / "part", progress=False)
    torch.manual_seed(1234)
    resumed = train(config, tmp_path / "part", progress=False, resume=True)
    for record in (whole, resumed):
        del record["environment"]
    assert resumed == whole


@pytest.mark.parametrize("name", ["l2rw", "meta_weight_net"])
def test_with_held_out_images_it_is_not_the_method(name: str, tmp_path: Path) -> None:
    """Its name is refused beside the option, the table does not know it, and nothing else sets it beside other data."""
    for make in (RunConfig, lambda **values: RunConfig.from_dict(values)):
        with pytest.raises(ValueError, match=f"strategy_options is .*, but method {name!r} decides it"):
            make(**HELD_OUT, method=name)
    values = {"dataset": "cifar100_lt", "recipe": "short", "strategy": name}
    assert method_of(RunConfig(**values)) == name
    held_out = RunConfig(**values, strategy_options={"meta_per_class": 10})
    assert method_of(held_out) is None
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(held_out.to_dict()))
    assert load_config(tmp_path / "run.yaml") == held_out


def test_without_the_option_configurations_are_those_of_before() -> None:
    """Records and checkpoints that were made before the option was there go on."""
    assert RunConfig(method="l2rw").to_dict()["strategy_options"] == {}
    options = {"virtual": "released", "learning_rate": 1e-5}
    assert RunConfig(method="meta_weight_net").to_dict()["strategy_options"] == options
    assert RunConfig(strategy="l2rw", dataset="cifar100_lt").run_name == "ce-l2rw-if100-s0"
    built = strategy("l2rw")
    assert built.facts() == {}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"strategy_options": {"meta_per_class": 0}}, "meta_per_class is 0; allowed is a whole number of at least 1"),
        ({"strategy_options": {"meta_per_class": 1.5}}, "meta_per_class is 1.5 of type float; a whole number"),
        ({"strategy_options": {"meta_per_class": None}}, "meta_per_class is None .*; a whole number"),
        ({"dataset": "synthetic"}, "meta_per_class is 10, but 'synthetic' holds no images out; leave it out"),
        ({"dataset": "cifar100_lt_tuning"}, "'cifar100_lt_tuning' holds no images out"),
        ({"dataset": "folder"}, "'folder' holds no images out"),
        ({"strategy": "sam"}, "strategy 'sam' has no option 'meta_per_class'"),
    ],
)
def test_held_out_images_are_refused_where_there_can_be_none(values: dict[str, Any], words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        RunConfig(**{**HELD_OUT, "strategy": "l2rw", **values})


def test_too_many_held_out_images_and_other_data_are_refused() -> None:
    many = {**HELD_OUT, "strategy": "l2rw", "strategy_options": {"meta_per_class": 124}}
    with pytest.raises(ValueError, match=r"meta_per_class is 124; allowed is a whole number in \[0, 123\]"):
        train(RunConfig(**many), progress=False)
    with pytest.raises(ValueError, match="meta_per_class is 10, but these data hold out 0 images of each class"):
        engine.Trainer(RunConfig(**HELD_OUT, strategy="l2rw"), lt.data.load_dataset("digits_lt"), CPU)
    plain, held_out = RunConfig(strategy="l2rw"), lt.data.load_dataset("digits_lt", meta_per_class=10)
    with pytest.raises(ValueError, match="meta_per_class is 0, but these data hold out 10 images of each class"):
        engine.Trainer(plain, held_out, CPU)


def test_several_processes_are_refused_with_held_out_images_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lt_core.training.distributed.world", lambda: 2)
    config = RunConfig(**HELD_OUT, strategy="l2rw")
    with pytest.raises(TrainingError, match="'l2rw' works in one process; start it without torchrun"):
        engine.Trainer(config, load_data(config), CPU)


def test_v_is_moved_by_the_optimiser_of_the_released_code() -> None:
    """SGD with Nesterov momentum; 1e-5 is the released file's rate, which a run may name otherwise."""
    built = strategy("meta_weight_net")
    assert type(built.weight_optimizer) is torch.optim.SGD
    (group,) = built.weight_optimizer.param_groups
    wanted = {"lr": 1e-5, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4, "dampening": 0}
    assert {key: group[key] for key in wanted} == wanted
    assert {id(p) for p in group["params"]} == {id(p) for p in built.weight_net.parameters()}
    other = strategy("meta_weight_net", learning_rate=1e-3).weight_optimizer
    assert other.param_groups[0]["lr"] == 1e-3


@pytest.mark.parametrize("epoch", [0, 17, 19])
def test_the_virtual_step_is_as_long_as_the_schedule_has_it(epoch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the first epoch, and after each of the two drops of 20 epochs."""
    built = strategy("meta_weight_net")
    built.epoch, built.epochs = epoch, 20
    rate = {0: 0.1, 17: 0.1 * 0.01, 19: 0.1 * 0.0001}[epoch]
    images, targets, balanced, labels = batches(built)
    losses = built.loss(built.model(images), targets)
    weights, shares = built.trained(), built.virtual_shares(losses.detach()).detach()
    moves = torch.autograd.grad((shares * losses).sum(), list(weights.values()), retain_graph=True)
    seen: dict[str, torch.Tensor] = {}
    original = built.balanced_gradient

    def watched(moved: dict[str, torch.Tensor], *rest: torch.Tensor) -> dict[str, torch.Tensor]:
        seen.update({name: value.detach().double() for name, value in moved.items()})
        return original(moved, *rest)

    monkeypatch.setattr(built, "balanced_gradient", watched)
    built.learn(images, targets, losses, balanced, labels)
    step = torch.cat([(p.detach().double() - seen[name]).reshape(-1) for name, p in weights.items()])
    direction = torch.cat([move.double().reshape(-1) for move in moves])
    assert (step @ direction / (direction @ direction)).item() == pytest.approx(rate, rel=1e-2)
