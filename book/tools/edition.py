"""One HTML document of all built pages, in the order of the table of contents: what `pdf.py` prints.

The article of every page is taken as it was built. Ids get the page's name before them, links between pages lead to a
place in the document, headings go down one level below those of the parts, widgets become the pictures that they are
given as, solutions and the answers of quizzes move to an appendix. Code that a page folds away is left out.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from copy import copy
from html import escape
from typing import Any

from bs4 import BeautifulSoup, Tag

REFERRING = ("for", "aria-labelledby", "aria-describedby", "aria-controls", "headers")  # attributes that hold ids
SCREEN_ONLY = "script, noscript, a.headerlink, p.launch, details.hide, .toctree-wrapper"
# Spans without a colour of their own: each would be an element of the PDF's structure, ten megabytes in all.
BARE = "pre span.n, pre span.p, pre span.w, pre span:not([class]), code span.pre, dt.sig span.pre"
WIDGET = 'script[type="application/vnd.jupyter.widget-view+json"]'
OUTSIDE = re.compile(r"[a-z][a-z+.-]*:", re.IGNORECASE)  # https:, mailto:, …
LOCAL = re.compile(r"url\((['\"]?)#([^)'\"]+)\1\)")
CHAPTER = re.compile(r"(?:.*/)?\d\d_[^/]*")
SOLUTIONS = "solutions"


def key(name: str) -> str:
    """The id of a page in the document."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def parts(toc: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """The caption of every part, "" where it has none, with its pages; the first page stands before all."""
    found = [("", [toc["root"]])]
    for part in toc["parts"]:
        names = [chapter["file"] for chapter in part["chapters"]]
        if part.get("caption"):
            found.append((part["caption"], names))
        else:
            found[-1][1].extend(names)
    return found


def target(href: str, name: str, names: list[str]) -> str | None:
    """Where a link of the page ``name`` leads in the document; itself where it leaves the book, None if nowhere."""
    if OUTSIDE.match(href):
        return href
    path, _, place = href.partition("#")
    page = posixpath.normpath(posixpath.join(posixpath.dirname(name), path)).removesuffix(".html") if path else name
    page = names[0] if page == "index" else page
    if page not in names:
        return None
    return f"#{key(page)}--{place}" if place else f"#{key(page)}"


class Edition:
    """The document. Add the pages in order, then ask for the ``html``; ``faults`` are what cannot be right."""

    def __init__(self, names: list[str], where: dict[str, str]) -> None:
        """``where`` says for every page how a reader finds it online, as HTML."""
        self.names, self.where = names, where
        self.chapters: list[tuple[str, Tag]] = []  # a page's name, and its article
        self.apart: list[tuple[str, str, list[Tag]]] = []  # name, title, solutions and answers
        self.faults: list[str] = []
        self.folded = 0

    def add(self, name: str, page: str, widgets: list[str]) -> None:
        """A page: its built HTML, and its widgets as they are drawn."""
        found = BeautifulSoup(page, "html.parser").find("article")
        if not isinstance(found, Tag) or found.h1 is None:
            self.faults.append(f"{name} has no article with a title")
            return
        self.draw_widgets(found, name, widgets)
        self.folded += len(found.select("details.hide"))
        for node in found.select(SCREEN_ONLY):
            node.decompose()
        for node in found.select(BARE):
            node.unwrap()
        self.rename(found, name)
        for level in range(5, 0, -1):
            for heading in found.find_all(f"h{level}"):
                heading.name = f"h{level + 1}"
        self.take_apart(found, name)
        found["id"] = key(name)
        self.chapters.append((name, found))

    def draw_widgets(self, article: Tag, name: str, widgets: list[str]) -> None:
        views = article.select(WIDGET)
        if len(views) != len(widgets):
            self.faults.append(f"{name} has {len(views)} widgets, {len(widgets)} are drawn")
        for view, drawn in zip(views, widgets, strict=False):
            note = f'<p class="try">Drawn as the page first shows it. Try it {self.where[name]}.</p>'
            view.replace_with(BeautifulSoup(f'<div class="drawn">{drawn}{note}</div>', "html.parser"))

    def rename(self, article: Tag, name: str) -> None:
        """The page's name before ids and all that refers to them; links to pages lead into the document."""
        own = f"{key(name)}--"
        for node in article.find_all(True):
            for attribute, given in list(node.attrs.items()):
                value = " ".join(given) if isinstance(given, list) else given
                if attribute == "id":
                    node["id"] = own + value
                elif attribute in REFERRING:
                    node[attribute] = " ".join(own + one for one in value.split())
                elif attribute in ("href", "xlink:href") and node.name != "a":
                    node[attribute] = re.sub("^#", f"#{own}", value)
                elif "url(" in value:
                    node[attribute] = LOCAL.sub(rf"url(#{own}\2)", value)
        for link in article.find_all("a", href=True):
            leads = target(link["href"], name, self.names)
            if leads is None:
                self.faults.append(f"{name} links to {link['href']}, which is not in this edition")
            else:
                link["href"] = leads

    def take_apart(self, article: Tag, name: str) -> None:
        """Solutions, and the answers of quizzes, leave a page for the appendix; a link stands in their place."""
        taken = []
        if article.select("fieldset details"):
            taken.append(self.answers(article, name))
        for place, solution in enumerate(article.select("div.solution"), 1):
            exercise = solution.find_previous("div", class_="exercise")
            if exercise is None:
                self.faults.append(f"{name} has a solution without an exercise")
                continue
            ident = f"{key(name)}--solution-{place}"
            solution.extract()
            solution["id"] = ident
            solution["class"] = ["solution"]
            if title := solution.find(class_="admonition-title"):
                title.name = "h3"
                link = f' <a class="back" href="#{exercise["id"]}">exercise, page {page_of(exercise["id"])}</a>'
                title.append(BeautifulSoup(link, "html.parser"))
            exercise.append(BeautifulSoup(f'<p class="see">{see("Solution", ident)}</p>', "html.parser"))
            taken.append(solution)
        if taken:
            heading = article.find("h2")
            self.apart.append((name, heading.get_text().strip() if heading else name, taken))

    def answers(self, article: Tag, name: str) -> Tag:
        """The reasons behind every question of a page's quiz, taken out of it."""
        ident = f"{key(name)}--answers"
        text = f'<div class="answers" id="{ident}"><h3>Check yourself: the answers</h3></div>'
        made = BeautifulSoup(text, "html.parser")
        box = made.find("div")
        assert isinstance(box, Tag)
        for question in article.select("fieldset"):
            count = question.find(class_="quiz-count")
            reasons = question.find("details")
            if not isinstance(count, Tag) or not isinstance(reasons, Tag):
                continue
            box.append(BeautifulSoup(f'<p class="quiz-name">{count.get_text()}</p>', "html.parser"))
            for reason in reasons.find_all("p"):
                box.append(reason.extract())
            reasons.decompose()
        last = article.select("fieldset")[-1]
        last.insert_after(BeautifulSoup(f'<p class="see">{see("All answers", ident)}</p>', "html.parser"))
        return box.extract()

    def contents(self, toc: dict[str, Any]) -> str:
        """The table of contents: parts, pages, and the sections of chapters."""
        articles = dict(self.chapters)
        lines = []
        for caption, names in parts(toc):
            lines += [f'<p class="contents-part">{escape(caption)}</p>'] if caption else []
            for name in names:
                if name not in articles:
                    continue
                heading = articles[name].find("h2")
                lines.append(entry(heading, key(name), "contents-page"))
                if CHAPTER.fullmatch(name):
                    sections = [(found, found.find_parent("section")) for found in articles[name].find_all("h3")]
                    lines += [entry(found, at["id"], "contents-section") for found, at in sections if at]
        if self.apart:
            lines.append(f'<p class="contents-part">{escape(self.appendix_title())}</p>')
            for name, title, _ in self.apart:
                lines.append(entry(title, f"{SOLUTIONS}-{key(name)}", "contents-page"))
        return "\n".join(lines)

    @staticmethod
    def appendix_title() -> str:
        return "Solutions and answers"

    def body(self, toc: dict[str, Any]) -> str:
        """All chapters under the names of their parts, then the solutions."""
        articles = dict(self.chapters)
        made = []
        for caption, names in parts(toc):
            for place, name in enumerate(name for name in names if name in articles):
                opening = f'<h1 class="part">{escape(caption)}</h1>' if caption and place == 0 else ""
                made.append(f'<div class="page" style="page: {page_name(name)}">{opening}{articles[name]}</div>')
        for place, (name, title, taken) in enumerate(self.apart):
            opening = f'<h1 class="part">{self.appendix_title()}</h1>' if place == 0 else ""
            inner = "".join(str(one) for one in taken)
            text = f"<h2>{escape(title)}</h2>{inner}"
            ident = f"{SOLUTIONS}-{key(name)}"
            article = f'<article class="bd-article" id="{ident}">{text}</article>'
            made.append(f'<div class="page" style="page: {SOLUTIONS}">{opening}{article}</div>')
        return "\n".join(made)

    def running_heads(self) -> str:
        """CSS: the title of the chapter above each of its pages."""
        heads = [(page_name(name), title_of(article)) for name, article in self.chapters]
        heads += [(SOLUTIONS, self.appendix_title())] if self.apart else []
        return "\n".join(f'@page {page} {{ @top-right {{ content: "{css_text(title)}"; }} }}' for page, title in heads)

    def html(self, toc: dict[str, Any], head: str, front: str) -> str:
        """The whole document. Ids to which nothing refers are dropped: pages repeat some of them."""
        contents = f'<nav class="contents"><h2 id="contents">Contents</h2>{self.contents(toc)}</nav>'
        inside = f'<div class="bd-article-container">{front}{contents}{self.body(toc)}</div>'
        main = f'<main class="bd-main"><div class="bd-content">{inside}</div></main>'
        soup = BeautifulSoup(main, "html.parser")
        used = {ident for node in soup.find_all(True) for ident in references(node)}
        ids = Counter(node["id"] for node in soup.find_all(id=True))
        self.faults += [f"nothing is called #{ident}, to which something refers" for ident in sorted(used - ids.keys())]
        self.faults += [f"{ids[ident]} things are called #{ident}" for ident in sorted(used) if ids[ident] > 1]
        for node in soup.find_all(id=True):
            if node["id"] not in used:
                del node["id"]
        opening = '<!DOCTYPE html>\n<html lang="en" data-theme="light" data-mode="light">'
        return f"{opening}\n<head>{head}<style>{self.running_heads()}</style></head>\n<body>{soup}</body></html>\n"


def references(node: Tag) -> list[str]:
    """The ids to which an element refers."""
    found = []
    for attribute, given in node.attrs.items():
        value = " ".join(given) if isinstance(given, list) else given
        if attribute in REFERRING:
            found += value.split()
        elif attribute in ("href", "xlink:href") and value.startswith("#"):
            found.append(value[1:])
        elif "url(" in value:
            found += [local[2] for local in LOCAL.finditer(value)]
    return found


def page_of(ident: str) -> str:
    """Where the number of the page that has this id is put once it is known."""
    return f'<span class="page-of" data-of="{escape(ident)}">000</span>'


def see(text: str, ident: str) -> str:
    return f'<a href="#{escape(ident)}">{text}: page {page_of(ident)}</a>'


def entry(heading: Tag | str, ident: str, kind: str) -> str:
    """A line of the table of contents; formulas in a heading stay formulas."""
    text = escape(heading) if isinstance(heading, str) else copy(heading).decode_contents()
    text = re.sub(r"</?a\b[^>]*>", "", text)  # no link in a link
    return f'<p class="{kind}"><a href="#{ident}"><span>{text}</span><i></i>{page_of(ident)}</a></p>'


def title_of(article: Tag) -> str:
    heading = article.find("h2")
    return heading.get_text().strip() if heading else ""


def page_name(name: str) -> str:
    """A name for the CSS of a page's sheets; it does not begin with a digit."""
    return f"p-{key(name)}"


def css_text(text: str) -> str:
    return " ".join(text.split()).replace("\\", "\\\\").replace('"', '\\"')
