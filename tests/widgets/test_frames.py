"""`frames`: small pictures behind a slider, in every version of ipywidgets, with a text for each."""

from __future__ import annotations

import base64
import io
import re
from typing import Any

import ipywidgets
import matplotlib.pyplot as plt
import pytest
from ipywidgets.embed import embed_data
from matplotlib.figure import Figure
from PIL import Image

import lt_core as lt

TEXTS = {"label": "Power", "alts": ["A line.", "A parabola.", "A cubic."], "captions": ["Even.", "It bends.", "More."]}


def draw(power: int) -> Figure:
    figure, ax = plt.subplots(figsize=(4, 2.5))
    ax.plot([x**power for x in range(9)], label="the power")
    ax.set(xlabel="x", ylabel="y")
    ax.legend()
    return figure


def make(**changes: Any) -> Any:
    return lt.widgets.frames(**{"draw": draw, "values": [1, 2, 3], **TEXTS, **changes})


@pytest.fixture(scope="module")
def three() -> Any:
    return make()


def pictures(widget: Any) -> list[Image.Image]:
    return [Image.open(io.BytesIO(png)) for png in widget.pngs]


def test_the_slider_is_linked_to_a_stack_of_the_frames(three: Any) -> None:
    """The link is a model of its own, which works in a page without a kernel."""
    _, slider, stack = three.children
    assert isinstance(stack, ipywidgets.Stack)
    assert (slider.description, slider.options, slider.index) == ("Power", ("1", "2", "3"), 0)
    assert stack.selected_index == 0
    state = embed_data(views=[three])["manager_state"]["state"].values()
    links = [model["state"] for model in state if model["model_name"] == "LinkModel"]
    ends = [f"IPY_MODEL_{slider.model_id}", "index"], [f"IPY_MODEL_{stack.model_id}", "selected_index"]
    assert ends in [(link["source"], link["target"]) for link in links]


def test_each_frame_has_its_picture_alternative_text_and_caption(three: Any) -> None:
    frames = three.children[-1].children
    assert len(frames) == len(three.pngs) == 3
    for frame, png, alt, text, caption in zip(frames, three.pngs, TEXTS["alts"], "123", TEXTS["captions"], strict=True):
        assert re.search(r'src="data:image/png;base64,([^"]*)"', frame.value)[1] == base64.b64encode(png).decode()
        assert f'alt="{alt}" width="440" height="275"' in frame.value
        assert f"<strong>Power: {text}.</strong> {caption}</figcaption>" in frame.value
    assert len(set(three.pngs)) == 3


def test_pictures_are_small_opaque_and_true_to_the_figure(three: Any) -> None:
    reference = io.BytesIO()
    figure = draw(2)
    figure.savefig(reference, format="png", dpi=220)
    plt.close(figure)
    full = Image.open(reference).convert("RGB")
    small = pictures(three)[1]
    assert small.mode == "P"
    assert "transparency" not in small.info
    assert small.size == full.size == (880, 550)
    assert len(three.pngs[1]) < 0.6 * len(reference.getvalue())
    assert max(len(png) for png in three.pngs) < 35_000
    got, wanted = small.convert("RGB").tobytes(), full.tobytes()
    assert max(abs(a - b) for a, b in zip(got, wanted, strict=True)) < 40
    assert small.convert("RGB").getpixel((2, 2)) == (255, 255, 255)


def test_dpi_sets_the_size() -> None:
    half = make(dpi=55)
    assert pictures(half)[0].size == (440, 275)
    assert 'width="220" height="137"' in half.children[-1].children[0].value


def test_the_card_has_a_heading_where_a_question_is_given(three: Any) -> None:
    """The style sheet comes with either: a page without other widgets has no other."""
    plain, asked = three.children[0], make(question="Lines & curves?").children[0]
    assert plain.layout.display == "none"
    assert "lt-question" not in plain.value.partition("</style>")[2]
    assert asked.layout.display is None
    assert asked.value.endswith('<p class="lt-question">Lines &amp; curves?</p>')
    assert all("<style>" in head.value and ".lt-frames {" in head.value for head in (plain, asked))


def test_it_displays_as_a_widget_or_else_as_the_first_frame(three: Any) -> None:
    bundle = three._repr_mimebundle_()
    assert base64.b64decode(bundle["image/png"]) == three.pngs[0]
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == three.model_id
    assert bundle["text/plain"] == repr(three) == "Frames(label='Power', texts=['1', '2', '3'])"


def test_figures_are_closed_and_the_same_each_time(three: Any) -> None:
    open_before = plt.get_fignums()
    assert make().pngs == three.pngs
    assert plt.get_fignums() == open_before


def test_texts_are_escaped_and_may_be_given() -> None:
    widget = make(alts=['"<b>"', "b", "c"], captions=None, texts=["one & all", "two", "three"])
    first = widget.children[-1].children[0].value
    assert 'alt="&quot;&lt;b&gt;&quot;"' in first
    assert "<strong>Power: one &amp; all.</strong> </figcaption>" in first
    assert widget.slider.options == ("one & all", "two", "three")


def test_without_a_stack_the_kernel_changes_the_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """ipywidgets 7.7, as on Colab."""
    monkeypatch.delattr(ipywidgets, "Stack")
    _, slider, shown = make().children
    assert isinstance(shown, ipywidgets.HTML)
    assert 'alt="A line."' in shown.value
    slider.index = 2
    assert 'alt="A cubic."' in shown.value
    assert "<strong>Power: 3.</strong> More." in shown.value
    slider.value = "2"
    assert 'alt="A parabola."' in shown.value


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"values": [1], "alts": ["a"], "captions": None}, ValueError, "values has length 1; at least two are needed"),
        ({"alts": ["a", "b"]}, ValueError, "alts has length 2; 3 are needed"),
        ({"alts": ["a", " ", "c"]}, ValueError, "alts holds ' '; a text that says something is needed"),
        ({"alts": "abc"}, TypeError, "alts is a string; a sequence of 3 strings is needed"),
        ({"alts": ["a", None, "c"]}, TypeError, "alts holds None of type NoneType; a string is needed"),
        ({"captions": ["a"]}, ValueError, "captions has length 1; 3 are needed"),
        ({"texts": ["a", "b"]}, ValueError, "texts has length 2; 3 are needed"),
        ({"texts": ["a", "b", "a"]}, ValueError, "texts is .*a different text for each value"),
        ({"label": ""}, ValueError, "label holds ''"),
        ({"label": 3}, TypeError, "label holds 3 of type int"),
        ({"question": ""}, ValueError, "question holds ''"),
        ({"dpi": 10}, ValueError, r"dpi is 10; allowed is a whole number in \[20, 300\]"),
        ({"dpi": 99.5}, TypeError, "dpi is 99.5"),
        ({"draw": lambda value: None}, TypeError, r"draw\(1\) gave NoneType; a matplotlib Figure is needed"),
        (
            {"draw": lambda value: Figure(figsize=(value, 2))},
            ValueError,
            r"draw\(2\) has \(220, 220\) pixels, draw\(1\) \(110, 220\); one size is needed",
        ),
    ],
)
def test_bad_input_is_named(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make(**changes)
