"""Figures of the book: one style, a colour-blind-safe palette, and the pictures that several chapters draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lt_core.records import GROUPS, label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's palette; black is kept for reference lines.
BLUE, ORANGE, GREEN, PINK, SKY, RED, YELLOW = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442",
)  # fmt: skip
GREY = "#6E6E6E"
PALETTE = (BLUE, ORANGE, GREEN, PINK, SKY, RED)
GROUP_COLOURS = {"many": BLUE, "medium": GREEN, "few": RED}
GROUP_LINES = {"many": "-", "medium": "--", "few": ":"}  # colour is never the only carrier
METHOD_COLOURS = {
    "cross-entropy": GREY,
    "cross-entropy (cosine)": PINK,
    "LDAM-DRW": ORANGE,
    "balanced softmax": BLUE,
    "ALA": GREEN,
    "GALA": RED,
}
METHOD_MARKERS = {
    "cross-entropy": "o",
    "cross-entropy (cosine)": "P",
    "LDAM-DRW": "s",
    "balanced softmax": "^",
    "ALA": "D",
    "GALA": "v",
}


def use_style() -> None:
    """Set matplotlib's defaults for the book: opaque white ground (it must read in dark mode too), light grid."""
    import matplotlib.pyplot as plt

    plt.rcParams.update(
        {
            "figure.figsize": (6.4, 3.4),
            "figure.dpi": 110,
            "savefig.dpi": 110,
            "figure.facecolor": "white",
            "savefig.facecolor": "white",
            "savefig.transparent": False,
            "figure.constrained_layout.use": True,
            "axes.prop_cycle": plt.cycler(color=PALETTE),
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "grid.color": "#DDDDDD",
            "grid.linewidth": 0.6,
            "font.size": 10,
            "axes.titlesize": 11,
            "legend.frameon": False,
            "lines.linewidth": 1.8,
        }
    )


def class_profile(ax: Axes, class_counts: Sequence[int]) -> None:
    """Images per class, largest first, coloured by shot group and with the groups named on the axis."""
    import numpy as np

    from lt_core.metrics import shot_groups

    counts = np.asarray(class_counts)
    order = np.argsort(-counts, kind="stable")
    masks = shot_groups(class_counts)
    for group in GROUPS:
        inside = np.asarray(masks[group])[order]
        ax.bar(np.flatnonzero(inside), counts[order][inside], width=0.9, color=GROUP_COLOURS[group], label=group)
    ax.set(xlabel="class, largest first", ylabel="training images")
    ax.legend()


def per_class_accuracy(ax: Axes, records: Sequence[Mapping[str, Any]], class_counts: Sequence[int]) -> None:
    """Accuracy of every class in percent, largest class first, in the manner of ALA's Figure 1: a marker a method."""
    import numpy as np

    order = np.argsort(-np.asarray(class_counts), kind="stable")
    for record in records:
        name = label(record)
        accuracy = np.asarray(record["final"]["last"]["per_class"])[order]
        ax.plot(accuracy, METHOD_MARKERS.get(name, "o"), color=METHOD_COLOURS.get(name), label=name, ms=3.5, alpha=0.85)
    ax.set(xlabel="class, largest first", ylabel="test accuracy (%)", ylim=(-3, 103))
    ax.legend()


def group_curves(ax: Axes, rows: Sequence[Mapping[str, Any]], key: str) -> None:
    """A quantity of the three shot groups over the epochs; ``rows`` hold ``epoch`` and ``key``: [many, medium, few]."""
    epochs = [row["epoch"] for row in rows]
    for index, group in enumerate(GROUPS):
        values = [row[key][index] for row in rows]
        ax.plot(epochs, values, GROUP_LINES[group], color=GROUP_COLOURS[group], label=group)
    ax.set(xlabel="epoch")
    ax.legend()
