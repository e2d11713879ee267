"""Recipes and run configurations."""

from __future__ import annotations

import json
import re

import pytest

from lt_core.training import RECIPES, RunConfig


def rates(name: str, epochs: int) -> list[float]:
    return [RECIPES[name].learning_rate_at(epoch, epochs) for epoch in range(epochs)]


def test_plain_is_ldam_drws_schedule() -> None:
    schedule = rates("plain", 200)
    assert schedule[:6] == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1, 0.1])
    assert schedule[159:161] == pytest.approx([0.1, 0.001])
    assert schedule[179:181] == pytest.approx([0.001, 0.00001])
    assert RECIPES["plain"].drw_epoch(200) == 160


def test_strong_is_galas_schedule() -> None:
    schedule = rates("strong", 200)
    assert schedule[:2] == pytest.approx([0.05, 0.1])
    assert schedule[100] == pytest.approx(0.05, rel=0.02)
    assert schedule[-1] == pytest.approx(0.0, abs=1e-12)
    assert schedule[1:] == sorted(schedule[1:], reverse=True)


def test_short_is_plain_with_a_small_network_and_40_epochs() -> None:
    plain, short = RECIPES["plain"], RECIPES["short"]
    assert (short.backbone, short.epochs) == ("resnet8", 40)
    for name in ("batch_size", "augmentation", "schedule", "weight_decay", "momentum", "drop_last"):
        assert getattr(short, name) == getattr(plain, name)
    schedule = rates("short", 40)
    assert schedule[31:33] == pytest.approx([0.1, 0.001])
    assert schedule[35:37] == pytest.approx([0.001, 0.00001])


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("epochs", [1, 2, 3, 7])
def test_very_short_runs_have_a_schedule(name: str, epochs: int) -> None:
    assert all(rate >= 0 for rate in rates(name, epochs))
    assert max(rates(name, epochs)) > 0


def test_config_takes_what_is_not_named_from_the_recipe_and_the_loss() -> None:
    config = RunConfig(loss="ala", recipe="strong")
    assert (config.classifier, config.backbone, config.epochs, config.batch_size) == ("cosine", "resnet32", 200, 64)
    assert RunConfig(loss="gala", recipe="short").classifier == "linear"


def test_config_survives_json() -> None:
    config = RunConfig(loss="gala", loss_options={"lambda_pos": 1.2}, class_order=(1, 0), subset_seed=3)
    assert RunConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_run_names_tell_runs_apart() -> None:
    configs = [
        RunConfig(),
        RunConfig(drw=True),
        RunConfig(seed=1),
        RunConfig(subset_seed=1),
        RunConfig(imbalance_factor=50),
        RunConfig(classifier="cosine"),
        RunConfig(class_order=(1, 0)),
        RunConfig(class_order=(0, 1)),
        RunConfig(loss="gala", loss_options={"accumulate": "single"}),
        RunConfig(loss="gala", loss_options={"eps": 1e-5}),
        RunConfig(loss="gala", loss_options={"eps": 1.00001e-5}),
        RunConfig(loss="ce", loss_options={"weight": [1.0, 2.0]}),
        RunConfig(loss="ce", loss_options={"weight": [2.0, 1.0]}),
        RunConfig(imbalance_factor=100.00001),
        RunConfig(dataset="cifar100_lt"),
        RunConfig(dataset="cifar10_lt"),
        RunConfig(backbone="resnet8"),
        RunConfig(epochs=20),
        RunConfig(batch_size=20),
        RunConfig(augmentation="none"),
        RunConfig(schedule="cosine"),
        RunConfig(learning_rate=0.05),
        RunConfig(weight_decay=5e-4),
    ]
    names = {config.run_name for config in configs}
    assert len(names) == len(configs)
    assert all(re.fullmatch(r"[A-Za-z0-9_.+-]+", name) for name in names)


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"loss": "ldam", "drw": True}, "ldam-drw-if100-s0"),
        ({"classifier": "cosine", "imbalance_factor": 50, "seed": 3}, "ce-cosine-if50-s3"),
        ({"imbalance_factor": 22.5, "recipe": "short", "subset_seed": 1}, "ce-if22.5-s0-subset1"),
        ({"recipe": "strong", "backbone": "resnet32", "epochs": 200, "batch_size": 64}, "ce-if100-s0"),
        ({"recipe": "short", "backbone": "resnet32", "epochs": 5, "batch_size": 64}, "ce-resnet32-e5-b64-if100-s0"),
        ({"augmentation": "none", "weight_decay": 5e-4, "schedule": "cosine"}, "ce-none-lr_cosine-wd0.0005-if100-s0"),
        ({"recipe": "strong", "learning_rate": 0.2, "batch_size": 128}, "ce-b128-lr0.2-if100-s0"),
        ({"dataset": "synthetic", "loss_options": {"reduction": "sum"}}, "synthetic-ce-reduction_sum-if100-s0"),
    ],
)
def test_run_names_leave_out_what_is_usual(values: dict[str, object], name: str) -> None:
    assert RunConfig.from_dict({"dataset": "cifar100_lt", **values}).run_name == name


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"loss": "hinge"}, "loss is 'hinge'; allowed are"),
        ({"dataset": "mnist"}, "dataset is 'mnist'"),
        ({"recipe": "long"}, "recipe is 'long'"),
        ({"backbone": "vgg"}, "backbone is 'vgg'"),
        ({"classifier": "arc"}, "classifier is 'arc'"),
        ({"loss": "ala", "classifier": "linear"}, "works on cosines"),
        ({"imbalance_factor": 0.5}, "imbalance_factor is 0.5"),
        ({"epochs": 0}, "epochs is 0"),
        ({"epochs": 1.5}, "epochs is 1.5"),
        ({"batch_size": 1}, "batch_size is 1"),
        ({"seed": -1}, "seed is -1"),
        ({"drw": "later"}, "drw is 'later'"),
        ({"drw": True, "loss": "cb"}, "drw defers the weights"),
        ({"loss_options": [1]}, r"loss_options is \[1\]"),
        ({"class_order": 3}, "class_order is 3"),
        ({"class_order": ["cat"]}, "a label of class_order is 'cat'"),
        ({"rate": 1}, "configuration key is 'rate'"),
        ({"learning_rate": 0}, "learning_rate is 0"),
        ({"weight_decay": -1.0}, "weight_decay is -1.0"),
        ({"schedule": "linear"}, "schedule is 'linear'"),
        ({"augmentation": "mixup"}, "augmentation is 'mixup'"),
    ],
)
def test_bad_configurations_are_named(values: dict[str, object], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        RunConfig.from_dict(values)
