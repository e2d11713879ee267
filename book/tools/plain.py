"""MyST as plain Markdown, for places that know no directives and roles: Colab, bare JupyterLab, VS Code.

A theorem becomes a bold line and its text, a solution folds behind its title, a reference shows what the page shows.
What this module does not know is an error, so that nothing reaches a reader raw.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "ext"))

import quiz
from labels import citation, numbers, page_at, title
from pages import ROOT

OPENS = re.compile(r"^(?P<fence>`{3,}|:{3,}|~{3,})(?:\{(?P<name>[^}]+)\} *(?P<title>.*)|.*)$")
OPTION = re.compile(r"^:([\w-]+):(.*)$")
TOKEN = re.compile(
    r"(?P<code>^(?P<fence>`{3,}|~{3,})[^\n]*\n.*?^(?P=fence)[ \t]*$)"
    r"|\{(?P<role>[a-z:]+)\}`(?P<content>[^`]+)`"
    r"|(?P<span>(?P<ticks>`+)[^`].*?(?P=ticks)(?!`))"
    r"|\$\$(?P<latex>.+?)\$\$(?:[ \t]*\((?P<label>[^)\s]*)\))?"
    r"|\[(?P<text>[^\]]*)\]\((?P<target>[^):\s]+\.(?:ipynb|md)|#[^)\s]+)\)",
    re.MULTILINE | re.DOTALL,
)
GLOSSARY = "book/appendix/glossary"
NAMED = {"note": "Note", "tip": "Tip", "warning": "Warning", "important": "Important", "margin": "", "hint": "Hint"}
THEOREMS = ("theorem", "lemma", "corollary", "proposition", "definition", "remark", "example", "assumption")


class RawMyST(ValueError):
    """A directive, role or link for which there is no plain form."""


@dataclass(frozen=True)
class Directive:
    name: str
    title: str
    options: dict[str, str]
    body: str


def blocks(text: str) -> Iterator[str | Directive]:
    """The directives of a text, and what stands between them; fenced code belongs to the latter."""
    lines, kept, place = text.split("\n"), list[str](), 0
    while place < len(lines):
        opened = OPENS.match(lines[place])
        end = _closing(lines, place, opened["fence"]) if opened else place
        if opened and opened["name"]:
            yield "\n".join(kept)
            yield _directive(opened["name"].strip(), opened["title"].strip(), lines[place + 1 : end])
            kept = []
        else:
            kept += lines[place : end + 1]
        place = end + 1
    yield "\n".join(kept)


def _closing(lines: list[str], start: int, fence: str) -> int:
    for place in range(start + 1, len(lines)):
        line = lines[place].strip()
        if line.startswith(fence) and not line.strip(fence[0]):
            return place
    raise RawMyST(f"not closed: {lines[start]}")


def _directive(name: str, heading: str, lines: list[str]) -> Directive:
    options: dict[str, str] = {}
    while lines and (option := OPTION.match(lines[0])):
        options[option[1]] = option[2].strip()
        lines = lines[1:]
    return Directive(name, heading, options, "\n".join(lines).strip())


@dataclass(frozen=True)
class Plain:
    """Writes the Markdown of one page; `site` is the address of the published pages, "" where there is none."""

    path: Path
    site: str = ""

    def cells(self, text: str) -> list[str]:
        """The text, cut so that each solution is a cell of its own."""
        found, running = list[str](), list[str]()
        for block in blocks(text):
            if isinstance(block, Directive) and block.name == "solution":
                found += ["\n\n".join(running), self.block(block)]
                running = []
            elif part := self.block(block).strip("\n"):
                running.append(part)
        found.append("\n\n".join(running))
        return [cell for cell in found if cell.strip()]

    def text(self, text: str) -> str:
        return "\n\n".join(self.cells(text))

    def block(self, block: str | Directive) -> str:
        if isinstance(block, str):
            return TOKEN.sub(self._token, block)
        name, heading, body = block.name.removeprefix("prf:"), self.text(block.title), self.text(block.body)
        if name == "proof":
            return f"*Proof.* {body} ∎"
        if name in THEOREMS:
            return f"**{self._number(block.options['label'])}**{_brackets(heading)}. {body}"
        if name == "exercise":
            return f"### {self._number(block.options['label'])}{_brackets(heading)}\n\n{body}"
        if name == "solution":
            return folded(f"Solution to {self._number(block.title)}", body)
        if name == "dropdown" or "dropdown" in block.options.get("class", ""):
            return folded(heading or NAMED.get(name, ""), body)
        if name == "quiz":
            return self.text(quiz.markdown(quiz.read(quiz.FOLDER / f"{block.title}.yaml")))
        if name == "admonition":
            return f"**{heading}**\n\n{body}"
        if name in NAMED:
            return f"**{NAMED[name]}.** {body}" if NAMED[name] else body
        raise RawMyST(f"{self.path.name}: no plain form of the directive {block.name}")

    def _token(self, found: re.Match[str]) -> str:
        if found["code"] or found["span"]:
            return found[0]
        if found["role"]:
            return self._role(found["role"], found["content"])
        if found["latex"]:
            number = f" \\tag{{{self._number(found['label']).strip('()')}}}" if found["label"] else ""
            return f"$${found['latex'].rstrip()}{number} $$"
        return self._linked(found["text"], found["target"])

    def _role(self, role: str, content: str) -> str:
        roles: dict[str, Callable[[str], str]] = {
            **dict.fromkeys(("eq", "numref", "ref", "prf:ref"), self._number),
            **{"doc": self._page, "cite": self._cited, "cite:t": self._cited_in_text},
        }
        if role not in roles:
            raise RawMyST(f"{self.path.name}: no plain form of the role {role}")
        return roles[role](content)

    def _number(self, label: str) -> str:
        if label not in numbers():
            raise RawMyST(f"{self.path.name}: nothing has the label {label}")
        return numbers()[label]

    def _page(self, content: str) -> str:
        named = re.fullmatch(r"(.*?)\s*<(.+)>", content)
        page = page_at(named[2] if named else content, self.path)
        return self._link(named[1] if named else title(page), page_name(page))

    def _cited(self, content: str) -> str:
        entries = sorted(citation(key.strip()) for key in content.split(","))
        return "[" + ", ".join(f"[{label}]({address})" for label, address in entries) + "]"

    def _cited_in_text(self, content: str) -> str:
        label, address = citation(content)
        name, _, year = label.rpartition(", ")
        return f"{name} [[{year}]({address})]"

    def _linked(self, text: str, target: str) -> str:
        if target.startswith("#glossary-"):
            return self._link(text, GLOSSARY, target)
        if target.startswith("#"):
            return text if target[1:] in numbers() else self._lost(target)
        return self._link(text, page_name(page_at(target, self.path)))

    def _lost(self, target: str) -> str:
        raise RawMyST(f"{self.path.name}: a link to {target}, which is neither numbered nor in the glossary")

    def _link(self, text: str, page: str, anchor: str = "") -> str:
        return f"[{text}]({self.site}/{page}.html{anchor})" if self.site else text


def page_name(path: Path) -> str:
    """A page as `_toc.yml` names it."""
    return path.relative_to(ROOT).with_suffix("").as_posix()


def _brackets(heading: str) -> str:
    return f" ({heading})" if heading else ""


def folded(heading: str, body: str) -> str:
    """Text behind its title; the blank lines make Markdown of the body."""
    return f"<details>\n<summary><b>{heading}</b></summary>\n\n{body}\n\n</details>"
