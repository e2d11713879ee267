"""The study's grid files: what each holds, in which order, and that they fit each other."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lt_core.data import class_counts, counts_in_order
from lt_core.training import RunConfig
from lt_core.training.configs import load_contrasts, load_grid, run_directory

FOLDER = Path(__file__).parents[2] / "book" / "experiments"
RESULTS = FOLDER.parent / "results"
FILES = sorted(FOLDER.glob("*.yaml"))
NAMES = [
    "ablation", "cpu_crossed", "cpu_main", "cpu_recipe", "crossed", "full_cpu", "main", "recipe", "spread", "systems",
    "tuning",
]  # fmt: skip
SIX = ["ce", "ce-cosine", "balanced_softmax", "ldam-drw", "ala", "gala"]
NINE = [
    "ce-drw", "ala-drw", "ldam", "focal", "cb", "la", "balanced_softmax-cosine",
    "gala-lambda_neg_0.9-lambda_pos_1.2", "gala-form_formula-lambda_neg_0.9-lambda_pos_1.2",
]  # fmt: skip
DEFAULTS = {"gala": 1.0, "la": 1.0, "ldam": 0.5, "ala": 30.0, "focal": 2.0, "cb": 0.9999}  # of the option that is tuned


def grid(name: str) -> list[RunConfig]:
    return load_grid(FOLDER / f"{name}.yaml")


def method(config: RunConfig) -> str:
    """The run's name without imbalance factor, seeds and class order."""
    return re.sub(r"-if[\d.]+-s\d+(-subset\d+)?(-order\w+)?$", "", config.run_name)


def settings(configs: list[RunConfig], *keys: str) -> Counter[tuple[Any, ...]]:
    return Counter(tuple(getattr(config, key) for key in keys) for config in configs)


def orders(configs: list[RunConfig], name: str) -> list[tuple[int, ...] | None]:
    return [config.class_order for config in configs if method(config) == name]


def test_these_are_the_files() -> None:
    assert [path.stem for path in FILES] == NAMES


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_says_how_many_runs_it_has_and_how_to_start_them(path: Path) -> None:
    comment = path.read_text(encoding="utf-8").split("\ndefaults:")[0]
    assert all(line.startswith("# ") for line in comment.splitlines())
    options = "(?: --precision bfloat16| --test-every 5)?"
    command = rf"^# (\d+) runs\b.*: python -m lt_core grid (\S+) --out runs(\S*){options}$"
    stated = re.search(command, comment, re.MULTILINE)
    assert stated is not None
    assert int(stated[1]) == len(load_grid(path))
    assert stated[2] == f"book/experiments/{path.name}"
    assert stated[3] == ("/systems" if path.stem == "systems" else "")  # the same names, other settings


def test_files_that_share_a_run_agree_on_it() -> None:
    found: dict[str, dict[str, Any]] = {}
    for path in FILES:
        for config in load_grid(path):
            unnamed = {**config.to_dict(), "method": None}  # `--method ce` is `--loss ce`, and says so
            assert found.setdefault(run_directory(config), unnamed) == unnamed


def test_every_second_stage_of_systems_starts_from_a_run_of_the_file() -> None:
    started: set[str] = set()
    for config in grid("systems"):
        if config.base is not None:
            assert config.base in started
        started.add(run_directory(config))
    kept = {path.parent for name in ("systems", "systems_cpu") for path in RESULTS.glob(f"{name}/*/*/record.json")}
    assert len(kept) > 150
    assert {f"{path.parent.name}/{path.name}" for path in kept} <= started


def test_main_begins_with_the_six_methods_then_other_factors_then_seeds_then_the_rest() -> None:
    configs = grid("main")
    assert {config.recipe for config in configs} == {"strong"}
    blocks = [configs[:6], configs[6:24], configs[24:84], configs[84:]]
    assert [method(config) for config in blocks[0]] == SIX
    assert set(settings(blocks[0], "imbalance_factor", "seed")) == {(100, 0)}
    assert settings(blocks[1], "imbalance_factor", "seed") == {(factor, 0): 6 for factor in (200, 50, 10)}
    more = {(100, seed): 6 for seed in (1, 2, 3, 4)} | {(f, seed): 6 for f in (200, 50, 10) for seed in (1, 2)}
    assert settings(blocks[2], "imbalance_factor", "seed") == more
    assert Counter(method(config) for config in configs) == dict.fromkeys(SIX + NINE, 14)
    assert sorted(method(config) for config in blocks[3][:9]) == sorted(NINE)
    assert not {method(config) for config in blocks[3]} & set(SIX)


def test_cpu_main_is_the_six_methods_seed_by_seed() -> None:
    configs = grid("cpu_main")
    assert {(config.recipe, config.imbalance_factor) for config in configs} == {("short", 100)}
    for seed in range(3):
        part = configs[6 * seed : 6 * seed + 6]
        assert sorted(method(config) for config in part) == sorted(SIX)
        assert {config.seed for config in part} == {seed}


def test_full_cpu_begins_with_the_cpu_schedule_and_goes_on_at_full_length() -> None:
    configs = grid("full_cpu")
    short, full = configs[:17], configs[17:]
    assert {config.recipe for config in short} == {"short"}
    methods = ["ala-drw", "ce-drw", "ldam", "ce-drw-cosine"]
    assert Counter(method(config) for config in short[:12]) == dict.fromkeys(methods, 3)
    assert [(config.subset_seed, config.class_order is None) for config in short[12:16]] == [
        (1, True), (2, True), (0, False), (0, False),
    ]  # fmt: skip
    known = [run_directory(config) for config in grid("spread") if config.class_order and config.loss == "ce"][:2]
    assert [run_directory(config).split("order")[1] for config in short[14:16]] == [n.split("order")[1] for n in known]
    assert (full[0].epochs, full[0].backbone) == (200, "resnet32")
    five = ["ce", "ldam-drw", "balanced_softmax", "ala-drw", "gala"]
    assert [(config.recipe, method(config)) for config in full[:5]] == [("plain", name) for name in five]
    assert sorted(method(config) for config in full[5:10]) == sorted(five)
    assert {config.recipe for config in full[5:10]} == {"strong"}
    assert [(method(config), config.imbalance_factor) for config in full[10:13]] == [("gala", f) for f in (200, 50, 10)]
    assert [method(config) for config in full[13:16]] == ["ce-cosine", "ala", "ldam"]
    seeds = {(seed, recipe): number for seed in (1, 2) for recipe, number in (("plain", 3), ("strong", 2))}
    assert settings(full[16:], "seed", "recipe") == seeds


@pytest.mark.parametrize(
    ("files", "methods"),
    [(["crossed"], [name for name in SIX if name != "ce"]), (["cpu_main", "cpu_crossed"], ["ce-cosine", "ala"])],
)
def test_rotations_give_every_class_ten_places(files: list[str], methods: list[str]) -> None:
    configs = [config for name in files for config in grid(name) if config.seed == 0]
    profile = class_counts()
    for name in methods:
        found = orders(configs, name)
        assert len(found) == 10
        assert found[0] is None
        by_class = list(zip(*(counts_in_order(profile, order) for order in found), strict=True))
        assert all(len(set(counts)) == 10 for counts in by_class)
        assert found == orders(configs, "balanced_softmax")


@pytest.mark.parametrize("recipe", ["plain", "strong", "short"])
def test_recipe_changes_one_ingredient_at_a_time(recipe: str) -> None:
    configs = [config for config in grid("cpu_recipe" if recipe == "short" else "recipe") if config.recipe == recipe]
    usual = RunConfig(dataset="cifar100_lt", recipe=recipe).to_dict()
    changes: Counter[str] = Counter()
    for config in configs:
        different = {key for key, value in config.to_dict().items() if value != usual[key]} - {"loss", "seed"}
        assert different in ({"batch_size", "learning_rate"}, set()) or len(different) == 1
        changes["+".join(sorted(different))] += 1
    each = {"schedule": 1, "weight_decay": 1, "batch_size": 1}
    if recipe == "short":
        assert changes == {"augmentation": 2, **each}
    else:
        each |= {"": 1, "augmentation": 1, "batch_size+learning_rate": 1}
        assert changes == {name: 6 * number for name, number in each.items()}
        assert settings(configs, "loss") == {("ce",): 18, ("balanced_softmax",): 18}
        assert settings(configs, "seed") == {(seed,): 12 for seed in range(3)}


def test_ablation_has_the_rows_of_table_4_and_each_option_of_both_losses() -> None:
    configs = grid("ablation")
    ala = [config for config in configs if config.recipe == "plain"]
    gala = [config for config in configs if config.recipe == "strong"]
    table4 = ["ce-cosine", "ldam", "ala-difficulty_False", "ala-quantity_None", "ala-quantity_ldam", "ala"]
    first = [method(config).replace("-drw", "") for config in ala[:12]]
    assert Counter(first) == dict.fromkeys(table4, 2)
    assert settings(ala, "seed", "drw") == {(seed, drw): 13 for seed in range(3) for drw in (False, True)}
    assert {config.loss for config in gala} == {"gala"}
    assert sorted({config.loss_options.get("lambda_pos", 1.0) for config in gala}) == [0.5, 0.8, 1.0, 1.2, 1.5]
    assert settings(gala, "seed") == {(seed,): 8 for seed in range(3)}
    options = {(key, value) for config in configs for key, value in config.loss_options.items()}
    assert options >= {("difficulty", "probability"), ("detach", False), ("size", 0.5), ("accumulate", "single")}


def test_spread_varies_one_source_at_a_time() -> None:
    configs = grid("spread")
    for loss in ("ce", "gala"):
        runs = [(c.seed, c.subset_seed, c.class_order) for c in configs if c.loss == loss]
        varied = [sum(value not in (0, None) for value in run) for run in runs]
        assert varied == [0] + [1] * 27
        for source in range(3):
            assert len({run[source] for run in runs}) == 10


def test_tuning_tries_five_configurations_of_each_method_and_the_default_first() -> None:
    configs = grid("tuning")
    assert settings(configs, "dataset", "recipe", "seed") == {("cifar100_lt_tuning", "strong", 0): 31}
    assert settings(configs, "loss") == {("ce",): 1, **{(loss,): 5 for loss in DEFAULTS}}
    for loss in DEFAULTS:
        first, *others = (config for config in configs if config.loss == loss)
        assert first.loss_options == {}
        assert {config.drw for config in (first, *others)} == {loss == "ldam"}
        values = {value for config in others for value in config.loss_options.values()}
        assert len(values) == 4
        assert DEFAULTS[loss] not in values  # such a candidate would be the first one again


def test_the_contrasts_of_the_study_are_written_down() -> None:
    """Each method against the run that lacks only its idea, at the seeds that both have."""
    asked = {
        name: load_contrasts(FOLDER / f"{name}.yaml", recipe)
        for name, recipe in (("cpu_main", "short"), ("main", "strong"))
    }
    assert len(asked["cpu_main"]) == 6
    assert len(asked["main"]) == 8
    assert ("GALA", "balanced softmax") in asked["cpu_main"]
    assert ("GALA", "balanced softmax") in asked["main"]
    for pairs in asked.values():
        assert ("ALA", "cross-entropy (cosine)") in pairs
    assert load_contrasts(FOLDER / "full_cpu.yaml", "plain") == [("ALA-DRW", "LDAM-DRW")]
    assert load_contrasts(FOLDER / "full_cpu.yaml", "strong") == [("GALA", "balanced softmax")]
