"""Re-execute notebooks in place and normalise them, so that a second run changes no file.

    python book/tools/notebooks.py [NOTEBOOK ...]     (default: every notebook of the table of contents)

Outputs, widget state included, come from one kernel run per notebook. Everything that differs from run to run without
meaning is removed or renumbered: execution times, kernel versions, cell ids, widget model ids.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
os.environ.setdefault("OMP_NUM_THREADS", "1")

import nbformat
from check_pages import ROOT, toc_pages
from nbclient import NotebookClient

CELL_TIMEOUT = 120  # seconds, as in the check
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
LANGUAGE = {"name": "python", "pygments_lexer": "ipython3"}  # cells may hold shell lines and magics
MODEL_ID = re.compile(r"\b[0-9a-f]{32}\b")


def stable_ids(notebook: nbformat.NotebookNode) -> None:
    """Cell ids from the cells' sources: the same text keeps its id wherever it moves."""
    seen: dict[str, int] = {}
    for cell in notebook.cells:
        digest = hashlib.sha256(f"{cell.cell_type}:{cell.source}".encode()).hexdigest()[:12]
        seen[digest] = seen.get(digest, 0) + 1
        cell["id"] = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"


def renumber_models(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Widget model ids are random; number them in the order in which they appear."""
    if "widgets" not in notebook.metadata:
        return notebook
    state = notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"]
    text = nbformat.writes(notebook)
    order = [m for m in dict.fromkeys(MODEL_ID.findall(text)) if m in state]
    for number, model in enumerate(order):
        text = text.replace(model, f"{number:032x}")
    fresh = nbformat.reads(text, as_version=4)
    widgets = fresh.metadata.widgets["application/vnd.jupyter.widget-state+json"]
    widgets["state"] = dict(sorted(widgets["state"].items()))
    return fresh


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
        for output in cell.outputs:
            if "execution_count" in output:
                output["execution_count"] = count
            output.get("metadata", {}).pop("needs_background", None)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return renumber_models(notebook)


def refuse_noise(path: Path, notebook: nbformat.NotebookNode) -> None:
    """A warning on stderr in a page is a defect."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "stream" and output.name == "stderr":
                sys.exit(f"{path.name}: a cell writes to stderr: {output.text.strip()[:300]}")


def execute(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.pop("widgets", None)
    client = NotebookClient(
        notebook, timeout=CELL_TIMEOUT, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}
    )
    client.execute()
    refuse_noise(path, notebook)
    text = nbformat.writes(normalise(notebook))
    json.loads(text)
    path.write_text(text.rstrip("\n") + "\n", encoding="utf-8")
    print(f"executed {path.relative_to(ROOT)}")


def main() -> None:
    named = [Path(name).resolve() for name in sys.argv[1:]]
    listed = [ROOT / f"{page}.ipynb" for page in toc_pages()]
    for path in named or [path for path in listed if path.is_file()]:
        execute(path)


if __name__ == "__main__":
    main()
