"""The `report` and `collect` commands."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from lt_core import cli, layout, records
from lt_core.report import FIGURES, TABLES, Study, write_report
from lt_core.report.write import MORE_TABLES, markdown, png

from .conftest import make_record, six_methods

MakeStudy = Callable[..., Study]


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["lt_core", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


def test_every_table_and_figure_is_written_or_says_what_it_lacks(make_study: MakeStudy, tmp_path: Path) -> None:
    study = make_study(six_methods(), arrays=True)
    lines = write_report(tmp_path, tmp_path / "out")
    assert lines[0] == str(study)
    assert len(lines) == 1 + len(TABLES) + len(MORE_TABLES) + len(FIGURES)
    for name in TABLES:
        written = [(tmp_path / "out" / "short" / f"{name}.{ending}").exists() for ending in ("md", "tex", "csv")]
        assert all(written) or any(f"{name}: left out, no short run of" in line for line in lines), name
    for name in FIGURES:
        path = tmp_path / "out" / "short" / f"{name}.png"
        assert path.exists() or any(f"{name}: left out, no short run of" in line for line in lines), name
    assert (tmp_path / "out" / "short" / "main.csv").exists()


def test_runs_that_name_a_method_get_the_tables_of_systems_too(make_study: MakeStudy, tmp_path: Path) -> None:
    make_study([make_record(loss="ce")])
    write_report(tmp_path, tmp_path / "none")
    assert not (tmp_path / "none" / "short" / "systems").exists()
    make_study([make_record(method=name) for name in ("ce", "mixup", "focal")])
    lines = write_report(tmp_path, tmp_path / "out")
    there = {path.name for path in (tmp_path / "out" / "short" / "systems").iterdir()}
    tables = {f"{name}.{ending}" for name in ("controlled", "contrasts", "tricks") for ending in ("md", "tex", "csv")}
    assert there == {"cost.png", *tables}
    table = pd.read_csv(tmp_path / "out" / "short" / "systems" / "controlled.csv", index_col=0)
    assert dict(table["minus"]) == {"mixup": "cross-entropy", "focal loss": "cross-entropy"}
    assert not any("left out" in line for line in lines if "systems" in line)


def test_outside_a_clone_of_the_book_the_tables_that_need_its_files_are_left_out(
    make_study: MakeStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_study([*six_methods(), *(make_record(method=name) for name in ("ce", "mixup"))], arrays=True)
    away = tmp_path / "site-packages" / "lt_core"
    away.mkdir(parents=True)
    monkeypatch.setattr("lt_core.records.__file__", str(away / "records.py"))
    monkeypatch.chdir(tmp_path)
    lines = write_report(tmp_path, tmp_path / "out")
    left_out = {line.split(":")[0].strip() for line in lines if "there is no book/results" in line}
    assert {"contrasts", "reliability", "superclasses"} <= left_out, left_out
    assert (tmp_path / "out" / "short" / "main.csv").exists()
    assert (tmp_path / "out" / "short" / "systems" / "controlled.csv").exists()


def test_the_command_and_its_errors(
    make_study: MakeStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "report", tmp_path) == 1
    assert "there is no record" in capsys.readouterr().err
    make_study([make_record(loss="ce")])
    assert run(monkeypatch, "report", tmp_path, "--out", tmp_path / "out") == 0
    assert "ALA" in capsys.readouterr().out


def test_markdown_joins_levels_and_escapes_bars() -> None:
    columns = pd.MultiIndex.from_tuples([("last epoch", "top-1"), ("best", "")])
    table = pd.DataFrame([["1 | 2", None]], index=pd.Index(["a"], name="method"), columns=columns)
    lines = markdown(table).splitlines()
    assert lines[0] == "| method | last epoch top-1 | best |"
    assert lines[2] == "| a | 1 \\| 2 | – |"


def test_equal_figures_are_equal_bytes() -> None:
    pictures = []
    for _ in range(2):
        figure, ax = plt.subplots()
        ax.plot([1, 2])
        pictures.append(png(figure))
        plt.close(figure)
    assert pictures[0] == pictures[1]


def test_collect_copies_records_and_named_arrays_only(
    make_study: MakeStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_study([make_record(loss="ce"), make_record(loss="gala")], arrays=True)
    (tmp_path / "short" / "unfinished").mkdir()
    (tmp_path / "short" / "gala-if100-s0" / "last.pt").write_bytes(b"large")
    assert run(monkeypatch, "collect", tmp_path, "--into", tmp_path / "kept", "--arrays", "short/ce-if100-s0") == 0
    kept = sorted(str(path.relative_to(tmp_path / "kept")) for path in (tmp_path / "kept").rglob("*.*"))
    assert kept == [
        "short/ce-if100-s0/probabilities.npz",
        "short/ce-if100-s0/pushes.npz",
        "short/ce-if100-s0/record.json",
        "short/gala-if100-s0/record.json",
    ]
    assert records.collect(tmp_path, tmp_path / "kept") == ([], [])
    capsys.readouterr()
    assert run(monkeypatch, "collect", tmp_path, "--into", tmp_path / "kept", "--arrays", "short/ala") == 1
    assert "short/ala is not a finished run" in capsys.readouterr().err


def test_collect_leaves_a_changed_record_beside_arrays_of_the_one_before(
    make_study: MakeStudy, tmp_path: Path
) -> None:
    runs, kept, name = tmp_path, tmp_path / "kept", "short/ce-if100-s0"
    first, second = (make_record(loss="ce") for _ in range(2))
    second["environment"]["commit"] = "fedcba9876"
    make_study([first], arrays=True)
    records.collect(runs, kept, [name])
    make_study([second], arrays=True)
    copied, left = records.collect(runs, kept)
    assert copied == []
    assert ["probabilities.npz and pushes.npz of another record; name the run" in line for line in left] == [True]
    assert json.loads((kept / name / "record.json").read_text())["environment"]["commit"] != "fedcba9876"
    records.collect(runs, kept, [name])
    assert json.loads((kept / name / "record.json").read_text())["environment"]["commit"] == "fedcba9876"


def test_collect_leaves_a_first_stage_in_the_folder_of_its_second(make_study: MakeStudy, tmp_path: Path) -> None:
    make_study([make_record(loss="ce")])
    records.save(make_record(loss="ce"), tmp_path / "crt" / "base" / "record.json")
    copied, left = records.collect(tmp_path, tmp_path / "kept")
    assert copied == [str(tmp_path / "kept" / "short" / "ce-if100-s0" / "record.json")]
    assert ["is not in a folder of its recipe, 'short'" in line for line in left] == [True]


def test_collect_leaves_records_of_uncommitted_code(make_study: MakeStudy, tmp_path: Path) -> None:
    record = make_record(loss="ce")
    record["environment"]["commit"] = "0123456789-dirty"
    make_study([record])
    copied, left = records.collect(tmp_path, tmp_path / "kept")
    assert copied == []
    assert ["names the commit '0123456789-dirty'" in line for line in left] == [True]
    assert not (tmp_path / "kept").exists()
    with pytest.raises(records.RecordError, match="there is no record"):
        records.collect(tmp_path / "nowhere", tmp_path / "kept")


class Read(dict):  # type: ignore[type-arg]
    """A record that notes the place of every key that is read, "[]" standing for any element of a list."""

    def __init__(self, content: dict[str, Any], place: str, seen: set[str]) -> None:
        super().__init__({key: noted(value, f"{place}.{key}", seen) for key, value in content.items()})
        self.place, self.seen = place, seen

    def __getitem__(self, key: str) -> Any:
        self.seen.add(f"{self.place}.{key}".removeprefix("."))
        return super().__getitem__(key)


def noted(value: Any, place: str, seen: set[str]) -> Any:
    if isinstance(value, dict):
        return Read(value, place, seen)
    return [noted(item, f"{place}[]", seen) for item in value] if isinstance(value, list) else value


def without(record: Any, place: str) -> None:
    """Delete the key at ``place``, in every element of a list."""
    first, _, rest = place.partition(".")
    name = first.removesuffix("[]")
    if not rest:
        del record[name]
    else:
        for inner in record[name] if first.endswith("[]") else [record[name]]:
            without(inner, rest)


def test_every_key_that_the_report_reads_is_in_the_layout(
    make_study: MakeStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that a new table reads fails here until `lt_core.layout` has it, and a record without it is one line."""
    turned = [(c + 50) % 100 for c in range(100)]
    methods = six_methods(seeds=(0, 1))
    study = make_study([*methods, *(make_record(**{**r["config"], "class_order": turned}) for r in methods[:6])], True)
    seen: dict[str, set[str]] = {}
    for run in study.runs:
        places = seen.setdefault(run.config.loss, set())
        object.__setattr__(run, "record", noted(copy.deepcopy(dict(run.record)), "", places))
    monkeypatch.setattr("lt_core.report.write.Study", lambda folder: study)
    write_report(tmp_path, tmp_path / "out")
    assert {"final.last.top1", "posthoc.sweep.tau", "target_probability.few"} <= seen["ce"]
    assert "adjustment[].QF" in seen["ala"]
    assert "adjustment_per_class.log_theta" in seen["gala"]
    for loss, places in seen.items():
        for place in sorted(places):
            if place.startswith("config"):  # `RunConfig` checks it
                continue
            record = make_record(loss=loss, drw=loss == "ldam")
            without(record, place)
            named = re.sub(r"\[0\]", "[]", layout.fault(record) or layout.study_fault(record))
            assert named == f"{place} is missing"


def half(text: str) -> str:
    return text[: len(text) // 2]


def edit(change: Callable[[dict[str, Any]], Any]) -> Callable[[str], str]:
    """What ``change`` leaves of a record's text."""

    def edited(text: str) -> str:
        record = json.loads(text)
        change(record)
        return json.dumps(record)

    return edited


BAD: dict[str, Callable[[str], str]] = {
    r": final\.last\.top1 is missing": edit(lambda record: record["final"]["last"].pop("top1")),
    r": final\.last\.top1 is 'high'; a finite number is needed": edit(
        lambda record: record["final"]["last"].update(top1="high")
    ),
    r": environment is \[\]; an object is needed": edit(lambda record: record.update(environment=[])),
    r": posthoc\.adjust\.per_class is missing": edit(lambda record: record["posthoc"]["adjust"].pop("per_class")),
    r": epochs is missing": edit(lambda record: record.pop("epochs")),
    r" is not a readable record: .*line": half,
    r" is not a run record of schema 1": edit(lambda record: record.update(schema=99)),
    r" is not a run record of schema \d+": lambda text: "[1, 2]",
    r" is not a readable record: ": lambda text: "",
}
BAD_IN_A_STUDY: dict[str, Callable[[str], str]] = {
    r": posthoc\.sweep is missing": edit(lambda record: record["posthoc"].pop("sweep")),
    r": config: configuration key is 'samples'; allowed are ": edit(lambda record: record["config"].update(samples=1)),
    r": config: epochs is 0": edit(lambda record: record["config"].update(epochs=0)),
}


@pytest.mark.parametrize("message", [*BAD, *BAD_IN_A_STUDY])
def test_report_names_the_file_and_the_key_and_writes_nothing(
    message: str, make_study: MakeStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    make_study([make_record(loss="ce"), make_record(loss="gala"), make_record(loss="ce", seed=1)])
    bad = tmp_path / "short" / "gala-if100-s0" / "record.json"
    bad.write_text((BAD | BAD_IN_A_STUDY)[message](bad.read_text()))
    assert run(monkeypatch, "report", tmp_path, "--out", tmp_path / "out") == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 1
    assert re.match(f"error: {re.escape(str(bad))}{message}", shown.err)
    assert not (tmp_path / "out").exists()


def test_a_bad_record_of_a_later_recipe_stops_the_report_before_it_writes(
    make_study: MakeStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    make_study([make_record(loss="ce", recipe="plain", epochs=40)])
    make_study([make_record(loss="ce")])
    bad = tmp_path / "short" / "ce-if100-s0" / "record.json"
    bad.write_text(half(bad.read_text()))
    assert run(monkeypatch, "report", tmp_path, "--out", tmp_path / "out") == 1
    assert str(bad) in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("message", BAD)
def test_collect_names_the_file_and_the_key_and_keeps_the_others(
    message: str, make_study: MakeStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    make_study([make_record(loss="ce"), make_record(loss="gala")])
    bad = tmp_path / "short" / "gala-if100-s0" / "record.json"
    bad.write_text(BAD[message](bad.read_text()))
    assert run(monkeypatch, "collect", tmp_path, "--into", tmp_path / "kept") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(f"left out: {re.escape(str(bad))}{message}", line)
    kept = [path.parent.name for path in (tmp_path / "kept").rglob("record.json")]
    assert kept == ["ce-if100-s0"]
