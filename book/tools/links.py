"""Look whether what the built pages link to is there: `make links`.

    python book/tools/links.py              (`--inside` leaves the network alone)

Inside the book every page and anchor must exist. Outside, an address fails when its host says that it is gone (404 or
410) or when there is no such host; a host that refuses programs (403, 429) or does not answer in time is only named.
"""

from __future__ import annotations

import re
import sys
import urllib.error
import urllib.request
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r'<a\b[^>]*?\bhref="([^"]*)"')
ANCHOR = re.compile(r'\b(?:id|name)="([^"]+)"')
GONE = {404, 410}
SECONDS = 30
AGENT = "Mozilla/5.0 (link check of a book)"
UNFILLED = "https://github.com/OWNER/NAME"


def page_links(folder: Path) -> dict[Path, set[str]]:
    """Every link of every page."""
    pages = (path for path in sorted(folder.rglob("*.html")) if "_static" not in path.parts)
    return {path: {unescape(link) for link in LINK.findall(path.read_text(encoding="utf-8"))} for path in pages}


def inside(folder: Path) -> list[str]:
    """Links to a page, file or anchor that the folder lacks."""
    links = page_links(folder)
    anchors = {path.resolve(): set(ANCHOR.findall(path.read_text(encoding="utf-8"))) for path in links}
    found = []
    for page, targets in links.items():
        for target in sorted(targets):
            parts = urlsplit(target)
            if parts.scheme or parts.netloc or target in ("", "#"):
                continue
            file = (page.parent / unquote(parts.path)).resolve() if parts.path else page.resolve()
            known = anchors.get(file)
            if not file.is_file() or (parts.fragment and known is not None and unquote(parts.fragment) not in known):
                found.append(f"{page.relative_to(folder)} links to {target}, which is not there")
    return found


def outside(folder: Path) -> dict[str, str]:
    """Every address on the web, without its fragment, with a page that links to it."""
    found: dict[str, str] = defaultdict(str)
    for page, targets in page_links(folder).items():
        for target in targets:
            if target.startswith(("http://", "https://")) and not target.startswith(UNFILLED):
                found[target.partition("#")[0]] = str(page.relative_to(folder))
    return dict(found)


def verdict(address: str) -> tuple[str, str]:
    """ "gone", "unsure" or "", and why."""
    request = urllib.request.Request(address, headers={"User-Agent": AGENT})
    try:
        with urllib.request.urlopen(request, timeout=SECONDS):
            return "", ""
    except urllib.error.HTTPError as error:
        return ("gone" if error.code in GONE else "unsure"), f"{error.code} {error.reason}"
    except urllib.error.URLError as error:
        unknown = "Name or service not known" in str(error.reason)
        return ("gone" if unknown else "unsure"), str(error.reason)
    except (OSError, ValueError) as error:
        return "unsure", str(error)


def main() -> None:
    folder = ROOT / "_build" / "html"
    faults = inside(folder)
    if sys.argv[1:] != ["--inside"]:
        addresses = outside(folder)
        with ThreadPoolExecutor(8) as pool:
            found = dict(zip(addresses, pool.map(verdict, addresses), strict=True))
        if found and all(kind == "gone" for kind, _ in found.values()):
            sys.exit("\n".join([*faults, "no address could be found: this check needs the network"]))
        for address, (kind, why) in found.items():
            line = f"{addresses[address]}: {address}: {why}"
            if kind == "unsure":
                print(f"not sure of {line}")
            faults += [line] if kind == "gone" else []
        print(f"{len(addresses)} addresses asked")
    if faults:
        sys.exit("\n".join(faults))


if __name__ == "__main__":
    main()
