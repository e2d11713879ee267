"""Pack the built book for a reader without a network: `make offline`, which writes `_build/offline/NAME-VERSION.zip`.

The same pages give the same file: names are sorted, and times and permissions are fixed. Beside it lies its SHA-256, as
`sha256sum -c` takes it.
"""

from __future__ import annotations

import hashlib
import sys
import zipfile
from pathlib import Path

from check_pages import toc_pages
from pdf import HTML, ROOT, committed, file_name, settings, version

OUT = ROOT / "_build" / "offline"
LEFT_OUT = {".buildinfo", ".doctrees", ".nojekyll", ".DS_Store"}  # what a build needs and a reader does not
TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip file knows
READABLE = 0o644 << 16


def readme(title: str, licence: str) -> str:
    return (
        f"{title}\nVersion {version()}, {committed()}\n\n"
        "Unpack the whole archive, then open index.html in a browser. Nothing has to be installed, and no network is\n"
        "needed: search, mathematics and widgets work from the folder.\n\n"
        f"Copyright {licence}.\n"
    )


def files(folder: Path) -> list[Path]:
    """What a reader gets, in the order of its names."""
    found = [
        path for path in folder.rglob("*") if path.is_file() and not LEFT_OUT & set(path.relative_to(folder).parts)
    ]
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def pack(folder: Path, target: Path, note: str) -> str:
    """Write the archive and its checksum beside it, and return the checksum."""
    contents = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files(folder)}
    if "index.html" not in contents:
        raise ValueError(f"{folder} has no index.html")
    contents["README.txt"] = note.encode()
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(contents):
            entry = zipfile.ZipInfo(name, TIME)
            entry.create_system = 3  # Unix, wherever it is made, so that the permissions count
            entry.external_attr = READABLE
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, contents[name])
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    target.with_name(f"{target.name}.sha256").write_text(f"{digest}  {target.name}\n", encoding="utf-8")
    return digest


def main() -> None:
    if missing := [name for name in toc_pages() if not (HTML / f"{name}.html").is_file()]:
        sys.exit(f"the book is not built, run make book; missing: {', '.join(missing)}")
    config = settings("_config.yml")
    target = OUT / f"{file_name(config['title'])}.zip"
    digest = pack(HTML, target, readme(config["title"], config["copyright"]))
    print(f"{target.relative_to(ROOT)}: {target.stat().st_size / 1e6:.1f} MB, SHA-256 {digest}")


if __name__ == "__main__":
    main()
