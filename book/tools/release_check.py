"""Run the notebooks for Colab with the packages that Colab has: `make colab-check`.

    python book/tools/release_check.py [PAGE ...]     (default: every notebook of the table of contents)

It builds an environment of the versions in `colab_packages.txt`, serves this commit from a bare clone on this machine,
stamps its address into the notebooks, and executes them in an empty home, with a stand-in for `google.colab`. It fails
where a chapter does, where the set-up cell changes a version that was there or downloads more than 8 MB, where a second
kernel cannot use what the first has installed, and where a killed run does not go on. How long the set-up takes is
printed and depends on this machine; on Colab it shall be under 30 s. The environment stays in `_build/release` for the
next time.
`LT_RELEASE_PYTHON` names the Python (default: python3.12).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from address import commit
from colab import edition, notebook_pages
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError
from nbformat.v4 import new_code_cell
from pages import ROOT, page_named

OUT = ROOT / "_build" / "release"
PACKAGES = ROOT / "book" / "tools" / "colab_packages.txt"
LIMIT = 8_000_000  # bytes that the set-up cell may download
CELL_SECONDS = 600  # of one cell: five times what it may take at home, since two processors may be busy or slow
# What a notebook can see of Colab; its widgets ask for a manager that a browser would load.
STAND_IN = """\
import sys
from types import ModuleType, SimpleNamespace

google, colab, output = (ModuleType(name) for name in ("google", "google.colab", "google.colab.output"))
output.enable_custom_widget_manager = lambda: None
output._widgets = SimpleNamespace(_installed_url="")
google.colab, colab.output = colab, output
sys.modules.update({module.__name__: module for module in (google, colab, output)})
"""


def environment(folder: Path) -> Path:
    """The Python of an environment that has Colab's versions and nothing of the book."""
    python = folder / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    if not python.is_file():
        print("installing Colab's versions (a few minutes, about 6 GB)", flush=True)
        base = os.environ.get("LT_RELEASE_PYTHON", "python3.12")
        subprocess.run([base, "-m", "venv", str(folder)], check=True)
    subprocess.run([*pip, "-r", str(PACKAGES)], check=True)
    added = [name for name in ("torchmetrics", "lightning-utilities", "lt-core") if name in versions(python)]
    if added:  # by the last check
        subprocess.run([str(python), "-m", "pip", "uninstall", "-q", "-y", *added], check=True)
    for path in folder.rglob("lt_core.pth"):
        path.unlink()
    return python


def versions(python: Path) -> dict[str, str]:
    command = [str(python), "-m", "pip", "list", "--format=json", "--disable-pip-version-check"]
    listed = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {package["name"].lower(): package["version"] for package in listed}


def changed(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """The packages that were there and are not any more, or in another version."""
    return [f"{name} {was} -> {after.get(name, 'gone')}" for name, was in before.items() if after.get(name) != was]


def remote(folder: Path) -> str:
    """The address of a bare clone that serves single commits in part, as GitHub does."""
    subprocess.run(["git", "clone", "-q", "--bare", ROOT.as_uri(), str(folder)], check=True)
    for name in ("allowFilter", "allowAnySHA1InWant"):
        subprocess.run(["git", "-C", str(folder), "config", f"uploadpack.{name}", "true"], check=True)
    return folder.as_uri()


def kernel(python: Path, folder: Path) -> None:
    """Make the environment known to Jupyter as the kernel `colab`."""
    launch = [str(python), "-Xfrozen_modules=off", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": launch, "display_name": "Colab"}
    (folder / "kernels" / "colab").mkdir(parents=True, exist_ok=True)
    (folder / "kernels" / "colab" / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    os.environ["JUPYTER_PATH"] = str(folder)


def execute(notebook: nbformat.NotebookNode, home: Path) -> str:
    """Run a notebook from top to bottom as on Colab; returns the error of the cell that stopped it."""
    notebook.cells.insert(0, new_code_cell(STAND_IN))
    notebook.metadata.pop("widgets", None)
    client = NotebookClient(
        notebook, timeout=CELL_SECONDS, kernel_name="colab", resources={"metadata": {"path": str(home)}}
    )
    try:
        client.execute(env={**os.environ, "HOME": str(home)})
    except CellTimeoutError:
        return f"a cell ran longer than {CELL_SECONDS} seconds"
    except CellExecutionError as error:
        return re.sub(r"\x1b\[[0-9;]*m", "", f"{error.ename}: {error.evalue}\n{error.traceback[-1500:]}")
    return ""


def fetched(home: Path) -> int:
    """The bytes that the set-up cell has taken from the repository."""
    return sum(path.stat().st_size for path in home.glob("lt_core-*/.git/objects/**/*") if path.is_file())


def download_size(python: Path, packages: dict[str, str]) -> int:
    """The bytes of these packages' files."""
    if not packages:
        return 0
    with tempfile.TemporaryDirectory() as folder:
        named = [f"{name}=={version}" for name, version in packages.items()]
        pip = [str(python), "-m", "pip", "download", "-q", "--no-deps", "--disable-pip-version-check", "-d", folder]
        subprocess.run([*pip, *named], check=True)
        return sum(path.stat().st_size for path in Path(folder).iterdir())


def set_up_faults(python: Path, setup: nbformat.NotebookNode, home: Path) -> list[str]:
    """Run the set-up cell alone, then again after a restart, and measure what it does."""
    before, found = versions(python), []
    look = "import lt_core, torch; assert len(lt_core.report.load_study('short').runs) > 10"
    for attempt, cells in (("first", [setup]), ("after a restart", [setup, new_code_cell(look)])):
        start = time.monotonic()
        error = execute(nbformat.v4.new_notebook(cells=cells), home)
        took = time.monotonic() - start
        print(f"set-up, {attempt}: {took:.0f} s with the start of the kernel", flush=True)
        found += [f"set-up, {attempt}: {error}"] if error else []
    after = versions(python)
    new = {name: version for name, version in after.items() if name not in before}
    repository, packages = fetched(home), download_size(python, new)
    print(f"downloaded: {repository / 1e6:.1f} MB of the repository, {packages / 1e6:.1f} MB for {', '.join(new)}")
    if repository + packages > LIMIT:
        found.append(f"the set-up cell downloads {repository + packages:,} bytes; at most {LIMIT:,}")
    return found + [f"the set-up cell changes {name}" for name in changed(before, after)]


def resume_faults(python: Path, home: Path) -> list[str]:
    """Kill a run in a folder that outlives the session, as Drive does, and go on from it with the command once more."""
    run = home / "drive" / "run"
    command = [str(python), "-m", "lt_core", "train", "--dataset", "synthetic", "--recipe", "short", "--epochs", "8"]
    command += ["--out", str(run), "--resume"]
    quiet = {"cwd": home, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    first = subprocess.Popen(command, **quiet)
    while first.poll() is None and not (run / "last.pt").exists():
        time.sleep(0.05)
    first.kill()
    first.wait()
    if (run / "record.json").exists() or not (run / "last.pt").exists():
        return ["a run was to be stopped after its first checkpoint, and was not"]
    ended = subprocess.run(command, **quiet).returncode
    print(f"a run that was killed {'did not go' if ended else 'went'} on after the restart", flush=True)
    return ["a run that was killed does not go on"] if ended or not (run / "record.json").exists() else []


def check(named: list[Path], out: Path) -> list[str]:
    """Everything that is wrong, after a line for each notebook."""
    python = environment(out / "venv")
    kernel(python, out)
    for folder in ("home", "remote.git"):
        shutil.rmtree(out / folder, ignore_errors=True)
    home = out / "home"
    home.mkdir()
    address, revision = remote(out / "remote.git"), commit()
    editions = {path.stem: edition(path, address, revision) for path in named}
    setup = next(cell for cell in next(iter(editions.values())).cells if cell.cell_type == "code")
    found = set_up_faults(python, setup, home) + resume_faults(python, home)
    for name, notebook in editions.items():
        start = time.monotonic()
        error = execute(notebook, home)
        print(f"{name}: {'stopped' if error else 'ran'}, {time.monotonic() - start:.0f} s", flush=True)
        found += [f"{name}: {error}"] if error else []
    return found


def main() -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "2")  # Colab's CPUs
    found = check([page_named(name) for name in sys.argv[1:]] or notebook_pages(), OUT)
    if found:
        sys.exit("\n".join(found))
    print("every notebook runs with Colab's packages")


if __name__ == "__main__":
    main()
