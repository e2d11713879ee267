"""The table of systems, on made-up records whose answers are known: whatever is recorded, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lt_core as lt
from lt_core import records
from lt_core.methods import METHODS
from lt_core.report import systems
from lt_core.report.published import PUBLISHED
from lt_core.report.published_systems import REPORTED, TRICKS, TRICKS_BASELINE, TRICKS_CONTROL
from lt_core.report.statistics import analyse, bonferroni_quantile
from lt_core.training import RunConfig

from .conftest import make_record

STUDY = Path(__file__).parents[2] / "book" / "results" / "study"


def made(method: str, top1: float, seed: int = 0, cpu: float | None = 100.0, **config: Any) -> dict[str, Any]:
    """A record of a method with the same accuracy in every class."""
    record = make_record(np.full(100, top1), seed=seed, method=method, **config)
    if len(record["epochs"]) > 60:
        record["epochs"] = record["epochs"][19::20]
    if cpu is not None:
        record["environment"]["cpu_seconds"] = cpu
    return record


def staged(
    method: str, top1: float, base: str, parent: float, seed: int = 0, cpu: float | None = 1000.0, own: float = 7.0
) -> dict[str, Any]:
    record = made(method, top1, seed, own)
    run = f"short/{base}-if100-s{seed}"
    return record | {"base": {"run": run, "checksum": "0", "top1": parent, "seconds": 1.0, "cpu_seconds": cpu}}


def written(folder: Path, *made_records: dict[str, Any]) -> systems.Systems:
    for record in made_records:
        config = RunConfig.from_stored(record["config"])
        records.save(record, folder / str(config.recipe) / config.run_name / "record.json")
    return systems.load_systems("short", folder)


def test_every_system_of_the_grid_has_a_control_in_the_grid() -> None:
    planned = systems.load_systems("short").planned
    assert len(planned) > 50
    assert set(planned) - {"ce"} == set(systems.CONTROLS)
    for name, control in systems.CONTROLS.items():
        if control == systems.PARENT:
            assert METHODS[name].base is not None, name
        else:
            assert control in planned
            assert control != name
    assert set(systems.load_systems("plain").planned) <= set(planned)


def test_a_control_differs_in_no_more_rooms_than_the_method() -> None:
    """What the control changes, the method changes too, but for those that are said to lack more."""
    for name, control in systems.CONTROLS.items():
        if control != systems.PARENT and name not in systems.ALSO:
            there = set(METHODS[control].changes)
            assert there <= set(METHODS[name].changes) | {"procedure"}, (name, control)


def test_without_a_record_everything_is_empty_and_says_so(tmp_path: Path) -> None:
    none = systems.load_systems("short", tmp_path)
    assert none.rows() == []
    assert none.setting() == ""
    assert none.missing == none.planned
    assert none.coverage().startswith(f"0 of the grid's {len(none.planned)} systems have a run")
    assert systems.controlled(none).empty
    assert set(systems.contrasts(none)["difference and interval"]) == {systems.NOT_RECORDED}
    with pytest.raises(lt.report.MissingRuns, match="no short run of cross-entropy"):
        systems.tricks(none)
    with pytest.raises(lt.report.MissingRuns, match="no contrasts in recipe plain"):
        systems.contrasts(systems.load_systems("plain", tmp_path))
    assert systems.cost(none).axes
    assert lt.widgets.MethodTable(none.rows()).shown == []


def test_a_row_has_means_cost_control_and_what_was_published(tmp_path: Path) -> None:
    found = written(
        tmp_path, made("ce", 30.0, cpu=200.0), made("ce", 32.0, seed=1, cpu=200.0), made("mixup", 33.0, cpu=300.0)
    )
    ce, mixup = found.rows()
    assert (ce["method"], ce["seeds"], ce["top1"], ce["times"], ce["difference"]) == (
        "cross-entropy",
        2,
        31.0,
        1.0,
        None,
    )
    assert (mixup["control"], mixup["difference"], mixup["cost"], mixup["times"]) == ("cross-entropy", 3.0, 300, 1.5)
    assert mixup["published"] == 40.82
    assert "400" in mixup["recipe"]
    assert "zhangyongshun/BagofTricks-LT" in mixup["recipe"]
    assert found.differences("mixup") == {0: 3.0}  # seed 1 is cross-entropy's alone
    assert "mixup" not in found.missing
    assert "focal" in found.missing
    assert "2 of the grid's" in found.coverage()
    assert "1 of them several seeds" in found.coverage()


def test_a_row_is_of_the_folder_where_it_shares_most_seeds_with_its_control(tmp_path: Path) -> None:
    both = {"range_loss": 29.0, "class_balanced": 28.0}
    written(tmp_path / "systems_cpu", *(made(name, top1, seed) for name, top1 in both.items() for seed in (0, 1)))
    first = [made("range_loss", 30.0, seed) for seed in (0, 1, 2)]
    found = written(tmp_path / "systems", *first, made("class_balanced", 25.0))
    assert found.place("range_loss") == 1
    assert found.differences("range_loss") == {0: 1.0, 1: 1.0}
    assert found.place("class_balanced") == 1  # no control in either: where it has more seeds itself
    assert found.place("range_loss", "class_balanced") == 1


def test_a_second_stage_is_compared_with_its_parent_and_pays_for_it(tmp_path: Path) -> None:
    found = written(tmp_path, made("ce", 30.0), staged("crt", 34.0, "ce", 29.0))
    row = found.rows()[1]
    assert (row["starts_from"], row["control"]) == ("cross-entropy", "cross-entropy")
    assert row["difference"] == 5.0  # its parent's 29, not the table's 30
    assert row["cost"] == 1007
    without = written(tmp_path / "b", staged("crt", 34.0, "ce", 29.0, cpu=None))
    assert without.rows()[0]["cost"] is None, "the cost of a part is not the cost of the whole"


def test_a_run_with_another_setting_is_no_row(tmp_path: Path) -> None:
    other = made("ce", 50.0)
    other["config"]["batch_size"] = 64
    fewer = made("focal", 50.0, imbalance_factor=10)
    assert written(tmp_path, other, fewer).rows() == []
    assert systems.method_of(RunConfig(dataset="cifar100_lt", recipe="short", method="sam")) == "sam"
    assert systems.method_of(RunConfig(dataset="cifar100_lt", recipe="short", sampler="sqrt")) == "sqrt"
    assert systems.method_of(RunConfig(dataset="cifar100_lt", recipe="short", epochs=3)) is None


def test_two_runs_of_one_method_and_seed_are_refused(tmp_path: Path) -> None:
    first, second = made("ce", 30.0), made("ce", 31.0)
    del second["config"]["method"]
    records.save(first, tmp_path / "short" / "a" / "record.json")
    records.save(second, tmp_path / "short" / "b" / "record.json")
    with pytest.raises(records.RecordError, match="second run of ce with seed 0"):
        systems.load_systems("short", tmp_path)


def test_controlled_is_by_seed_and_one_seed_says_so(tmp_path: Path) -> None:
    runs = [made("ce", v, seed=s) for s, v in enumerate((30.0, 31.0, 32.0))]
    runs += [made("focal", v, seed=s) for s, v in enumerate((29.0, 31.0, 31.0))]
    table = systems.controlled(written(tmp_path, *runs, made("mixup", 33.5)))
    assert table.loc["focal loss", "difference"] == "−0.7\u00a0±\u00a00.6"
    assert table.loc["focal loss", "seeds"] == 3
    assert list(table.loc["mixup", ["difference", "seeds"]]) == ["+3.5", systems.ONE_SEED]
    assert "cross-entropy" not in table.index
    assert "verdict" in table.attrs["note"]


def test_a_contrast_has_an_interval_from_two_seeds_on(tmp_path: Path) -> None:
    first = written(tmp_path / "a", made("ce", 30.0), made("mixup", 35.0))
    row = systems.contrasts(first).loc["mixup\u00a0− cross-entropy"]
    assert (row["verdict"], row["difference and interval"]) == ("–", "+5.0 (one seed)")
    values = {"mixup": {0: 35.0, 1: 36.5, 2: 36.0}, "ce": {0: 30.0, 1: 31.0, 2: 32.0}}
    both = [made(name, v, seed=s) for name, by_seed in values.items() for s, v in by_seed.items()]
    table = systems.contrasts(written(tmp_path / "b", *both))
    row = table.loc["mixup\u00a0− cross-entropy"]
    by_hand = analyse(values)
    number = len(table)  # corrected for all the questions of the file, recorded or not
    assert number == 8
    wanted = by_hand.difference("mixup", "ce", bonferroni_quantile(number, by_hand.degrees))
    assert row["difference and interval"] == str(wanted)
    assert row["verdict"] == wanted.verdict
    assert set(table.drop(row.name)["verdict"]) == {"–"}


def test_second_stages_are_compared_by_seed(tmp_path: Path) -> None:
    """The parents move a lot from seed to seed, the differences do not."""
    runs = [made("ce", v, seed=s) for s, v in enumerate((20.0, 30.0, 40.0))]
    runs += [staged("crt", v + d, "ce", v, seed=s) for s, (v, d) in enumerate(((20, 3.0), (30, 3.2), (40, 2.8)))]
    row = systems.contrasts(written(tmp_path, *runs)).loc["cRT\u00a0− cross-entropy"]
    half = bonferroni_quantile(8, 2) * 0.2 / 3**0.5
    assert row["difference and interval"] == f"+3.0 [{3 - half:+.1f}, {3 + half:+.1f}]"
    assert row["verdict"] == "clear"


def on_two(tmp_path: Path, first: list[dict[str, Any]], second: list[dict[str, Any]]) -> systems.Systems:
    """The rows of a folder, beside which another of the same name has the runs of a CPU."""
    written(tmp_path / "grid_cpu", *second)
    return written(tmp_path / "grid", *first)


def test_a_row_and_its_difference_are_of_one_processor(tmp_path: Path) -> None:
    """A row is of the folder that has more seeds of it, at equal numbers of the first; its control is of the same."""
    first = [made("ce", 30.0), made("ce", 31.0, seed=1), made("mixup", 33.0), made("focal", 31.0)]
    second = [made("ce", v, seed=s) for s, v in enumerate((20.0, 21.0, 22.0))]
    second += [made("mixup", 25.0), made("focal", 22.0), made("focal", 23.0, seed=1), made("sam", 24.0)]
    found = on_two(tmp_path, first, second)
    assert found.systems["ce"].top1 == {0: 20.0, 1: 21.0, 2: 22.0}
    assert found.systems["mixup"].top1 == {0: 33.0}
    assert found.differences("mixup") == {0: 3.0}  # minus 30, though cross-entropy's row is of the other folder
    assert found.differences("focal") == {0: 2.0, 1: 2.0}
    assert found.differences("sam") == {0: 4.0}
    table = systems.controlled(found)
    assert list(table.loc[["mixup", "focal loss", "SAM"], "seeds"]) == [systems.ONE_SEED, "2 (CPU)", "1 (CPU)"]
    mixup = systems.tricks(found).loc["mixup", "ours minus our cross-entropy"]
    assert mixup == "+3.0"


def test_costs_are_of_the_cpu_where_there_are_such_runs(tmp_path: Path) -> None:
    first = [made("ce", 30.0, cpu=5.0), made("mixup", 31.0, cpu=5.0)]
    found = on_two(tmp_path, first, [made("ce", 29.0, cpu=200.0)])
    assert [row["cost"] for row in found.rows()] == [200, None]
    assert written(tmp_path / "alone", *first).systems["mixup"].cost == 5.0


def test_runs_on_both_processors_are_set_beside_each_other(tmp_path: Path) -> None:
    first = [made("ce", 30.0), made("ce", 31.0, seed=1), made("mixup", 33.0), made("focal", 31.0)]
    text = on_two(tmp_path, first, [made("ce", 30.5), made("mixup", 31.0), made("focal", 31.5, seed=1)]).agreement()
    assert text.startswith("2 runs were made on both processors: CPU minus CPU +0.8\u00a0±\u00a01.8 points, 1 of them")
    assert text.endswith("the most +2.0 (mixup, seed 0).")
    assert written(tmp_path / "alone", *first).agreement() == ""


def test_a_contrast_uses_all_seeds_that_both_have(tmp_path: Path) -> None:
    """And the variance of all methods with these seeds, on the processor where there are more of them."""
    values = {
        "mixup": (35.0, 36.5, 36.0), "ce": (30.0, 31.0, 32.0), "bbn": (31.0, 33.0), "ce_bbn_network": (30.0, 31.5)
    }  # fmt: skip
    runs = [made(name, v, seed=s) for name, by_seed in values.items() for s, v in enumerate(by_seed)]
    table = systems.contrasts(on_two(tmp_path, runs, [made("mixup", 50.0), made("ce", 20.0)]))
    three = analyse({name: dict(enumerate(values[name])) for name in ("mixup", "ce")})
    two = analyse({name: dict(enumerate(v[:2])) for name, v in values.items()})
    mixup, bbn = table.loc["mixup\u00a0− cross-entropy"], table.loc["BBN\u00a0− cross-entropy (BBN's network)"]
    wanted = three.difference("mixup", "ce", bonferroni_quantile(8, three.degrees))
    assert (mixup["seeds"], mixup["difference and interval"]) == (3, str(wanted))
    wanted = two.difference("bbn", "ce_bbn_network", bonferroni_quantile(8, two.degrees))
    assert (bbn["seeds"], bbn["difference and interval"]) == (2, str(wanted))


def test_second_stages_take_the_processor_with_more_seeds(tmp_path: Path) -> None:
    first = [staged("crt", 34.0, "ce", 29.0), staged("mixup_crt", 31.0, "mixup", 24.0)]
    second = [staged("crt", v, "ce", 30.0, seed=s) for s, v in enumerate((33.0, 34.0))]
    table = systems.contrasts(on_two(tmp_path, first, second))
    row = table.loc["cRT\u00a0− cross-entropy"]
    half = bonferroni_quantile(8, 1) * 0.5
    assert (row["seeds"], row["difference and interval"]) == (2, f"+3.5 [{3.5 - half:+.1f}, {3.5 + half:+.1f}]")
    assert set(table.drop(row.name)["difference and interval"]) == {systems.NOT_RECORDED}


def test_the_study_is_read_too() -> None:
    """Its records are older than the names of methods."""
    rows = {row["method"]: row for row in systems.load_systems("short", STUDY).rows()}
    assert {"cross-entropy", "balanced softmax", "LDAM-DRW", "ALA", "GALA"} <= set(rows)
    assert rows["balanced softmax"]["seeds"] >= 3
    assert rows["LDAM-DRW"]["control"] == "LDAM"


def test_published_figures_agree_with_the_table_of_chapter_11() -> None:
    there = {row.method: row.top1.get(100) for row in PUBLISHED}
    assert REPORTED["mislas"].top1 == there["MiSLAS, two stages"]
    assert REPORTED["gala"].top1 == there["GALA"]
    assert REPORTED["ce"].top1 == there["cross-entropy (BagofTricks)"]
    assert REPORTED["balanced_softmax"].top1 == there["balanced softmax (BagofTricks)"]
    assert set(REPORTED) <= set(METHODS)
    for reported in REPORTED.values():
        assert reported.recipe
        assert "/" in reported.source
        assert 30 < float(reported.top1) < 60


def test_tricks_are_set_beside_their_own_cross_entropy(tmp_path: Path) -> None:
    assert (TRICKS_CONTROL, TRICKS_BASELINE) == ("37.73", "38.32")
    table = systems.tricks(written(tmp_path, made("ce", 30.0), made("sqrt", 29.0), made("mixup", 31.0)))
    assert list(table.index) == [trick.name for trick in TRICKS]
    assert table.loc["square-root sampling", "minus their cross-entropy"] == "−0.9"
    assert table.loc["square-root sampling", "ours minus our cross-entropy"] == "−1.0"
    assert table.loc["mixup", "what else differs"] == "400 epochs"
    assert table.loc["cRT", "ours minus our cross-entropy"] == systems.NOT_RECORDED
    assert table.loc["square root of it", "ours minus our cross-entropy"] == "not in our grid"
    # Weights at beta 0.9 are near even, and no run of ours has them.
    for name in ("class-balanced", "class-balanced weights, deferred"):
        assert table.loc[name, "ours minus our cross-entropy"] == "not in our grid"
        assert "0.9" in table.loc[name, "what else differs"]


def test_the_map_has_every_method_once() -> None:
    figure = systems.map_of_methods()
    words = " ".join(text.get_text() for text in figure.axes[0].texts)
    for row in METHODS.values():
        if row.same_as is None:
            assert row.title in words.replace("  ", " "), row.name
    dots = sum(line.get_marker() == "o" for line in figure.axes[0].lines)
    rooms = {row.changes for row in METHODS.values() if row.same_as is None}
    assert dots == sum(map(len, {frozenset(changes) for changes in rooms}))


def test_the_cost_has_a_mark_for_each_system_and_hollow_ones_for_one_seed(tmp_path: Path) -> None:
    runs = [made("ce", 30.0), made("ce", 31.0, seed=1), made("mixup", 33.0), made("ensemble", 34.0)]
    ax = systems.cost(written(tmp_path, *runs, staged("crt", 34.0, "ce", 29.0))).axes[0]
    assert len(ax.containers) == 4
    hollow = [container[0].get_markerfacecolor() == "none" for container in ax.containers]
    assert sum(hollow) == 3
    assert systems.kind_of(METHODS["ensemble"]) == "another network"
    assert systems.kind_of(METHODS["ldam"]) == "one stage"
