"""`frames`: matplotlib's pictures behind a slider that answers without a kernel (chapters 10, 12, 13 and 15)."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import ipywidgets  # type: ignore[import-untyped]

from lt_core.validation import check_whole
from lt_core.widgets.base import read

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = 64  # of a frame's palette: plenty for a chart and the shades of its smoothed edges, a third of the bytes
SHARP = 2  # pixels of a picture for one on the page: screens of phones have two or three
# The picture's class and padding keep the book's theme from putting it on a plate of its own in the dark.
FRAME = """<figure class="lt-frame">
<img class="dark-light" style="padding: 0" src="data:image/png;base64,{png}"
  alt="{alt}" width="{width}" height="{height}">
<figcaption><strong>{name}.</strong> {caption}</figcaption></figure>"""


class Frames(ipywidgets.VBox):
    """What `frames` returns. It displays the slider or, where widgets are not shown (a PDF, GitHub), the first frame.

    Attributes:
        slider: the control; ``slider.index`` is the frame that is shown.
        label: the name of what the slider changes.
        question: the heading, or None.
        texts: what the slider says for each frame.
        pngs: the pictures, as PNG files.
    """

    # ipywidgets 7 displays itself by this method, without the picture.
    _ipython_display_ = None

    def __init__(
        self, label: str, question: str | None, texts: Sequence[str], pngs: Sequence[bytes], figures: Sequence[str]
    ) -> None:
        self.label, self.question, self.texts, self.pngs = label, question, list(texts), list(pngs)
        # The slider's own readout would be one more stop of the Tab key; the caption says the value.
        self.slider = ipywidgets.SelectionSlider(
            options=self.texts,
            description=label,
            readout=False,
            style={"description_width": "initial"},
            layout=ipywidgets.Layout(width="100%"),
        )
        self.slider.tooltip = ""  # a page would show the tooltip None as "null"
        super().__init__([_head(question), self.slider, _linked(self.slider, figures)])
        self.add_class("lt-frames")

    def __repr__(self) -> str:
        return f"Frames(label={self.label!r}, texts={self.texts!r})"

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        view = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
        picture = base64.b64encode(self.pngs[0]).decode()
        return {"text/plain": repr(self), "image/png": picture, "application/vnd.jupyter.widget-view+json": view}


def frames(
    draw: Callable[[Any], Figure],
    values: Sequence[Any],
    *,
    label: str,
    alts: Sequence[str],
    question: str | None = None,
    captions: Sequence[str] | None = None,
    texts: Sequence[str] | None = None,
    dpi: int = 110,
) -> Frames:
    """Draw one figure for each value, and put the pictures behind a slider.

    The pictures are drawn now and stored with the notebook, so that the slider answers in the rendered page too. They
    are PNG files of 64 colours, with two pixels for one of the page: a chart of 700 by 370 takes 20 to 50 KB.

    Args:
        draw: makes a figure from a value. All figures must have one size.
        values: at least two, in the order of the slider.
        label: what the slider changes, in a few words.
        alts: what each picture shows, for those who do not see it; one text a value.
        question: what the pictures answer, as the widgets have it for a heading; none where None.
        captions: what to notice in each picture, plain text; one a value, or None.
        texts: how the slider and the caption write each value; ``str`` of the value where None.
        dpi: the page's pixels an inch, 20 to 300.

    Returns:
        A widget to display. With ipywidgets 7, which lacks the container that this needs, the slider answers only
        while a kernel runs.

    Raises:
        ValueError: fewer than two values, texts that are not one a value or are empty, equal texts of two values,
            figures of different sizes.
        TypeError: ``draw`` gave something else than a figure; a text that is not a string.

    Example:
        >>> from matplotlib.figure import Figure
        >>> import lt_core as lt
        >>> def draw(power):
        ...     figure = Figure(figsize=(3, 2))
        ...     figure.subplots().plot([x**power for x in range(9)])
        ...     return figure
        >>> lt.widgets.frames(draw, [1, 2], label="Power", alts=["A straight line.", "A parabola."])
        Frames(label='Power', texts=['1', '2'])
    """
    values = list(values)
    if len(values) < 2:
        raise ValueError(f"values has length {len(values)}; at least two are needed")
    check_whole("dpi", dpi, low=20, high=300)
    _check_texts("label", [label])
    if question is not None:
        _check_texts("question", [question])
    texts = _one_a_value("texts", [str(value) for value in values] if texts is None else texts, len(values))
    if len(set(texts)) < len(texts):
        raise ValueError(f"texts is {texts}; the slider needs a different text for each value")
    alts = _one_a_value("alts", alts, len(values))
    captions = [""] * len(values) if captions is None else _one_a_value("captions", captions, len(values))
    pictures = [_picture(draw, value, dpi) for value in values]
    sizes = [size for _, size in pictures]
    for value, size in zip(values, sizes, strict=True):
        if size != sizes[0]:
            raise ValueError(f"draw({value!r}) has {size} pixels, draw({values[0]!r}) {sizes[0]}; one size is needed")
    figures = [
        FRAME.format(
            png=base64.b64encode(png).decode(),
            alt=html.escape(alt),
            width=width,
            height=height,
            name=html.escape(f"{label}: {text}"),
            caption=html.escape(caption),
        )
        for (png, (width, height)), alt, text, caption in zip(pictures, alts, texts, captions, strict=True)
    ]
    return Frames(label, question, texts, [png for png, _ in pictures], figures)


def _head(question: str | None) -> ipywidgets.HTML:
    """The heading, and the style sheet, which holds where nothing is shown too."""
    sheet = f"<style>{read('frames.css')}</style>"
    if question is None:
        return ipywidgets.HTML(sheet, layout=ipywidgets.Layout(display="none"))
    return ipywidgets.HTML(f'{sheet}<p class="lt-question">{html.escape(question)}</p>')


def _linked(slider: ipywidgets.SelectionSlider, figures: Sequence[str]) -> ipywidgets.Widget:
    """What shows the figure at the slider's place."""
    if hasattr(ipywidgets, "Stack"):
        stack = ipywidgets.Stack([ipywidgets.HTML(figure) for figure in figures], selected_index=0)
        ipywidgets.jslink((slider, "index"), (stack, "selected_index"))
        return stack
    shown = ipywidgets.HTML(figures[0])  # ipywidgets 7: the kernel changes the figure
    slider.observe(lambda change: shown.set_trait("value", figures[change["new"]]), names="index")
    return shown


def _picture(draw: Callable[[Any], Figure], value: Any, dpi: int) -> tuple[bytes, tuple[int, int]]:
    """The figure as a PNG of few colours, and its size in pixels of the page."""
    import matplotlib.pyplot as plt
    from matplotlib.figure import Figure
    from PIL import Image

    figure = draw(value)
    if not isinstance(figure, Figure):
        raise TypeError(f"draw({value!r}) gave {type(figure).__name__}; a matplotlib Figure is needed")
    full, small = io.BytesIO(), io.BytesIO()
    figure.savefig(full, format="png", dpi=SHARP * dpi, transparent=False)
    plt.close(figure)  # else a notebook shows it once more below the cell
    picture = Image.open(full).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    picture.save(small, format="PNG", optimize=True)
    return small.getvalue(), (picture.width // SHARP, picture.height // SHARP)


def _one_a_value(name: str, texts: Sequence[str], count: int) -> list[str]:
    if isinstance(texts, str):
        raise TypeError(f"{name} is a string; a sequence of {count} strings is needed, one a value")
    if len(texts) != count:
        raise ValueError(f"{name} has length {len(texts)}; {count} are needed, one a value")
    _check_texts(name, texts)
    return list(texts)


def _check_texts(name: str, texts: Sequence[str]) -> None:
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(f"{name} holds {text!r} of type {type(text).__name__}; a string is needed")
        if not text.strip():
            raise ValueError(f"{name} holds {text!r}; a text that says something is needed")
