"""Re-execute notebooks in place and normalise them, so that a second run changes no file.

    python book/tools/notebooks.py [NOTEBOOK ...]     (default: every notebook of the table of contents)

Outputs, widget state included, come from one kernel run per notebook. Everything that differs from run to run without
meaning is removed or renumbered: execution times, kernel versions, cell ids, widget model ids. Figures are the SVG that
`lt_core.plots.use_style` makes, the same on every run; the pictures of a widget's frames are PNG files, and packed.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import nbformat
from check_pages import ROOT, WIDGET_STATE, WIDGET_VIEW, toc_pages
from nbclient import NotebookClient
from PIL import Image, ImageChops, ImageStat

from lt_core.plots import LIMIT, SMALLEST, WIDTH

PHONE = 342  # pixels of a figure's width on a phone 390 pixels wide
VISIBLE = 0.2  # of 255: mean difference of a picture's pixels from which all colours are kept
CELL_TIMEOUT = 120  # seconds; the check, on whatever machine, allows more
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
LANGUAGE = {"name": "python", "pygments_lexer": "ipython3"}  # cells may hold shell lines and magics
LINKS = ("LinkModel", "DirectionalLinkModel")
MODEL_ID = re.compile(r"(?<![0-9a-z])[0-9a-f]{32}(?![0-9a-z])")
REFERENCE = re.compile(r'"IPY_MODEL_([0-9a-f]{32})"')


def stable_ids(notebook: nbformat.NotebookNode) -> None:
    """Cell ids from the cells' sources: the same text keeps its id wherever it moves."""
    seen: dict[str, int] = {}
    for cell in notebook.cells:
        digest = hashlib.sha256(f"{cell.cell_type}:{cell.source}".encode()).hexdigest()[:12]
        seen[digest] = seen.get(digest, 0) + 1
        cell["id"] = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"


def shown_models(notebook: nbformat.NotebookNode, state: dict[str, Any]) -> list[str]:
    """The ids of the models that the page shows, in the order in which the page reaches them.

    From each view down through what its model refers to; then the links, which nothing refers to, between shown models.
    """
    order: dict[str, None] = {}  # as an ordered set

    def visit(model: str) -> None:
        if model in order:
            return
        order[model] = None
        for other in references(state[model]):
            visit(other)

    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            view = output.get("data", {}).get(WIDGET_VIEW)
            if view is not None and view["model_id"] in state:
                visit(view["model_id"])
    position = {model: number for number, model in enumerate(order)}
    links = {model: references(state[model]) for model in state if state[model].get("model_name") in LINKS}
    shown = [model for model, ends in links.items() if all(end in position for end in ends)]
    return [*order, *sorted(shown, key=lambda model: ([position[e] for e in links[model]], json.dumps(state[model])))]


def references(model: Any) -> list[str]:
    """The ids of the models that a model's state refers to, in the order of its sorted keys."""
    return REFERENCE.findall(json.dumps(model, sort_keys=True))


def renumber_models(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Widget model ids are random: number them in the order in which the page reaches them, and drop the others."""
    if "widgets" not in notebook.metadata:
        return notebook
    widgets = notebook.metadata.widgets[WIDGET_STATE]
    order = shown_models(notebook, widgets["state"])
    widgets["state"] = {model: widgets["state"][model] for model in order}
    numbers = {model: f"{number:032x}" for number, model in enumerate(order)}
    text = MODEL_ID.sub(lambda found: numbers.get(found[0], found[0]), nbformat.writes(notebook))
    return nbformat.reads(text, as_version=4)


def merge_streams(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Printed text arrives in pieces that depend on timing; neighbours of one stream become one output."""
    merged: list[nbformat.NotebookNode] = []
    for output in outputs:
        same = merged and output.output_type == "stream" == merged[-1].output_type
        if same and output.name == merged[-1].name:
            merged[-1].text += output.text
        else:
            merged.append(output)
    return merged


def small_png(text: str) -> str:
    """A picture (base64) in a palette of 256 colours where nobody sees the difference, else with all of its colours."""
    with Image.open(io.BytesIO(base64.b64decode(text))) as picture:
        full = picture.convert("RGB")
    few = full.quantize(256, dither=Image.Dither.NONE)
    error = ImageStat.Stat(ImageChops.difference(full, few.convert("RGB"))).mean
    buffer = io.BytesIO()
    (few if max(error) < VISIBLE else full).save(buffer, format="PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def normalise(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Remove what changes from run to run; see the module's docstring."""
    kept = {"widgets": notebook.metadata["widgets"]} if notebook.metadata.get("widgets") else {}
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": KERNEL, "language_info": LANGUAGE, "colab": {"provenance": []}, **kept}
    )
    stable_ids(notebook)
    count = 0
    for cell in notebook.cells:
        for key in ("execution", "ExecuteTime", "collapsed", "scrolled", "jupyter", "lines_to_next_cell"):
            cell.metadata.pop(key, None)
        if cell.cell_type != "code":
            continue
        count += 1
        cell.execution_count = count
        cell.outputs = merge_streams(cell.outputs)
        for output in cell.outputs:
            if "execution_count" in output:
                output["execution_count"] = count
            output.get("metadata", {}).pop("needs_background", None)
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = small_png(output.data["image/png"])
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return renumber_models(notebook)


def refuse_noise(path: Path, notebook: nbformat.NotebookNode) -> None:
    """A warning on stderr in a page is a defect."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "stream" and output.name == "stderr":
                sys.exit(f"{path.name}: a cell writes to stderr: {output.text.strip()[:300]}")


def figure_faults(notebook: nbformat.NotebookNode) -> list[str]:
    """Figures that are no SVG (what a widget shows in its place is none), too large, or unreadable on a phone."""
    faults = []
    for number, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data and WIDGET_VIEW not in data:
                faults.append(f"cell {number} shows a PNG; call lt.plots.use_style() before the first figure")
            svg = data.get("image/svg+xml", "")
            if (size := len(svg.encode())) > LIMIT:
                faults.append(f"the figure of cell {number} has {size:,} bytes; at most {LIMIT:,}")
            if svg and (letters := lettering(svg)) < 9:
                advice = f"at least 9: figures {WIDTH:g} inches wide, {SMALLEST} points, lt.plots.panels"
                faults.append(f"the letters of cell {number}'s figure have {letters:.1f} pixels on a phone; {advice}")
    return faults


def lettering(svg: str) -> float:
    """Height in pixels of a figure's smallest letters on a phone; those of an index or exponent are not counted.

    matplotlib draws a text by outlines of letters 100 units high, scaled down to its size in points.
    """
    width = float(re.search(r'width="([\d.]+)pt"', svg)[1])  # type: ignore[index]
    points = [100 * float(scale) for scale in re.findall(r"scale\(([\d.]+) -", svg)]
    return min(points, default=SMALLEST) * PHONE / width


def execute(path: Path) -> list[str]:
    """Run a notebook and write it, unless its figures have faults, which come back."""
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.pop("widgets", None)
    client = NotebookClient(
        notebook, timeout=CELL_TIMEOUT, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}
    )
    client.execute()
    refuse_noise(path, notebook)
    if faults := figure_faults(notebook):
        return [f"{path.name}: {fault}" for fault in faults]
    nbformat.write(normalise(notebook), path)
    print(f"executed {path.relative_to(ROOT)}")
    return []


def main() -> None:
    os.environ["OMP_NUM_THREADS"] = "2"  # for the kernels; `make nbval` has one, and outputs must not depend on it
    named = [Path(name).resolve() for name in sys.argv[1:]]
    listed = [ROOT / f"{page}.ipynb" for page in toc_pages()]
    faults = [fault for path in named or [path for path in listed if path.is_file()] for fault in execute(path)]
    if faults:
        sys.exit("not written:\n" + "\n".join(faults))


if __name__ == "__main__":
    main()
