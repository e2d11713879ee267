# @title Set-up: run this cell first
# On Colab it fetches lt_core and the book's records. Where lt_core is installed it does nothing.
import os
import subprocess
import sys
import sysconfig
import tomllib
from importlib.util import find_spec
from pathlib import Path
from shutil import rmtree

REPOSITORY = ""
COMMIT = ""
KEPT = ["/lt_core/", "/book/results/", "/book/experiments/", "/pyproject.toml", "/README.md", "/LICENSE"]


def run(folder, *command):
    quiet = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}  # no question about a password
    done = subprocess.run(command, cwd=folder, env=quiet, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(" ".join(command) + "\n" + done.stderr.strip())


def fetch(folder):
    rmtree(folder, ignore_errors=True)  # what an interrupted attempt has left
    folder.mkdir()
    run(folder, "git", "init", "-q")
    run(folder, "git", "remote", "add", "origin", REPOSITORY)
    run(folder, "git", "config", "core.sparseCheckout", "true")  # Colab's git, 2.34, has no `sparse-checkout set`
    (folder / ".git" / "info").mkdir(exist_ok=True)
    (folder / ".git" / "info" / "sparse-checkout").write_text("\n".join(KEPT) + "\n")
    run(folder, "git", "fetch", "-q", "--depth=1", "--filter=blob:none", "origin", COMMIT)
    run(folder, "git", "checkout", "-q", "FETCH_HEAD")
    # Requirements are lower bounds: pip fetches what is missing, and changes nothing that meets them.
    needs = tomllib.loads((folder / "pyproject.toml").read_text())["project"]["dependencies"]
    run(folder, sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", *needs)
    # In place, so that the records lie beside the code; also for commands, and after a restart.
    Path(sysconfig.get_path("purelib"), "lt_core.pth").write_text(f"{folder}\n")
    (folder / "ready").touch()


HERE = REPOSITORY or "the book's repository (this copy of the notebook does not know its address)"
if "google.colab" in sys.modules:
    if not REPOSITORY:
        raise RuntimeError(f"Nothing to fetch from: get the notebook from {HERE}.")
    folder = Path.home() / f"lt_core-{COMMIT[:12]}"
    if not (folder / "ready").exists():
        fetch(folder)
    sys.path.insert(0, str(folder))
elif find_spec("lt_core") is None:
    raise ModuleNotFoundError(
        f"lt_core is not installed for {sys.executable}. Clone {HERE}, run this Python with "
        "`-m pip install -e .` in the clone, and restart the kernel."
    )
