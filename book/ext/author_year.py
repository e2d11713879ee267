"""A bibliography whose labels are what the text cites, "Cao et al., 2019", with a link for every entry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from pybtex.database import Entry
from pybtex.plugin import register_plugin
from pybtex.style.formatting.plain import Style as PlainStyle
from pybtex.style.labels import BaseLabelStyle
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinxcontrib.bibtex.style.referencing.author_year import AuthorYearReferenceStyle
from sphinxcontrib.bibtex.style.template import join, year

LINKS = ("doi", "eprint", "url")
logger = logging.getLogger(__name__)
REFERENCES = AuthorYearReferenceStyle()


def label(entry: Entry) -> str:
    """What a citation in the text shows, brackets left out, made by the style of those citations."""
    template = join(sep=REFERENCES.author_year_sep)[REFERENCES.person.author_or_editor_or_title(full=False), year]
    return template.format_data({"entry": entry, "style": REFERENCES}).render_as("text")


class AuthorYearLabels(BaseLabelStyle):
    def format_labels(self, sorted_entries: Iterable[Entry]) -> Iterator[str]:
        entries = list(sorted_entries)
        labels = [label(entry) for entry in entries]
        for twice in [name for name, count in Counter(labels).items() if count > 1]:
            logger.warning("two entries are cited as %s; give one of them the year …a, the other …b", twice)
        for entry in entries:
            if not any(entry.fields.get(name) for name in LINKS):
                logger.warning("the entry %s has no link: doi, eprint or url", entry.key)
        return iter(labels)


class AuthorYearStyle(PlainStyle):
    default_label_style = AuthorYearLabels


def setup(app: Sphinx) -> dict[str, Any]:
    register_plugin("pybtex.style.formatting", "author_year_labels", AuthorYearStyle)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
