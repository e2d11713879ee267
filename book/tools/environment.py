"""Throw-away environments below `_build`, for the checks that need other packages than `.venv` has.

They do not install PyTorch once more: a `.pth` file puts the packages of `.venv` behind their own. What an environment
has itself comes first, so the versions that a check is about are its own; what it lacks is borrowed. `lt_core` is not
among the borrowed: in `.venv` it is a link to this folder, and Python follows no such link of a borrowed folder.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BORROWED = "zz_borrowed.pth"


def site_packages(folder: Path) -> Path:
    return next(folder.glob("lib/python*/site-packages"))


def environment(folder: Path, packages: list[str], *options: str, upon: bool = False) -> Path:
    """The Python of an environment that has these packages, and behind them those of the Python that runs this.

    ``upon`` installs only what those lack; else a package brings all that it needs. The environment is made anew when
    the list differs from that of the last time.
    """
    python, done = folder / "bin" / "python", folder / "packages.txt"
    wanted = "\n".join([*packages, *options])
    if done.is_file() and done.read_text(encoding="utf-8") == wanted:
        return python
    print(f"installing into {folder.relative_to(ROOT)}: {', '.join(packages) or 'nothing'}", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    borrowed = site_packages(folder) / BORROWED
    if upon:  # pip takes what it finds by this file for installed
        borrowed.write_text(f"{sysconfig.get_path('purelib')}\n", encoding="utf-8")
    if packages:
        install(python, *options, *packages)
    borrowed.write_text(f"{sysconfig.get_path('purelib')}\n", encoding="utf-8")
    done.write_text(wanted, encoding="utf-8")
    return python


def install(python: Path, *what: str) -> None:
    command = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *what]
    # Without PYTHONPATH, in which pip would find this folder's lt_core.
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    if subprocess.run(command, env=kept).returncode:
        sys.exit(f"pip could not install {' '.join(what)}: see above")
