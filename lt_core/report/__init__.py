"""Every table and figure of the experiments, made from run records and from nothing else (chapters 10 to 14).

A table or figure is a function of a `Study`. The chapters call these functions, ``python -m lt_core report`` writes
what they give to files, and a test compares the pages with both.
"""

from __future__ import annotations

from lt_core.report import analysis, crossed, family, inside, methods, recipe, systems
from lt_core.report.reproducibility import write_reproducibility
from lt_core.report.statistics import (
    Analysis,
    Comparison,
    analyse,
    mean_sd,
    second_stages,
)
from lt_core.report.study import METHODS, MissingRuns, Run, Study, load_study, same_seeds, seeds, setting
from lt_core.report.write import FIGURES, TABLES, show, write_report

__all__ = [
    "FIGURES",
    "METHODS",
    "TABLES",
    "Analysis",
    "Comparison",
    "MissingRuns",
    "Run",
    "Study",
    "analyse",
    "analysis",
    "crossed",
    "family",
    "inside",
    "load_study",
    "mean_sd",
    "methods",
    "recipe",
    "same_seeds",
    "second_stages",
    "seeds",
    "setting",
    "show",
    "systems",
    "write_report",
    "write_reproducibility",
]
