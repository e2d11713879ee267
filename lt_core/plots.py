"""Figures of the book: one style, one palette, SVG files, and the pictures that several chapters draw.

**Sizes.** A figure is `WIDTH` inches wide and no lettering is smaller than `SMALLEST` points: on a phone 390 pixels
wide it then has 9 pixels. Panels stand one below the other or two abreast (`panels`). A matrix is one ``imshow``, a
contact sheet one ``imshow`` of its mosaic.

**One colour, one meaning, in the whole book, the widgets included.** Take a colour by its meaning, not by its hue:

=====================  =========================================================================================
`GROUP_COLOURS`        many blue, medium green, few vermilion (a toy's head, middle and tail class too)
`METHOD_COLOURS`       cross-entropy grey, its cosine form pink, LDAM ochre, balanced softmax and logit adjustment
                       indigo, ALA teal, GALA wine; a method's parts (its margin, its factor) have its colour
`GAIN`, `LOSS`         a sign is no hue: up, gain and the positive gradient are filled with ink, down, loss and the
                       negative gradient are hatched; a signed matrix takes `DIVERGING`
`GREY`                 what is only there to be compared with: recorded runs behind yours, the base, a noise band
`INK`                  the reader's own run, reference lines, lettering
`PALETTE`, the cycle   free for everything else: seeds, recipes, easy and hard, chosen classes; without a meaning
                       outside their figure
=====================  =========================================================================================

A line style or a marker always goes with the colour. All of them have a contrast of 3 or more on white, and the
built book maps each one to its shade for the dark (``book/_static/figures.css``). Ink and white on top of a picture or
a matrix stay as they are in both themes.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lt_core.records import GROUPS, label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, GREY, GRID = "#000000", "#6E6E6E", "#DDDDDD"
BLUE, GREEN, RED = "#0072B2", "#00835F", "#C65300"
PINK, ORANGE, INDIGO, TEAL, WINE = "#C765A8", "#A67300", "#5B4BB5", "#005F6B", "#8C1D40"
OLIVE, BROWN, STEEL = "#6B6B00", "#8A5A44", "#56657A"
ON_LIGHT, ON_DARK = "#010101", "#FEFEFE"  # ink and white on top of a picture: the same in both themes
PALETTE = (OLIVE, BROWN, STEEL, INK)
SEQUENTIAL, DIVERGING = "cividis", "PuOr_r"  # colour maps of a matrix

GROUP_COLOURS = {"many": BLUE, "medium": GREEN, "few": RED}
GROUP_LINES = {"many": "-", "medium": "--", "few": ":"}  # colour is never the only carrier
GROUP_MARKERS = {"many": "o", "medium": "s", "few": "^"}
METHOD_COLOURS = {
    "cross-entropy": GREY,
    "cross-entropy (cosine)": PINK,
    "LDAM-DRW": ORANGE,
    "balanced softmax": INDIGO,
    "logit adjustment": INDIGO,
    "ALA": TEAL,
    "ALA-DRW": TEAL,
    "GALA": WINE,
}
METHOD_MARKERS = {
    "cross-entropy": "o",
    "cross-entropy (cosine)": "P",
    "LDAM-DRW": "s",
    "balanced softmax": "^",
    "logit adjustment": "<",
    "ALA": "D",
    "ALA-DRW": "D",
    "GALA": "v",
}
GAIN = {"facecolor": INK, "edgecolor": INK}  # of bars and markers
LOSS = {"facecolor": "white", "edgecolor": INK, "hatch": "////"}

WIDTH = 5.0  # inches
SMALLEST = 9.5  # points; indices and exponents are smaller, as in the text
MANY_MARKS = 1000  # from which points and lines are stored as a picture inside the SVG
PICTURE_DPI = 200  # of that picture
LIMIT = 150_000  # bytes of a figure


def use_style() -> None:
    """Set matplotlib's defaults for the book, and in a notebook show every figure as the SVG that `svg` makes."""
    import matplotlib.pyplot as plt

    _show_as_svg()
    plt.rcParams.update(
        {
            "figure.figsize": (WIDTH, 2.9),
            "figure.dpi": 100,
            "savefig.dpi": PICTURE_DPI,
            "figure.facecolor": "white",
            "savefig.facecolor": "white",
            "savefig.transparent": False,
            "figure.constrained_layout.use": True,
            "axes.prop_cycle": plt.cycler(color=PALETTE),
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "grid.color": GRID,
            "grid.linewidth": 0.6,
            "hatch.linewidth": 0.8,
            "font.family": "DejaVu Sans",  # it comes with matplotlib
            "font.size": 10,
            "axes.titlesize": 10.5,
            "xtick.labelsize": SMALLEST,
            "ytick.labelsize": SMALLEST,
            "legend.fontsize": SMALLEST,
            "legend.title_fontsize": SMALLEST,
            "legend.frameon": False,
            "lines.linewidth": 1.8,
            "image.cmap": SEQUENTIAL,
            "image.interpolation": "none",  # the SVG stores the picture's own pixels
            "svg.fonttype": "path",
            "svg.hashsalt": "lt_core",
        }
    )


def _show_as_svg() -> None:
    """In a notebook, figures are shown by `svg` and in no other format."""
    if "IPython" not in sys.modules:
        return
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    if shell is None:
        return
    import matplotlib_inline.backend_inline  # noqa: F401  on its first import it chooses PNG; so before our choice
    from matplotlib.figure import Figure

    formatters: dict[str, Any] = shell.display_formatter.formatters  # type: ignore[union-attr]
    for formatter in formatters.values():
        formatter.pop(Figure, None)
    formatters["image/svg+xml"].for_type(Figure, svg)


def panels(count: int, height: float = 2.2, **options: Any) -> tuple[Figure, list[Axes]]:
    """A figure with ``count`` panels, two abreast where they are even in number, else one below the other.

    ``height`` is a row's, in inches; ``options`` go to ``plt.subplots`` (``sharex``, ``sharey``).
    """
    import matplotlib.pyplot as plt

    columns = 2 if count % 2 == 0 else 1
    rows = count // columns
    fig, axes = plt.subplots(rows, columns, figsize=(WIDTH, rows * height), squeeze=False, **options)
    return fig, list(axes.ravel())


def svg(figure: Figure) -> str:
    """The figure as an SVG for a notebook: no date, no random name, text as paths, coordinates to two decimals.

    What has more than `MANY_MARKS` marks is stored as a picture inside it.
    """
    import matplotlib as mpl

    _prepare(figure)
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "lt_core", "svg.fonttype": "path"}):
        figure.savefig(
            buffer, format="svg", metadata={"Date": None}, bbox_inches="tight", pad_inches=0.02, dpi=PICTURE_DPI
        )
    return tidy(buffer.getvalue())


def _prepare(figure: Figure) -> None:
    """What must be a picture becomes one, and what stands on a picture keeps its colour in the dark."""
    import numpy as np
    from matplotlib.collections import QuadMesh
    from matplotlib.colors import to_hex

    fixed = {INK: ON_LIGHT, "#ffffff": ON_DARK}
    for ax in figure.axes:
        for image in ax.images:
            image.set_interpolation("none")
        meshes = [collection for collection in ax.collections if isinstance(collection, QuadMesh)]
        for collection in ax.collections:
            if collection in meshes or _marks(collection) > MANY_MARKS:
                collection.set_rasterized(True)
        for line in ax.lines:
            if line.get_marker() != "None" and np.size(line.get_xdata()) > MANY_MARKS:
                line.set_rasterized(True)
        if ax.images or meshes:
            on_top: list[Any] = [*ax.texts, *ax.lines]
            for artist in on_top:
                colour = to_hex(artist.get_color())
                artist.set_color(fixed.get(colour, colour))


def _marks(collection: Any) -> int:
    """How many marks or lines a collection draws: a scatter repeats one path at many places."""
    return max(len(collection.get_paths()), len(collection.get_offsets()))


NUMBER = re.compile(r"-?\d+\.\d{3,}")
KEPT = re.compile(r"((?:scale|matrix)\([^)]*\)|base64,[^\"]*)")  # sizes of letters and pictures, and pictures
HEAD = re.compile(r"^.*?(?=<svg)|<metadata>.*?</metadata>|<!--.*?-->", re.S)


def tidy(text: str) -> str:
    """An SVG of matplotlib without its head, metadata and remarks, coordinates to two decimals, an element a line."""
    parts = KEPT.split(HEAD.sub("", text))
    parts[::2] = [NUMBER.sub(_two_decimals, part) for part in parts[::2]]
    text = re.sub(r'"[^"]*"', lambda value: " ".join(value[0].split()), "".join(parts)).replace("base64, ", "base64,")
    text = text.replace(' "', '"')
    return "".join(f"{line.strip()}\n" for line in text.splitlines() if line.strip())


def _two_decimals(found: re.Match[str]) -> str:
    return f"{round(float(found[0]), 2) + 0.0:.10g}"  # no "-0"


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
