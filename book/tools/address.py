"""Where the book's repository is, and which commit is published.

The address stands in one place, `repository: url` in `_config.yml`, empty until there is one. `make publish
REPO=owner/name` names another for its own run, so that a fork needs no edit. Badges, set-up cells, links and the
address of the published pages follow from it; where it is not set, they say so.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
SETUP = ROOT / "book" / "tools" / "setup_cell.py"
GITHUB = re.compile(r"https://github\.com/([\w.-]+)/([\w.-]+)")
PLACEHOLDER = "https://github.com/OWNER/NAME"  # what pages and READMEs show where the address belongs
BRANCH = "colab"  # of the generated notebooks


def repository() -> str:
    """The address of the repository, or "" where it is not set."""
    settings = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    return (os.environ.get("LT_REPOSITORY") or settings["repository"]["url"] or "").removesuffix(".git").rstrip("/")


def commit() -> str:
    """The commit that set-up cells fetch, ``LT_COMMIT`` where that is set; "" outside of a clone.

    A private copy of the book stamps the public commit that it started from: nobody else can fetch its own.
    """
    if chosen := os.environ.get("LT_COMMIT"):
        return chosen
    command = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip()


def setup_source(address: str, revision: str) -> str:
    """The code of the one set-up cell, stamped with what it fetches from."""
    text = SETUP.read_text(encoding="utf-8").rstrip()
    for name, value in (("REPOSITORY", address), ("COMMIT", revision)):
        text, count = re.subn(rf'^{name} = ""$', f'{name} = "{value}"', text, flags=re.MULTILINE)
        if count != 1:
            raise ValueError(f"{SETUP.name} has no line {name}")
    return text


def site(address: str) -> str:
    """Where GitHub publishes the pages of a repository; "" for one that lies elsewhere."""
    found = GITHUB.fullmatch(address)
    if not found:
        return ""
    owner, name = found.groups()
    host = f"https://{owner.lower()}.github.io"
    return host if name.lower() == f"{owner.lower()}.github.io" else f"{host}/{name}"


def colab_link(address: str, path: str) -> str:
    """Where Colab opens a notebook of the generated edition; "" for a repository that is not on GitHub."""
    found = GITHUB.fullmatch(address)
    return f"https://colab.research.google.com/github/{found[1]}/{found[2]}/blob/{BRANCH}/{path}" if found else ""


def publication_fault(name: str) -> str:
    """Why this commit cannot be published as `owner/name`; "" where it can."""
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name):
        return f"REPO is owner/name, as in make publish REPO=ann/long-tail; it is {name!r}"
    changed = subprocess.run(["git", "-C", str(ROOT), "diff", "--quiet", "HEAD"], check=False)
    if not commit() or changed.returncode:
        return "set-up cells fetch a commit: publish from a clone without uncommitted changes"
    return ""


def main() -> None:
    """Refuse what cannot be published; `make publish` asks first."""
    if fault := publication_fault("".join(sys.argv[1:])):
        sys.exit(fault)


if __name__ == "__main__":
    main()
