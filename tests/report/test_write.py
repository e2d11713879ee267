"""The `report` and `collect` commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from lt_core import cli, records
from lt_core.report import FIGURES, TABLES, Study, write_report
from lt_core.report.write import markdown, png

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
    assert len(lines) == 1 + len(TABLES) + len(FIGURES)
    for name in TABLES:
        written = [(tmp_path / "out" / "short" / f"{name}.{ending}").exists() for ending in ("md", "tex", "csv")]
        assert all(written) or any(f"{name}: left out, no short run of" in line for line in lines), name
    for name in FIGURES:
        path = tmp_path / "out" / "short" / f"{name}.png"
        assert path.exists() or any(f"{name}: left out, no short run of" in line for line in lines), name
    assert (tmp_path / "out" / "short" / "main.csv").exists()


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
    assert records.collect(tmp_path, tmp_path / "kept") == []
    capsys.readouterr()
    assert run(monkeypatch, "collect", tmp_path, "--into", tmp_path / "kept", "--arrays", "short/ala") == 1
    assert "short/ala is not a finished run" in capsys.readouterr().err


def test_collect_refuses_records_of_uncommitted_code(make_study: MakeStudy, tmp_path: Path) -> None:
    record = make_record(loss="ce")
    record["environment"]["commit"] = "0123456789-dirty"
    make_study([record])
    with pytest.raises(records.RecordError, match="names the commit '0123456789-dirty'"):
        records.collect(tmp_path, tmp_path / "kept")
    assert not (tmp_path / "kept").exists()
    with pytest.raises(records.RecordError, match="there is no record"):
        records.collect(tmp_path / "nowhere", tmp_path / "kept")
