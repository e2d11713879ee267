"""The book's version, where it is written, and a digest of the records that the pages read.

    python book/tools/version.py                (prints what stands at the foot of every page)

Anyone can recompute the digest without this program; it is the beginning of what a shell gives for

    find book/results -type f ! -name '.*' | LC_ALL=C sort | xargs sha256sum | sha256sum
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RESULTS = "book/results"
# Every place that has the version; a test and `make release` compare them.
PLACES = {
    "pyproject.toml": r'(?m)^version = "([^"]+)"$',
    "lt_core/__init__.py": r'(?m)^__version__ = "([^"]+)"$',
    "CITATION.cff": r"(?m)^version: (\S+)$",
    "book/appendix/cite.md": r"(?m)^ *version = \{([^,}]+), ",
    "CHANGELOG.md": r"(?m)^## \[(\d[^\]]*)\]",  # the newest entry stands first
}


def versions(root: Path = ROOT) -> dict[str, str]:
    """What each place says; "" where it says nothing."""
    found = {}
    for name, pattern in PLACES.items():
        said = re.search(pattern, (root / name).read_text(encoding="utf-8")) if (root / name).is_file() else None
        found[name] = said[1] if said else ""
    return found


def version(root: Path = ROOT) -> str:
    return versions(root)["pyproject.toml"]


def records_digest(root: Path = ROOT) -> str:
    """Eight digits that change with any byte or name of a record."""
    names = (path.relative_to(root).as_posix() for path in (root / RESULTS).rglob("*") if path.is_file())
    total = hashlib.sha256()
    for name in sorted(name for name in names if not name.rpartition("/")[2].startswith(".")):
        total.update(f"{hashlib.sha256((root / name).read_bytes()).hexdigest()}  {name}\n".encode())
    return total.hexdigest()[:8]


def edition(root: Path = ROOT) -> str:
    return f"Version {version(root)} · records {records_digest(root)}"


if __name__ == "__main__":
    print(edition())
