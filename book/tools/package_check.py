"""Build `lt_core` as wheel and sdist, and try the wheel away from this folder: `make package`.

    python book/tools/package_check.py [--full]         (the files stay in `_build/package/dist`)

It fails where a file of the package is missing in one of the two, where `twine check` complains, or where the wheel, in
an environment that has nothing of this folder, does not train two epochs, make every widget with its JavaScript, and
write a page of a run. By default that environment borrows PyTorch and the rest from `.venv`, where lt_core is only a
link that is not followed: this proves that the wheel is complete, not that its dependencies are. `--full` installs
those too, from the index (about 6 GB); the check with Colab's packages does so with older versions.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from environment import ROOT, environment, install
from version import version

OUT = ROOT / "_build" / "package"
DIST = OUT / "dist"
TOOLS = ["build>=1.2", "twine>=6.1"]
TRIAL = """\
import inspect
import json

import lt_core as lt

shown = [kind for kind in vars(lt.widgets).values() if inspect.isclass(kind) and hasattr(kind, "_esm")]
scripts = {kind.__name__: len(str(kind._esm)) for kind in shown if kind.__module__ != "lt_core.widgets.base"}
print(json.dumps({"file": lt.__file__, "version": lt.__version__, "scripts": scripts}))
"""


def sources() -> set[str]:
    """The files of the package, as git knows them."""
    command = ["git", "-C", str(ROOT), "ls-files", "lt_core"]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


def contents(archive: Path) -> set[str]:
    """The files in a wheel, or in an sdist without its first folder."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as opened:
            return set(opened.namelist())
    with tarfile.open(archive) as opened:
        return {name.partition("/")[2] for name in opened.getnames()}


def missing(archive: Path, wanted: set[str]) -> list[str]:
    absent = sorted(wanted - contents(archive))
    return [f"{archive.name} lacks {len(absent)} files: {', '.join(absent[:5])}"] if absent else []


def build() -> list[Path]:
    """Wheel and sdist; the wheel is made from the sdist, so that one cannot hold what the other lacks."""
    python = environment(OUT / "tools", TOOLS)
    for folder in (DIST, ROOT / "build"):  # setuptools would take files of an older build along
        shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([str(python), "-m", "build", "-o", str(DIST), str(ROOT)], check=True, stdout=subprocess.DEVNULL)
    made = sorted(DIST.iterdir())
    subprocess.run([str(python), "-m", "twine", "check", "--strict", *map(str, made)], check=True)
    return made


def trial(python: Path, home: Path) -> list[str]:
    """Use the installed package from an empty folder, without anything that leads back here."""
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([str(python), *arguments], cwd=home, env=kept, capture_output=True, text=True)

    said = call("-c", TRIAL)
    if said.returncode:
        return [f"the wheel cannot be imported: {said.stderr[-800:]}"]
    found = json.loads(said.stdout)
    faults = trial_faults(found, python.parents[1])
    train = ["-m", "lt_core", "train", "--dataset", "digits_lt", "--loss", "gala", "--epochs", "2", "--out", "run"]
    for arguments in (train, ["-m", "lt_core", "evaluate", "run", "--html", "run.html"]):
        ended = call(*arguments)
        faults += [f"{' '.join(arguments)}: {ended.stderr[-800:]}"] if ended.returncode else []
    for name in ("run/record.json", "run.html"):
        faults += [] if (home / name).is_file() else [f"{name} was not written"]
    return faults


def trial_faults(found: dict[str, object], folder: Path) -> list[str]:
    """What the installed package says of itself, against what it should say."""
    scripts: dict[str, int] = found["scripts"]  # type: ignore[assignment]
    faults = [f"lt_core came from {found['file']}"] if not Path(str(found["file"])).is_relative_to(folder) else []
    faults += [f"it is version {found['version']}"] if found["version"] != version() else []
    faults += ["it has no widgets"] if not scripts else []
    return faults + [f"{name} has {size} bytes of JavaScript" for name, size in scripts.items() if size < 5000]


def main() -> None:
    full = sys.argv[1:] == ["--full"]
    sdist, wheel = sorted(build(), key=lambda path: path.suffix == ".whl")
    wanted = sources()
    faults = missing(sdist, wanted | {"pyproject.toml", "README.md", "LICENSE"}) + missing(wheel, wanted)
    folder = OUT / ("full" if full else "trial")
    shutil.rmtree(folder, ignore_errors=True)  # the wheel has the same name each time
    if full:
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        install(folder / "bin" / "python", str(wheel))
        python = folder / "bin" / "python"
    else:
        python = environment(folder, [str(wheel)], "--no-deps")
    faults += trial(python, OUT / "home")
    if faults:
        sys.exit("\n".join(faults))
    print(f"{wheel.name} and {sdist.name} are complete; the wheel trains in an environment of its own")


if __name__ == "__main__":
    main()
