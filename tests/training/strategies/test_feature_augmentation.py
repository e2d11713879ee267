"""Feature space augmentation: its maps, its groups, and what a mixture may hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import lt_core as lt
from lt_core.training import RunConfig, TrainingError, engine, train
from lt_core.training.strategies.feature_augmentation import FeatureAugmentation, activation_maps, is_common

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    run = engine.Trainer(
        RunConfig(dataset="digits_lt", epochs=2, batch_size=64), lt.data.load_dataset("digits_lt"), CPU
    )
    run.run_epoch()
    run.run_epoch()
    return {name: value.clone() for name, value in run.model.state_dict().items()}


def strategy(weights: dict[str, Tensor] | None, **options: Any) -> FeatureAugmentation:
    config = RunConfig(dataset="digits_lt", strategy="fsa", batch_size=64, epochs=2, strategy_options=options)
    return FeatureAugmentation(config, lt.data.load_dataset("digits_lt"), CPU, "float32", weights)


def test_the_common_classes_of_cifar100_lt_are_47() -> None:
    assert is_common(lt.data.class_counts(), 0.9).tolist() == [True] * 47 + [False] * 53
    assert is_common([5, 90, 5], 0.9).tolist() == [False, True, False]  # by size, not by place
    assert is_common([99, 1], 0.9).tolist() == [True, False]  # one at least


def test_an_activation_map_is_the_gradient_weighted_one(weights: dict[str, Tensor]) -> None:
    """Gradients of the class's logit, averaged over places, times the maps; positive part; stretched."""
    built = strategy(weights)
    model: Any = built.model.eval()
    images = built.normalize(built.images[:6])
    maps = model.maps(images).detach().requires_grad_()
    classes = torch.tensor([0, 3, 9, 1, 1, 7])
    logits = model.classifier(maps.mean(dim=(2, 3)))
    (gradients,) = torch.autograd.grad(logits[torch.arange(6), classes].sum(), maps)
    expected = (gradients.mean(dim=(2, 3), keepdim=True) * maps).sum(1).relu().detach()
    low, high = expected.amin((1, 2), keepdim=True), expected.amax((1, 2), keepdim=True)
    found = activation_maps(maps.detach(), model.classifier.weight[classes].detach())
    for place in range(6):
        if high[place] > low[place]:
            torch.testing.assert_close(found[place], ((expected - low) / (high - low))[place], rtol=1e-4, atol=1e-4)
        else:
            assert found[place].eq(0).all()
    assert found.amax() == 1


def test_the_most_confused_are_the_common_classes_that_look_like_the_class() -> None:
    built = strategy(None)
    common = built.common.nonzero()[:, 0]
    probabilities = torch.full((len(built.data.train_targets), 10), 0.01)
    rows = (
        built.data.train_targets[:, None] == common[[2, 0, 1]]
    )  # images of these are taken for class 9, in this order
    probabilities[:, 9] += (rows * torch.tensor([0.3, 0.2, 0.1])).sum(1)
    rare_twin = built.data.train_targets == 8
    probabilities[rare_twin, 9] = 0.9  # a rare class is no partner
    assert built.most_confused(probabilities, built.data.train_targets)[9].tolist() == common[[2, 0, 1]].tolist()


def test_an_epoch_is_groups_of_eight(weights: dict[str, Tensor]) -> None:
    built = strategy(weights)
    images, given, own = built.order(torch.Generator().manual_seed(0))
    assert len(images) == len(given) == len(own) == 304
    given, own = given.view(-1, 8), own.view(-1, 8)
    assert not built.common[own[:, 0]].any()
    assert (given[:, :4] == own[:, :1]).all()  # the mixtures are labelled as the rare image
    assert (own[:, 1:4] == built.partners[own[:, 0]]).all()
    assert built.common[built.partners[~built.common]].all()
    assert built.common[own[:, 4:]].all()
    assert (given[:, 4:] == own[:, 4:]).all()
    known = {image.numpy().tobytes(): int(y) for image, y in zip(built.images, built.targets, strict=True)}
    assert [known[image.numpy().tobytes()] for image in images] == own.flatten().tolist()
    rare = [image.numpy().tobytes() for image in images.view(-1, 8, *images.shape[1:])[:, 0]]
    times = [rare.count(one) for one in set(rare)]
    assert max(times) - min(times) <= 1


def test_a_place_is_the_rare_image_s_or_its_partner_s_or_empty(weights: dict[str, Tensor]) -> None:
    built = strategy(weights, specific=0.5, generic=0.5)
    generator = torch.Generator().manual_seed(1)
    maps, rows = torch.rand(16, 4, 6, 6, generator=generator), torch.randn(16, 4, generator=generator)
    torch.manual_seed(0)
    fused = built.fuse(maps, rows)
    activation = activation_maps(maps, rows)
    seen = {"rare": 0, "partner": 0, "empty": 0}
    for group in (0, 8):
        untouched = [group, *range(group + 4, group + 8)]
        assert torch.equal(fused[untouched], maps[untouched])
        for partner in range(group + 1, group + 4):
            for row in range(6):
                for column in range(6):
                    value = fused[partner, :, row, column]
                    if torch.equal(value, maps[group, :, row, column]):
                        assert activation[group, row, column] > 0.5
                        seen["rare"] += 1
                    elif torch.equal(value, maps[partner, :, row, column]):
                        assert activation[partner, row, column] < 0.5
                        seen["partner"] += 1
                    else:
                        assert value.eq(0).all()
                        seen["empty"] += 1
    assert min(seen.values()) > 5


def test_thresholds_at_their_ends(weights: dict[str, Tensor]) -> None:
    """Nothing is specific and nothing generic: a mixture is empty, and its logits are the bias."""
    built = strategy(weights, specific=1.0, generic=0.0)
    images, given, own = built.order(torch.Generator().manual_seed(0))
    _, outputs = built.step(images[:64], given[:64], own[:64])
    model: Any = built.model
    mixed = outputs.view(8, 8, 10)[:, 1:4]
    torch.testing.assert_close(mixed, model.classifier.bias.expand_as(mixed))
    plain = built.inference(built.normalize(images[:64])).view(8, 8, 10)
    torch.testing.assert_close(outputs.view(8, 8, 10)[:, 4:], plain[:, 4:], rtol=1e-4, atol=1e-4)


def test_only_the_classifier_moves(weights: dict[str, Tensor]) -> None:
    built = strategy(weights)
    built.train()
    optimizer = torch.optim.SGD(built.parameters(), lr=0.1)  # type: ignore[arg-type]
    images, given, own = built.order(torch.Generator().manual_seed(0))
    loss, _ = built.step(images[:64], given[:64], own[:64])
    loss.backward()
    optimizer.step()
    for name, value in built.model.state_dict().items():
        assert torch.equal(value, weights[name]) != name.startswith("classifier."), name


def test_the_step_is_one_graph(weights: dict[str, Tensor]) -> None:
    torch._dynamo.reset()
    built = strategy(weights)
    built.train()
    batch = [part[:64] for part in built.order(torch.Generator().manual_seed(0))]
    torch.manual_seed(0)
    expected, _ = built.step(*batch)
    torch.manual_seed(0)
    found, _ = torch.compile(built.step, fullgraph=True, backend="eager")(*batch)
    torch.testing.assert_close(found, expected)


def test_the_partners_are_saved(weights: dict[str, Tensor]) -> None:
    built, fresh = strategy(weights), strategy(None)
    assert not torch.equal(built.partners, fresh.partners)
    fresh.load_state_dict(built.state_dict())
    assert torch.equal(built.partners, fresh.partners)


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"batch_size": 60}, "batch_size is 60; strategy 'fsa' needs a multiple of 8"),
        ({"mixing": "mixup"}, "mixing is 'mixup', but strategy 'fsa' needs 'none'"),
        ({"sampler": "sqrt"}, "sampler is 'sqrt', but strategy 'fsa' needs 'uniform'"),
        ({"strategy_options": {"common_share": 1.0}}, "common_share is 1, which leaves no class"),
    ],
)
def test_what_it_refuses(values: dict[str, Any], match: str) -> None:
    def built() -> FeatureAugmentation:
        config = RunConfig(**{"dataset": "digits_lt", "strategy": "fsa", "batch_size": 64, **values})
        return FeatureAugmentation(config, lt.data.load_dataset("digits_lt"), CPU, "float32")

    with pytest.raises(ValueError, match=match):
        built()


def test_its_batch_size_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="batch_size is 60; strategy 'fsa' needs a multiple of 8"):
        RunConfig(dataset="digits_lt", method="fsa", batch_size=60)
    config = RunConfig(dataset="digits_lt", strategy="fsa", strategy_options={"common_share": 1.0})
    with pytest.raises(ValueError, match="common_share is 1, which leaves no class"):
        train(config, tmp_path / "run", progress=False)
    assert not (tmp_path / "run" / "base").exists()


def test_it_starts_from_a_run_and_names_it() -> None:
    assert RunConfig(dataset="cifar100_lt", strategy="fsa").epochs == 40
    with pytest.raises(TrainingError, match="say where that is with --from"):
        train(RunConfig(dataset="digits_lt", method="fsa", batch_size=64, base="short/ce-if100-s0"), progress=False)
