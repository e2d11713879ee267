"""The map of the field: complete, consistent, and printed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lt_core import methods
from lt_core.cli import app
from lt_core.data import load_dataset
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
    assert row.notes or row.fidelity != "adapted"  # what was adapted is said
    assert re.fullmatch(r"\d\d", row.chapter)
    if row.same_as is not None:
        assert methods.METHODS[row.same_as].same_as is None
    keys = re.findall(r"^@\w+\{(\w+),", (ROOT / "book" / "references.bib").read_text(encoding="utf-8"), re.MULTILINE)
    assert row.paper in keys


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
    assert all(row.title in text for row in methods.METHODS.values())
    rows = json.loads(CliRunner().invoke(app, ["methods", "--json"]).output)
    assert [row["name"] for row in rows] == list(methods.METHODS)
    needed = {"name", "title", "paper", "changes", "chapter", "fidelity", "trains", "reason"}
    assert all(needed <= row.keys() for row in rows)


def test_the_command_line_refuses_what_the_method_decides(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["train", "--method", "ldam", "--loss", "ce", "--out", str(tmp_path / "run")])
    assert done.exit_code == 1
    assert "--method is given together with --loss" in str(done.exception)
