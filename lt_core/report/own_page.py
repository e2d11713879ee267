"""`lt_core.report.own` as one self-contained HTML page: it loads nothing, and opens from a file."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from lt_core import plots
from lt_core.data.streaming import FileImages
from lt_core.records import write_atomically
from lt_core.report import own
from lt_core.report.own import AS_IT_IS, Adjustment, Result
from lt_core.validation import check_counts, check_scores, check_targets

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SAMPLES = 6  # pictures of a confusion
SIDE = 64  # pixels of a picture on the page
LARGEST = 96  # pixels that are stored of its longer side


@dataclass(frozen=True)
class Source:
    """What the page is about.

    Args:
        title: its heading.
        facts: name and value, such as the run's settings.
        notes: sentences above everything else.
        images: the test images (N, 3, H, W) uint8, in memory or in files, or None.
        warning: beside the prior adjustment, where the scores correct for the counts already; "" for none.
    """

    title: str
    facts: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()
    images: Tensor | FileImages | None = None
    warning: str = ""


def write_page(
    path: str | Path,
    log_probabilities: Tensor,
    labels: Tensor,
    class_names: Sequence[str],
    class_counts: Sequence[int] | None = None,
    source: Source | None = None,
) -> None:
    """Write the report of a test set's scores.

    Args:
        path: the HTML file.
        log_probabilities: (N, C) float64; each row's probabilities sum to 1.
        labels: (N,) int64 in [0, C).
        class_names: C names.
        class_counts: the training images of the C classes; None leaves out shot groups and the prior's adjustment.
        source: heading and facts; default: a plain heading.

    Raises:
        ValueError: wrong shapes, NaN, labels outside [0, C), a bad count.
        TypeError: scores that are not floating point, labels that are not int64.
    """
    check_scores(log_probabilities)
    check_targets(labels, *log_probabilities.shape)
    if class_counts is not None:
        class_counts = check_counts(class_counts)
    for name, values in (("class_names", class_names), ("class_counts", class_counts)):
        if values is not None and len(values) != log_probabilities.shape[1]:
            raise ValueError(f"{name} has {len(values)} entries; the scores have {log_probabilities.shape[1]} classes")
    write_atomically(Path(path), page(log_probabilities, labels, class_names, class_counts, source or Source("Scores")))


def write_run_page(
    path: str | Path, run: str | Path, data_root: str | Path | None = None, device: str = "auto"
) -> None:
    """Write the report of a finished run; arguments, warnings and errors as in `lt_core.training.evaluate`."""
    from lt_core.training.evaluation import corrects_counts, corrects_twice, run_scores

    tested = run_scores(run, data_root, device)
    config, data = tested.config, tested.data
    done, factor = corrects_counts(config), config.imbalance_factor
    facts = {
        "method": config.method or config.loss + ("-drw" if config.drw else ""),
        "data": data.name if factor is None else f"{data.name}, imbalance factor {factor:g}",
        "network": f"{config.backbone}, classifier {config.classifier}",
        "training": f"recipe {config.recipe}, {config.epochs} epochs, seed {config.seed}",
    }
    source = Source(
        f"Run {config.run_name}",
        facts=list(facts.items()),
        images=None if data.has_features else data.test_images,
        warning=f"In this run {corrects_twice(done)}." if done else "",
    )
    scores = tested.logits.double().log_softmax(1)
    names = data.class_names or [str(c) for c in range(data.num_classes)]
    write_page(path, scores, data.test_targets, names, data.class_counts, source)


def page(
    log_probabilities: Tensor,
    labels: Tensor,
    class_names: Sequence[str],
    class_counts: Sequence[int] | None,
    source: Source,
) -> str:
    """The page as text; arguments as in `write_page`."""
    from jinja2 import Environment, StrictUndefined

    predictions = log_probabilities.argmax(1)
    advice = own.advise(log_probabilities, labels, class_counts)
    usual = [Adjustment(name, 1.0) for name in ("adjust", "rebalance") if name != "adjust" or class_counts is not None]
    treatments = list(dict.fromkeys([AS_IT_IS, *usual, *advice.chosen]))
    results = [own.result(treatment, log_probabilities, labels, class_counts) for treatment in treatments]
    confusions = own.worst_confusions(predictions, labels, len(class_names))
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["number"] = number
    environment.filters["signed"] = signed
    text = (files("lt_core.report") / "own_page.html").read_text(encoding="utf-8")
    return environment.from_string(text).render(
        source=source,
        images=len(labels),
        names=class_names,
        counts=class_counts,
        level=round(100 * own.LEVEL),
        bins=own.BINS,
        least=own.LEAST,
        advice=advice,
        results=results,
        rows=own.class_rows(predictions, labels, class_names, class_counts),
        confusions=[(pair, pictures(source.images, pair.images[:SAMPLES])) for pair in confusions],
        side=SIDE,
        reliability=_svg(reliability(results[: 1 + len(usual)])),
    )


def number(value: float | None, digits: int = 1) -> str:
    """A number for people; a dash for None."""
    return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")


def signed(value: float, digits: int = 1) -> str:
    """The same with its sign."""
    return f"{value:+z.{digits}f}".replace("-", "−")


def pictures(images: Tensor | FileImages | None, chosen: Sequence[int]) -> list[str]:
    """Some images as data addresses; none where there are no images."""
    if images is None:
        return []
    from torchvision.transforms.v2.functional import to_pil_image

    found = []
    for i in chosen:
        picture = to_pil_image(images[i])
        picture.thumbnail((LARGEST, LARGEST))
        buffer = io.BytesIO()
        picture.save(buffer, format="PNG")
        found.append("data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode())
    return found


def reliability(results: Sequence[Result]) -> Figure:
    """Accuracy against confidence, a line for each treatment."""
    import matplotlib.pyplot as plt

    plots.use_style()
    fig, ax = plt.subplots(figsize=(plots.WIDTH, 3.6))
    ax.plot([0, 1], [0, 1], color=plots.INK, lw=0.8)
    styles = zip(results, plots.PALETTE, ("-o", "--s", ":^"), strict=False)
    for shown, colour, style in styles:
        confidence, accuracy = shown.curve
        ax.plot(confidence, accuracy, style, color=colour, ms=4, label=str(shown.adjustment))
    ax.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="accuracy")
    fig.legend(loc="outside lower center", ncols=len(results))
    return fig


def _svg(figure: Figure) -> Any:
    """The figure for a template that escapes what it is given."""
    import matplotlib.pyplot as plt
    from markupsafe import Markup

    text = plots.svg(figure)
    plt.close(figure)
    return Markup(text)
