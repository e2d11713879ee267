"""Make a release of this commit: `make release VERSION=x.y.z`. Nothing is uploaded.

It refuses what should not be released, runs the checks (`make test`, `make release-check`), puts wheel, sdist, PDF, zip
and their SHA-256 sums into `_build/release-VERSION`, and at the very end tags the commit. What it prints then publishes
the release. The checks leave the files that are collected, so there is no way around them.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from version import ROOT, records_digest, versions

NUMBER = re.compile(r"(\d+)\.(\d+)\.(\d+)")
MADE = ("package/dist/*", "pdf/*.pdf", "offline/*.zip")  # below _build, by the checks


def git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def order(name: str) -> tuple[int, ...]:
    return tuple(map(int, NUMBER.fullmatch(name).groups()))  # type: ignore[union-attr]


def refusals(root: Path, version: str) -> list[str]:
    """Why this folder cannot be released as this version; empty where it can."""
    if not NUMBER.fullmatch(version):
        return [f"VERSION is three numbers, as in make release VERSION=0.2.0; it is {version!r}"]
    found = []
    if git(root, "status", "--porcelain"):
        found.append("there are uncommitted or unknown files: git status shows them")
    for name, said in versions(root).items():
        if said != version:
            found.append(f"{name} says {said or 'no version'}, not {version}")
    tags = git(root, "tag", "--list", "v*").split()
    if f"v{version}" in tags:
        found.append(f"the tag v{version} exists")
    newer = [tag for tag in tags if NUMBER.fullmatch(tag[1:]) and order(tag[1:]) > order(version)]
    return found + [f"{version} is not newer than {', '.join(newer)}"] * bool(newer)


def check(*targets: str) -> None:
    for target in targets:
        if subprocess.run(["make", target], cwd=ROOT).returncode:
            sys.exit(f"make {target} failed: no release")


def collect(made: Path, out: Path) -> list[Path]:
    """Copy what was made, with its sums; a kind of file that is missing is an error."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for pattern in MADE:
        files = sorted(made.glob(pattern))
        if not files:
            raise FileNotFoundError(f"{made.name}/{pattern} was not made")
        for path in files:
            shutil.copy2(path, out)
    files = sorted(out.iterdir())
    (out / "SHA256SUMS").write_text(sums(files), encoding="utf-8")
    return files


def sums(files: Iterable[Path]) -> str:
    """As `sha256sum --check` reads them."""
    return "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files)


def main() -> None:
    version = "".join(sys.argv[1:])
    if found := refusals(ROOT, version):
        sys.exit("\n".join(found))
    commit = git(ROOT, "rev-parse", "HEAD")
    for name in ("package", "pdf", "offline"):  # no file of another commit
        shutil.rmtree(ROOT / "_build" / name, ignore_errors=True)
    check("test", "release-check")
    if git(ROOT, "status", "--porcelain") or git(ROOT, "rev-parse", "HEAD") != commit:
        sys.exit("the checks have changed files, or the commit is another one now: no release")
    out = ROOT / "_build" / f"release-{version}"
    files = collect(ROOT / "_build", out)
    git(ROOT, "tag", "-a", f"v{version}", "-m", f"Version {version}, records {records_digest()}", commit)
    shown = out.relative_to(ROOT)
    print(f"{shown} has {len(files)} files and their sums; commit {commit[:10]} has the tag v{version}. To publish:")
    print(f"  git push origin v{version}")
    print(f"  gh release create v{version} --verify-tag --notes-file CHANGELOG.md {shown}/*")
    print(f"  _build/package/tools/bin/python -m twine upload {shown}/*.whl {shown}/*.tar.gz")


if __name__ == "__main__":
    main()
