"""The map of the field: complete, consistent, and printed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from lt_core import methods
from lt_core.cli import app
from lt_core.data import class_counts, load_dataset
from lt_core.losses import class_balanced_weights
from lt_core.training import RunConfig
from lt_core.training.build import build_run_loss

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", methods.METHODS)
def test_a_row_says_what_it_must(name: str) -> None:
    row = methods.METHODS[name]
    assert row.name == name == name.lower()
    assert set(row.changes) <= set(methods.CHANGES)
    assert row.fidelity in methods.FIDELITY
    assert bool(row.reason) == (row.fidelity == "refused")
    assert row.notes or row.fidelity not in ("adapted", "control")  # what was adapted is said, and what a control lacks
    if row.fidelity == "control":
        controlled = re.findall(r"`(\w+)`", row.notes[0])
        assert row.notes[0].startswith("the control of ")
        assert set(controlled) <= {other.name for other in methods.METHODS.values() if other.fidelity != "control"}
    assert re.fullmatch(r"\d\d", row.chapter)
    if row.same_as is not None:
        assert methods.METHODS[row.same_as].same_as is None


def test_a_method_that_differs_from_released_code_is_not_called_released() -> None:
    for row in methods.METHODS.values():
        departs = any("; the released" in note or "; released" in note for note in row.notes)
        assert not departs or row.fidelity == "adapted", row.name


def test_the_controls_are_those_that_no_paper_has_as_a_method() -> None:
    """Unlike causal norm without subtraction, which its paper has, too."""
    controls = [name for name, row in methods.METHODS.items() if row.fidelity == "control"]
    made_here = "ce_cosine mixup_crt ce_bbn_network ride_no_diversity ce_experts ensemble ce_further ce_more_decay"
    assert controls == made_here.split()


@pytest.mark.parametrize("name", methods.TRAINED)
def test_a_method_makes_a_configuration_that_survives_its_file(name: str) -> None:
    config = RunConfig(dataset="cifar100_lt", method=name)
    assert config.run_name.startswith(f"{name}-if100-s0")
    assert RunConfig.from_stored(json.loads(json.dumps(config.to_dict()))) == config


def test_no_two_methods_are_the_same_run() -> None:
    """But for the rows that say so."""
    seen: dict[str, str] = {}
    for name in methods.TRAINED:
        if methods.METHODS[name].same_as is not None:
            continue
        values = RunConfig(method=name).to_dict() | {"method": None}
        text = json.dumps(values, sort_keys=True) + json.dumps(dict(methods.METHODS[name].base or {}), sort_keys=True)
        assert text not in seen, (name, seen.get(text))
        seen[text] = name


def test_inverse_frequency_is_inverse_frequency() -> None:
    data = load_dataset("digits_lt")
    weights = build_run_loss(RunConfig(method="inverse"), data).weight
    products = [float(w) * n for w, n in zip(weights, data.class_counts, strict=True)]
    assert products == pytest.approx([products[0]] * len(products), rel=1e-6)


def test_class_balanced_weights_are_nearly_inverse_frequency_as_the_map_says() -> None:
    counts = torch.tensor(class_counts(imbalance_factor=100), dtype=torch.float64)
    weights, inverse = class_balanced_weights(counts.long().tolist(), 0.9999, torch.float64), 1 / counts
    off = (weights / weights.mean() / (inverse / inverse.mean()) - 1).abs().max().item()
    said = methods.METHODS["inverse"].notes[1]
    assert f"within {100 * off:.1f} %, tail to head {(weights[-1] / weights[0]).item():.1f} against 100" in said


def test_settings_are_those_of_a_method_that_trains() -> None:
    for name in ("cost_sensitive", "magic"):
        with pytest.raises(KeyError, match=name):
            methods.settings(name)
    with pytest.raises(KeyError, match="ldam"):
        methods.base_settings("ldam")


def test_what_a_method_decides_is_refused_beside_it() -> None:
    for values, key in (
        ({"method": "ldam", "loss": "ala"}, "loss"),
        ({"method": "sqrt", "sampler": "reverse"}, "sampler"),
        ({"method": "ce", "mixing": "mixup"}, "mixing"),
        ({"method": "ldam", "drw": True}, "drw"),
        ({"method": "crt", "strategy_options": {"batchnorm": "train"}}, "strategy_options"),
    ):
        with pytest.raises(ValueError, match=f"{key} is .* decides it"):
            RunConfig.from_dict(values)
    with pytest.raises(ValueError, match="loss is 'ce', but method 'ldam' decides it"):
        RunConfig.from_dict({"method": "ldam", "loss": "ce"})  # the usual value, but somebody wrote it down
    assert RunConfig(method="crt", weight_decay=1e-4).weight_decay == 1e-4  # a default of the method


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cert", "method is 'cert'; close to it are 'crt', "),
        ("CRT", "method is 'CRT'; close to it are 'crt'"),
        ("ldam-drw", "method is 'ldam-drw'; close to it are 'ldam_drw'"),
        ("magic!", "method is 'magic!'; `python -m lt_core methods` lists all"),
        (["crt"], r"method is \['crt'\]; "),
        ("cost_sensitive", "method 'cost_sensitive' does not train here: no code is public"),
    ],
)
def test_a_name_that_does_not_train_is_named(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        RunConfig(method=name)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300  # not the list of them all


def test_the_command_prints_the_map() -> None:
    text = CliRunner().invoke(app, ["methods"]).output
    for row in methods.METHODS.values():
        cells = (row.name, row.title, row.citation, row.chapter, row.fidelity)
        assert re.search(" +".join(map(re.escape, cells)), text), row.name
    table = text.splitlines()[: len(methods.METHODS) + 1]
    assert max(map(len, table)) <= 112
    assert "la is the same function as balanced_softmax" in text
    rows = json.loads(CliRunner().invoke(app, ["methods", "--json"]).output)
    assert [row["name"] for row in rows] == list(methods.METHODS)
    needed = {"name", "title", "paper", "citation", "changes", "chapter", "fidelity", "trains", "reason"}
    assert all(needed <= row.keys() for row in rows)


def test_the_command_line_refuses_what_the_method_decides(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["train", "--method", "ldam", "--loss", "ce", "--out", str(tmp_path / "run")])
    assert done.exit_code == 1
    assert "--method is given together with --loss" in str(done.exception)
