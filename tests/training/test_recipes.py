"""Recipes and run configurations."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

import lt_core as lt
from lt_core.data.augment import Normalize
from lt_core.training import RECIPES, RunConfig
from lt_core.training.engine import Trainer


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


@pytest.mark.parametrize(("imbalance_factor", "warmup"), [(200, 2), (100, 2), (50, 2), (10, 1)])
def test_strongs_warmup_is_galas_where_galas_code_runs(imbalance_factor: float, warmup: int) -> None:
    """GALA's code: ceil(200 iterations / steps an epoch), and an assertion that this is at least 2."""
    steps = sum(lt.data.class_counts(imbalance_factor=imbalance_factor)) // RECIPES["strong"].batch_size
    assert math.ceil(200 / steps) == warmup
    schedule = rates("strong", 200)
    assert schedule.index(max(schedule)) + 1 == max(2, warmup)


def first_weights(**values: object) -> torch.Tensor:
    """Of the classifier of the network that a run starts with."""
    config = RunConfig.from_dict({"backbone": "resnet8", **values})
    model = Trainer(config, lt.data.synthetic(), torch.device("cpu"), precision="float32").model
    return model.classifier.weight.detach()


def test_classifiers_start_as_the_recipe_or_the_configuration_says() -> None:
    kaiming, default = (2 / 64) ** 0.5, (3 * 64) ** -0.5
    assert first_weights(recipe="plain").std().item() == pytest.approx(kaiming, rel=0.1)
    assert torch.equal(first_weights(recipe="plain"), first_weights(recipe="short"))
    assert first_weights(recipe="strong").std().item() == pytest.approx(default, rel=0.1)
    changed = first_weights(recipe="strong", classifier_init="kaiming")
    assert torch.equal(changed, first_weights(recipe="plain"))
    assert torch.equal(first_weights(recipe="plain", classifier_init="default"), first_weights(recipe="strong"))


@pytest.mark.realdata
def test_first_loss_is_that_of_the_code_a_recipe_comes_from(cifar_root: Path) -> None:
    """Cross-entropy of the first images, mean of four seeds: 5.1 in GALA's code, 7.6 in LDAM-DRW's."""
    data = lt.data.cifar100_lt(cifar_root)
    first = torch.randperm(len(data.train_images), generator=torch.Generator().manual_seed(0))[:256]
    images, targets = Normalize()(data.train_images[first]), data.train_targets[first]
    loss = {}
    for recipe in ("plain", "strong"):
        configs = [RunConfig(dataset="cifar100_lt", recipe=recipe, seed=seed) for seed in range(4)]
        models = [Trainer(config, data, torch.device("cpu"), precision="float32").model for config in configs]
        with torch.no_grad():
            loss[recipe] = sum(F.cross_entropy(model.train()(images), targets).item() for model in models) / 4
    assert loss["strong"] == pytest.approx(5.1, abs=0.3)
    assert loss["plain"] == pytest.approx(7.6, abs=1.0)


def test_short_is_plain_with_a_small_network_and_40_epochs() -> None:
    plain, short = RECIPES["plain"], RECIPES["short"]
    assert (short.backbone, short.epochs) == ("resnet8", 40)
    for name in (
        "batch_size", "augmentation", "schedule", "weight_decay", "momentum", "drop_last", "classifier_init"
    ):  # fmt: skip
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
    for recipe, init in (("plain", "kaiming"), ("strong", "default"), ("short", "kaiming")):
        usual = RunConfig(recipe=recipe)
        assert usual.classifier_init == usual.ingredients().classifier_init == init
    assert RunConfig(recipe="strong", classifier_init="kaiming").ingredients().classifier_init == "kaiming"
    assert replace(config, loss="ldam").classifier_init == "default"  # beside a cosine classifier, too


def test_digits_are_trained_by_the_short_recipe_without_augmentation() -> None:
    config = RunConfig()
    used = (config.dataset, config.recipe, config.backbone, config.epochs, config.augmentation)
    assert used == ("digits_lt", "short", "resnet8", 40, "none")
    assert config.ingredients().augmentation == "none"
    assert config.to_dict()["augmentation"] == "none"  # the record says what was used
    assert config.run_name == "digits_lt-ce-if100-s0"
    strong = RunConfig(recipe="strong")
    assert (strong.backbone, strong.schedule, strong.augmentation) == ("resnet32", "cosine", "none")


def test_an_augmentation_that_is_named_is_obeyed_and_in_the_name() -> None:
    config = RunConfig(augmentation="crop_flip")
    assert config.ingredients().augmentation == "crop_flip"
    assert config.run_name == "digits_lt-ce-crop_flip-if100-s0"


@pytest.mark.parametrize("dataset", ["cifar100_lt", "cifar10_lt", "cifar100_lt_tuning", "synthetic"])
def test_the_other_data_sets_have_the_plain_recipe(dataset: str) -> None:
    config = RunConfig(dataset=dataset)
    assert (config.recipe, config.backbone, config.augmentation) == ("plain", "resnet32", "crop_flip")


def test_config_survives_json() -> None:
    config = RunConfig(loss="gala", loss_options={"lambda_pos": 1.2}, class_order=(1, 0), subset_seed=3)
    assert RunConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_run_names_tell_runs_apart() -> None:
    configs = [
        RunConfig(augmentation="crop_flip"),
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
        RunConfig(backbone="resnet32"),
        RunConfig(epochs=20),
        RunConfig(batch_size=20),
        RunConfig(dataset="cifar100_lt", augmentation="none"),
        RunConfig(schedule="cosine"),
        RunConfig(learning_rate=0.05),
        RunConfig(weight_decay=5e-4),
        RunConfig(classifier_init="default"),
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
        ({"recipe": "strong", "classifier_init": "kaiming"}, "ce-init_kaiming-if100-s0"),
        ({"recipe": "plain", "classifier_init": "kaiming"}, "ce-if100-s0"),
        (
            {"dataset": "synthetic", "loss": "la", "loss_options": {"tau": 2.0}},
            "synthetic-la-tau_2.0-if100-s0",
        ),
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
        ({"loss": "focal", "loss_options": {"gama": 1}}, "no option 'gama'; allowed are gamma, weight$"),
        ({"loss": "la", "drw": True, "loss_options": {"t": 1}}, "loss 'la' has no option 't'; allowed are tau$"),
        ({"drw": True, "loss_options": {"t": 1}}, "loss 'ce' has no option 't'; it has none"),
        ({"loss_options": [1]}, r"loss_options is \[1\]"),
        ({"class_order": 3}, "class_order is 3"),
        ({"class_order": ["cat"]}, "a label of class_order is 'cat'"),
        ({"rate": 1}, "configuration key is 'rate'"),
        ({"learning_rate": 0}, "learning_rate is 0"),
        ({"weight_decay": -1.0}, "weight_decay is -1.0"),
        ({"schedule": "linear"}, "schedule is 'linear'"),
        ({"augmentation": "mixup"}, "augmentation is 'mixup'"),
        ({"classifier_init": "zeros"}, "classifier_init is 'zeros'; allowed are 'kaiming', 'default'"),
        ({"classifier": "cosine", "classifier_init": "default"}, "does nothing to a cosine classifier; leave it out"),
        ({"loss": "ala", "recipe": "strong", "classifier_init": "kaiming"}, "does nothing to a cosine classifier"),
    ],
)
def test_bad_configurations_are_named(values: dict[str, object], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        RunConfig.from_dict(values)


@pytest.mark.parametrize(
    "way", [{"mixing": "mixup"}, *({"strategy": name} for name in ("ride", "ensemble", "bbn", "bals"))]
)
def test_gala_is_refused_where_a_step_would_count_its_batch_twice(way: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="which counts a batch once"):
        RunConfig(loss="gala", **way)
    RunConfig(loss="balanced_softmax", **way)
